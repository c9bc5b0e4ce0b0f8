"""The `Library`: its verbs, and the named parts that have everything else."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import TYPE_CHECKING, Any, Self

from ragcore.access import Principal
from ragcore.catalog import DEFAULT_COLLECTION, AuditCallback, Permit
from ragcore.library import answering, ingesting
from ragcore.library.adapters import Adapters
from ragcore.library.admin import Admin
from ragcore.library.albums import Albums
from ragcore.library.answering import PLAIN
from ragcore.library.chats import Chats
from ragcore.library.classifiers import Classifiers
from ragcore.library.collection import Collection
from ragcore.library.core import Core
from ragcore.library.diffusion import Diffusion, check_loras, imaginer_of
from ragcore.library.documents import Documents
from ragcore.library.duplicates import Duplicates
from ragcore.library.evals import Evals
from ragcore.library.images import Images
from ragcore.library.jobs import Jobs
from ragcore.library.labels import Labels
from ragcore.library.models import LibraryModels
from ragcore.library.scopes import scoped
from ragcore.library.sources import Sources
from ragcore.library.training import Training
from ragcore.library.trash import Trash
from ragcore.library.uploaded_files import UploadedFiles
from ragcore.library.watching import SETTLE, Watcher
from ragcore.models import Models
from ragcore.settings import Settings
from ragcore.types import (
    Answer,
    AnswerStyle,
    CancelToken,
    CollectionInfo,
    Hit,
    IngestReport,
    Labelled,
    Message,
    ProgressCallback,
    SearchKind,
    SearchQuery,
    SearchResult,
)

if TYPE_CHECKING:
    from ragcore.answers import AnswerEvent
    from ragcore.catalog import Collection as CollectionRow
    from ragcore.diffusion import Imagined, ImagineRequest, ImagineStep


@scoped
class Library:
    """A person's documents and images: everything ragcore does, on one home folder.

    Light to make: models load when first needed; libraries that are given the same `Models`
    share them. Safe to use from several threads; several processes may work on one home at once.

    A library may do everything. `for_principal` opens it for somebody who may do less: every verb
    and every method of the parts then asks the table in `ragcore.library.scopes`.

    Example:
        >>> with Library() as library:                                   # doctest: +SKIP
        ...     papers = library.collection("papers")
        ...     papers.ingest(["~/papers"])
        ...     result = papers.search("wing flutter")
        ...     print(papers.ask("What causes flutter?").text)
    """

    def __init__(self, settings: Settings | None = None, *, models: Models | None = None) -> None:
        """Open the library of a home folder. Nothing heavy is loaded yet.

        Args:
            settings: By default those of the environment and of `settings.toml`.
            models: Replaces the models of the settings; whoever made them closes them.
        """
        self._core = Core(settings, models)
        self._permit: Permit | None = None

    def for_principal(self, principal: Principal, *, audit: AuditCallback | None = None) -> Library:
        """The same library, for somebody: their scope, and their collections only.

        Args:
            principal: Who asks.
            audit: Called with the name, the collection and whether it was permitted of each call
                that is worth an entry in an audit.

        Returns:
            A view of this library. Close the library itself, not this.
        """
        other = object.__new__(type(self))
        other._core, other._permit = self._core, principal.permit(audit)
        return other

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop jobs (they can be resumed), save the indexes, close the database."""
        self._core.close()

    # --- parts -------------------------------------------------------------------

    @cached_property
    def documents(self) -> Documents:
        """Documents and their pages; counts of a collection."""
        return Documents(self._core, self._permit)

    @cached_property
    def files(self) -> UploadedFiles:
        """Files uploaded ahead of their collection."""
        return UploadedFiles(self._core, self.jobs, self._permit)

    @cached_property
    def trash(self) -> Trash:
        """Documents that were taken out, until they are put back or go."""
        return Trash(self._core, self._permit)

    @cached_property
    def albums(self) -> Albums:
        """Albums of a collection's images."""
        return Albums(self._core, self._permit)

    @cached_property
    def images(self) -> Images:
        """Images, questions about them, captions."""
        return Images(self._core, self._permit)

    @cached_property
    def sources(self) -> Sources:
        """Places that collections are kept in step with."""
        return Sources(self._core, self._permit)

    @cached_property
    def duplicates(self) -> Duplicates:
        """Equal files, near-duplicate images."""
        return Duplicates(self._core, self._permit)

    @cached_property
    def chats(self) -> Chats:
        """Conversations."""
        return Chats(self._core, self._permit)

    @cached_property
    def labels(self) -> Labels:
        """Labels given by people and predicted by classifiers."""
        return Labels(self._core, self._permit)

    @cached_property
    def classifiers(self) -> Classifiers:
        """Trained classifiers."""
        return Classifiers(self._core, self._permit)

    @cached_property
    def adapters(self) -> Adapters:
        """Adapters of the language model."""
        return Adapters(self._core, self._permit)

    @cached_property
    def diffusion(self) -> Diffusion:
        """What goes with generated images."""
        return Diffusion(self._core, self._permit)

    @cached_property
    def jobs(self) -> Jobs:
        """Work in the background."""
        return Jobs(self._core, self._permit)

    @cached_property
    def models(self) -> LibraryModels:
        """The profile's models."""
        return LibraryModels(self._core, self._permit)

    @cached_property
    def training(self) -> Training:
        """Training from recipes."""
        return Training(self._core, self._permit)

    @cached_property
    def evals(self) -> Evals:
        """Quality on data with known answers."""
        return Evals(self._core, self._permit)

    @cached_property
    def admin(self) -> Admin:
        """Collections, accounts, backups, moves, repair."""
        return Admin(self._core, self._permit)

    # --- collections -------------------------------------------------------------

    def collections(self) -> Sequence[CollectionInfo]:
        """All collections.

        Returns:
            One entry each, by name; of a view, those that the principal may see.
        """
        return [_collection_info(row) for row in self._core.catalog.collections()]

    def find_collection(self, name: str) -> CollectionInfo:
        """Look a collection up.

        Returns:
            Its number, name, time of creation, adapter and style of answers.

        Raises:
            UsageError: There is none of this name.
        """
        return _collection_info(self._core.catalog.collection(name))

    def collection(self, name: str) -> Collection:
        """A handle on one collection: ingest, search, ask and documents without naming it again.

        Returns:
            The handle. The collection need not exist yet; ingesting creates it.
        """
        return Collection(self, name)

    def create_collection(self, name: str, *, exist_ok: bool = False) -> CollectionInfo:
        """Create an empty collection.

        Args:
            name: Up to 100 letters, digits, spaces, points, dashes and underscores.
            exist_ok: Whether an existing one of this name is returned.

        Returns:
            The collection.

        Raises:
            UsageError: The name is bad or taken.
        """
        return _collection_info(self._core.catalog.create_collection(name, exist_ok=exist_ok))

    # --- getting files in ----------------------------------------------------------

    def ingest(
        self,
        paths: Iterable[str | Path],
        *,
        collection: str = DEFAULT_COLLECTION,
        sync: bool = False,
        passwords: Sequence[str] = (),
        captions: bool | None = None,
        engine: str | None = None,
        address: str | None = None,
        options: Mapping[str, str] = MappingProxyType({}),
        progress: ProgressCallback | None = None,
        cancel: CancelToken | None = None,
    ) -> IngestReport:
        """Add files, folders and other sources ("SCHEME://…").

        What is unchanged is skipped, what has changed replaced. A file that cannot be read, and a
        source that cannot be listed, is an entry in the report's `failed`.

        Args:
            paths: Files, folders and URLs.
            collection: Where they go; it is created if need be.
            sync: Whether documents are removed whose files are gone from the folders and sources
                given.
            passwords: Tried on locked files.
            captions: Whether a model captions images that have no caption; None: as the setting
                says.
            engine: "local" or "ray", in place of the setting `ingest_engine`.
            address: HOST:PORT of the Ray cluster, in place of the setting `ray_address`.
            options: For the sources, as in {"crawl": "yes", "depth": "2"}.
            progress: Called with how far it is, from other threads, too.
            cancel: Ends the run; what was stored stays, and the report says `cancelled`.

        Returns:
            How many documents were added, updated, unchanged and removed, and what failed and why.

        Raises:
            UsageError: A path or URL does not exist or is not allowed.
            NotPermitted: Files are not for whoever asks.
            RagcoreError: No Ray cluster answers.
        """
        paths = list(paths)
        ingesting.check_may_read(self._core, paths, collection)
        return ingesting.ingest(
            self._core,
            paths,
            collection=collection,
            sync=sync,
            passwords=passwords,
            captions=captions,
            engine=engine,
            address=address,
            options=options,
            progress=progress,
            cancel=cancel,
        )

    def watch(
        self,
        paths: Iterable[str | Path],
        *,
        collection: str = DEFAULT_COLLECTION,
        compare_every: float = 900.0,
        settle: float = SETTLE,
        on_report: Callable[[IngestReport], None] = lambda _report: None,
    ) -> Watcher:
        """Follow files and folders into one collection.

        Args:
            paths: Files and folders.
            collection: Where they go.
            compare_every: Seconds between two comparisons of all files, for what no event reported.
            settle: Seconds for which a file must be quiet before it is read.
            on_report: Called after each ingest that found something.

        Returns:
            The watcher, which follows once it is `run`.
        """
        return Watcher(
            self,
            paths,
            collection=collection,
            compare_every=compare_every,
            settle=settle,
            on_report=on_report,
        )

    # --- search and ask --------------------------------------------------------------

    def search(
        self,
        query: SearchQuery | str,
        *,
        collection: str = DEFAULT_COLLECTION,
        kind: SearchKind = "all",
        k: int = 10,
        where: Mapping[str, str] | None = None,
        cutoff: float | None = None,
    ) -> SearchResult:
        """Find passages and images.

        Args:
            query: Words, or a whole `SearchQuery`, which has the other arguments itself.
            collection: Name of a collection.
            kind: "passages", "images" or "all".
            k: How many hits at most, at least 1.
            where: Filters in their string form, or a `Filter`.
            cutoff: Relevance in [0, 1] below which hits are listed apart; None: the model's own.

        Returns:
            `hits`, best first, `below` for what is under the cut-off, and the seconds it took.

        Raises:
            UsageError: The query is empty, k < 1, or the collection or a filter is unknown.
            TypeError: A `SearchQuery` was given together with other arguments.
        """
        if isinstance(query, str):
            query = SearchQuery(
                text=query,
                collection=collection,
                kind=kind,
                k=k,
                where=where or {},
                cutoff=cutoff,
            )
        elif (collection, kind, k, where, cutoff) != (DEFAULT_COLLECTION, "all", 10, None, None):
            raise TypeError("a SearchQuery has these itself; use dataclasses.replace on it")
        return self._core.engine.search(query)

    def label(
        self,
        labels: Sequence[str],
        *,
        collection: str = DEFAULT_COLLECTION,
        where: Mapping[str, str] | None = None,
        top: int = 3,
        none: bool = False,
    ) -> Sequence[Labelled]:
        """Choose among labels, any names, for every image of a collection. Nothing is trained.

        Args:
            labels: Two or more names, in plain words.
            collection: Name of a collection.
            where: Filters that narrow it.
            top: How many labels of each image are listed.
            none: Whether "none of these" (`NONE_OF_THESE`) is an answer, too.

        Returns:
            The images with their labels and probabilities in [0, 1], surest first.

        Raises:
            UsageError: Fewer than two labels, one twice, or an unknown collection or filter.
        """
        return self._core.engine.label(
            labels, collection=collection, where=where, top=top, none=none
        )

    def ask(
        self,
        question: str,
        *,
        collection: str | Sequence[str] = DEFAULT_COLLECTION,
        documents: Sequence[str | int] = (),
        k: int = 4,
        where: Mapping[str, str] | None = None,
        history: Sequence[Message] = (),
        schema: Mapping[str, Any] | None = None,
        adapter: str | None = None,
        threshold: float | None = None,
        length: int | None = None,
        style: AnswerStyle = PLAIN,
        cancel: CancelToken | None = None,
    ) -> Answer:
        """Answer from the best passages, with citations, or abstain.

        Lists, instructions, summaries, comparisons, definitions, counts and places are composed of
        quotes (`Answer.composed`).

        Args:
            question: In words.
            collection: One name or several, "*" for all that may be read.
            documents: Numbers, titles or file names that narrow it.
            k: How many passages the model reads.
            where: Filters that narrow it.
            history: Earlier turns; a follow-up is rewritten to stand alone.
            schema: JSON Schema whose fields are answered one by one, each with its own evidence
                (`Answer.fields`); the text is then the JSON.
            adapter: In place of the collection's adapter.
            threshold: Confidence in [0, 1] below which it abstains, in place of `answer_threshold`.
            length: Words of a summary.
            style: The fields that are given replace those of the collection's.
            cancel: Stops within one token.

        Returns:
            Text, citations with document, page and quote, confidence in [0, 1], and what was found.

        Raises:
            UsageError: The question is empty or too long, a document unknown, or `check_schema`
                refuses the schema.
            ModelUnavailable: The language model cannot be loaded or reached.
            Cancelled: `cancel` was set.
        """
        return answering.ask(
            self._core,
            question,
            collection=collection,
            documents=documents,
            k=k,
            where=where,
            history=history,
            schema=schema,
            adapter=adapter,
            threshold=threshold,
            length=length,
            style=style,
            cancel=cancel,
        )

    def ask_stream(
        self,
        question: str,
        *,
        collection: str | Sequence[str] = DEFAULT_COLLECTION,
        documents: Sequence[str | int] = (),
        k: int = 4,
        where: Mapping[str, str] | None = None,
        history: Sequence[Message] = (),
        hits: Sequence[Hit] | None = None,
        adapter: str | None = None,
        length: int | None = None,
        style: AnswerStyle = PLAIN,
        cancel: CancelToken | None = None,
    ) -> Iterator[AnswerEvent]:
        """As `ask`, in events.

        Args:
            question: As of `ask`, like the arguments that are not listed here.
            collection: One name or several.
            documents: What narrows it.
            k: How many passages the model reads.
            where: Filters.
            history: Earlier turns.
            hits: Passages to answer from; nothing is searched for then.
            adapter: In place of the collection's adapter.
            length: Words of a summary.
            style: How it is worded.
            cancel: Stops within one token.

        Returns:
            An iterator: what was found, pieces of text, at last the checked Answer. It raises what
            `ask` raises.
        """
        return answering.ask_stream(
            self._core,
            question,
            collection=collection,
            documents=documents,
            k=k,
            where=where,
            history=history,
            hits=hits,
            adapter=adapter,
            length=length,
            style=style,
            cancel=cancel,
        )

    def check_schema(self, schema: Mapping[str, Any]) -> None:
        """Check that an answer can be made to follow a JSON Schema.

        Raises:
            UsageError: It is malformed, beyond the limits of size, nesting and repetition, has a
                reference out of itself, or fields that cannot be answered one by one.
        """
        answering.check_schema(schema)

    # --- making images -----------------------------------------------------------------

    def imagine(
        self,
        request: ImagineRequest | str,
        *,
        on_step: Callable[[ImagineStep], None] | None = None,
        preview_every: int = 0,
        cancel: CancelToken | None = None,
    ) -> Imagined:
        """Generate images.

        Args:
            request: The prompt, or everything that can be asked for.
            on_step: Called after each step of denoising.
            preview_every: Steps between two previews; 0: none.
            cancel: Stops between two steps.

        Returns:
            The images with the recipe that makes them again.

        Raises:
            UsageError: It cannot be made.
            UnreadableFile: An image that was given is broken.
            Cancelled: `cancel` was set.
        """
        if isinstance(request, str):
            from ragcore.diffusion import ImagineRequest

            request = ImagineRequest(prompt=request)
        check_loras(self._core, request)
        return imaginer_of(self._core).imagine(
            request, on_step=on_step, preview_every=preview_every, cancel=cancel
        )

    def imagine_stream(
        self,
        request: ImagineRequest,
        *,
        preview_every: int = 0,
        cancel: CancelToken | None = None,
    ) -> Iterator[ImagineStep | Imagined]:
        """As `imagine`, in events.

        Args:
            request: Everything that can be asked for.
            preview_every: Steps between two previews; 0: none.
            cancel: Stops between two steps.

        Returns:
            An iterator over every step, and at last what was made. It raises what `imagine` raises.
        """
        check_loras(self._core, request)
        return imaginer_of(self._core).stream(request, preview_every=preview_every, cancel=cancel)


def _collection_info(row: CollectionRow) -> CollectionInfo:
    adapter = row.settings.get(answering.ADAPTER)
    return CollectionInfo(
        row.id,
        row.name,
        row.created_at,
        str(adapter) if adapter else None,
        answering.style_of(row),
    )
