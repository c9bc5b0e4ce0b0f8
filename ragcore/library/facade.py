"""The `Library`: collections, search and answers, beside getting files in and viewing them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ragcore import extensions
from ragcore.catalog import DEFAULT_COLLECTION, permits
from ragcore.errors import UsageError
from ragcore.library.adapting import Adapting
from ragcore.library.collection import Collection
from ragcore.library.imagining import Imagining
from ragcore.library.ingesting import Ingesting
from ragcore.library.teaching import Teaching
from ragcore.library.viewing import Viewing
from ragcore.types import (
    Answer,
    CancelToken,
    Hit,
    Label,
    Labelled,
    Message,
    PlugIn,
    SearchQuery,
    SearchResult,
)

if TYPE_CHECKING:
    from ragcore.answers import Answerer, AnswerEvent, Composer
    from ragcore.answers.chat import Chat
    from ragcore.catalog.models import Collection as CollectionRow


class Library(Ingesting, Viewing, Imagining, Teaching, Adapting):
    """A person's documents and pictures: everything ragcore does, on one home folder.

    Light to make: models load when first needed; libraries that are given the same `Models`
    share them. Safe to use from several threads; several processes may work on one home at once.

    Example:
        >>> with Library() as library:                                   # doctest: +SKIP
        ...     papers = library.collection("papers")
        ...     papers.ingest(["~/papers"])
        ...     result = papers.search("wing flutter")
        ...     print(papers.ask("What causes flutter?").text)
    """

    @permits.verb("admin", everywhere=True)
    def plugins(self) -> list[PlugIn]:
        """What is registered in each group, ragcore's own included. All of it is loaded now.

        What cannot be loaded, or whose name is taken, is listed with the reason.
        """
        return [
            PlugIn(
                group=one.group,
                name=one.name,
                package=one.package,
                version=one.version,
                value=one.value,
                built_in=one.built_in,
                active=one.error is None,
                error=one.error or "",
            )
            for one in extensions.active()
        ]

    # --- collections -----------------------------------------------------------

    def collections(self) -> Sequence[CollectionRow]:
        """All collections by name."""
        return self.catalog.collections()

    def collection(self, name: str) -> Collection:
        """A handle on one collection: ingest, search, ask and documents without naming it again.

        The collection need not exist yet; ingesting creates it.
        """
        return Collection(self, name)

    @permits.verb("write")
    def create_collection(self, name: str, *, exist_ok: bool = False) -> CollectionRow:
        """Raises UsageError for a bad or taken name."""
        return self.catalog.create_collection(name, exist_ok=exist_ok)

    @permits.verb("admin")
    def rename_collection(self, name: str, new_name: str) -> None:
        self.catalog.rename_collection(name, new_name)

    @permits.verb("admin")
    def delete_collection(self, name: str) -> None:
        """Delete a collection with its indexes and uploads. Other files it was made from stay."""
        row = self.catalog.collection(name)
        self.catalog.delete_collection(name)
        self.stores.drop(row)
        self.uploads.drop(row.id)

    def collections_of_other_models(self) -> list[str]:
        """Names of the collections that were embedded by other models than the profile's."""
        from ragcore.encoders.factories import space_prefix

        profile = self.models.profile
        wanted = {"text": profile.text_encoder, "image": profile.image_text_encoder}
        names = []
        for row in self.collections():
            for modality, reference in wanted.items():
                active = self.catalog.active_space(row.id, modality)
                if active and reference:
                    prefix = active.name.partition("@")[0]
                    if prefix != space_prefix(reference.name) and row.name not in names:
                        names.append(row.name)
        return names

    # --- search and ask --------------------------------------------------------

    @cached_property
    def _answerer(self) -> Answerer:
        from ragcore.answers import Answerer

        return Answerer(
            self.models.llm(),
            self.engine.search,
            settings=self.settings,
            models=self.models,
            composer=self._composer,
        )

    @cached_property
    def _composer(self) -> Composer | None:
        """None without a text encoder: what is near a question is then not known."""
        from ragcore.answers import Composer

        if self.models.profile.text_encoder is None:
            return None
        return Composer(
            self.catalog,
            self.engine.search,
            self.engine.documents,
            lambda texts: self.models.text_encoder().encode(texts),
        )

    @cached_property
    def chat(self) -> Chat:
        from ragcore.answers.chat import Chat

        return Chat(self.conversations, self.ask_stream)

    @permits.verb("read")
    def search(self, query: SearchQuery | str, **fields: Any) -> SearchResult:
        """Find passages and pictures. A plain string is `SearchQuery(text=…, **fields)`.

        Raises UsageError for an empty query, k < 1, an unknown collection or filter.
        """
        if isinstance(query, str):
            query = SearchQuery(text=query, **fields)
        elif fields:
            raise TypeError("fields go with a plain string; use dataclasses.replace on a query")
        return self.engine.search(query)

    @permits.verb("read")
    def label(
        self,
        labels: Sequence[str],
        *,
        collection: str = DEFAULT_COLLECTION,
        where: Mapping[str, str] | None = None,
        top: int = 3,
    ) -> list[Labelled]:
        """Choose among `labels`, any names, for every picture of a collection; surest first.

        Nothing is trained or read anew. Raises UsageError for fewer than two labels, one given
        twice, an unknown collection or filter.
        """
        return self.engine.label(labels, collection=collection, where=where, top=top)

    def label_pictures(
        self, pictures: Sequence[str | Path | bytes], labels: Sequence[str], *, top: int = 3
    ) -> list[tuple[Label, ...]]:
        """As `label`, for pictures that are no collection's: paths or encoded bytes.

        Raises UnreadableFile too.
        """
        return self.engine.label_pictures(pictures, labels, top=top)

    @permits.verb("read")
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
        cancel: CancelToken | None = None,
    ) -> Answer:
        """Answer from the `k` best passages, with citations, or abstain.

        Lists, instructions, summaries, comparisons, definitions, counts and places are composed
        of quotes (`Answer.composed`). `collection` is one name or several, "*" for all that may
        be read; `documents` (numbers, titles or file names) and the filters `where` narrow it.
        `length` is in words, of a summary. `schema` is a JSON Schema that the answer's text must
        follow. `history` are earlier turns; a follow-up is rewritten to stand alone. `adapter`
        replaces the collection's, and `threshold` in [0, 1] the setting `answer_threshold`.

        Raises UsageError for an empty question, an unknown document, or a schema that
        `check_schema` refuses.
        """
        if schema is not None:
            self.check_schema(schema)  # before any model is loaded
        names, chosen = self.ask_scope(collection, documents, where)
        return self._answerer.ask(
            question,
            collection=names,
            k=k,
            where=chosen,
            history=history,
            schema=schema,
            adapter=adapter or self._adapter_of(names),
            threshold=threshold,
            length=length,
            cancel=cancel,
        )

    def check_schema(self, schema: Mapping[str, Any]) -> None:
        """Raises UsageError for a JSON Schema that an answer cannot be made to follow: malformed,
        beyond the limits of size, nesting and repetition, or with a reference out of itself."""
        from ragcore.answers import STRUCTURED_TOKENS
        from ragcore.llm import check_schema

        check_schema(schema, STRUCTURED_TOKENS)

    @permits.verb("read")
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
        cancel: CancelToken | None = None,
    ) -> Iterator[AnswerEvent]:
        """As `ask`, in events: what was found, pieces of text, at last the checked Answer.

        With `hits` it is answered from these passages, and nothing is searched for.
        """
        answerer = self._answerer
        if hits is not None:
            found = SearchResult(tuple(hits))
            answerer = answerer.searching(lambda _query: found)
            k = max(1, len(found.hits))
        names, chosen = self.ask_scope(collection, documents, where)
        return answerer.stream(
            question,
            collection=names,
            k=k,
            where=chosen,
            history=history,
            adapter=adapter or self._adapter_of(names),
            length=length,
            cancel=cancel,
        )

    def ask_scope(
        self,
        collection: str | Sequence[str],
        documents: Sequence[str | int] = (),
        where: Mapping[str, str] | None = None,
    ) -> tuple[tuple[str, ...], dict[str, str]]:
        """The collections' names and the filters that a question with these words is asked of.

        Raises UsageError for a document that is in none of the collections, or whose name fits
        several.
        """
        from ragcore.library.scoping import document_ids

        names = (collection,) if isinstance(collection, str) else tuple(collection)
        if "*" in names:
            names = tuple(row.name for row in self.catalog.collections())
        chosen = dict(where or {})
        if documents:
            if "document" in chosen:
                raise UsageError("give documents by name or by the filter document, not both")
            ids = document_ids(self.engine.documents(names), documents)
            chosen["document"] = ",".join(map(str, ids))
        return names, chosen

    def _adapter_of(self, names: Sequence[str]) -> str | None:
        """The adapter of all these collections; the profile's where they differ."""
        found = {self.collection_adapter(name) for name in names}
        return found.pop() if len(found) == 1 else None
