"""`Collection`: a library's verbs bound to one collection."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from ragcore.catalog import DEFAULT_COLLECTION
from ragcore.errors import UsageError
from ragcore.types import (
    Answer,
    AnswerStyle,
    CancelToken,
    CollectionInfo,
    DocumentInfo,
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
    from ragcore.catalog import Statistics
    from ragcore.library.library import Library

_PAGE = 500  # documents that one database query returns


@dataclass(frozen=True, slots=True)
class Collection:
    """One collection of a library, by name; made by `library.collection("papers")`.

    The collection need not exist yet: the first `ingest` creates it. Every other verb raises
    UsageError while there is none of this name.

    Example:
        >>> papers = Library().collection("papers")                      # doctest: +SKIP
        ... papers.ingest(["~/papers"])
        ... papers.ask("What causes flutter?").text
    """

    library: Library
    name: str

    def ingest(
        self,
        paths: Iterable[str | Path],
        *,
        sync: bool = False,
        passwords: Sequence[str] = (),
        captions: bool | None = None,
        options: Mapping[str, str] = MappingProxyType({}),
        progress: ProgressCallback | None = None,
        cancel: CancelToken | None = None,
    ) -> IngestReport:
        """Add files, folders and other sources; arguments and errors as of `Library.ingest`.

        Returns:
            How many documents were added, updated, unchanged and removed, and what failed and why.
        """
        return self.library.ingest(
            paths,
            collection=self.name,
            sync=sync,
            passwords=passwords,
            captions=captions,
            options=options,
            progress=progress,
            cancel=cancel,
        )

    def search(
        self,
        query: SearchQuery | str,
        *,
        k: int | None = None,
        kind: SearchKind | None = None,
        where: Mapping[str, str] | None = None,
    ) -> SearchResult:
        """Find passages and images.

        Args:
            query: Words, or a `SearchQuery` that names this collection or none.
            k: How many hits at most, in place of the query's own.
            kind: "passages", "images" or "all", in place of the query's own.
            where: Filters, in place of the query's own.

        Returns:
            `hits`, best first, `below` for what is under the cut-off, and the seconds it took.

        Raises:
            UsageError: The query is empty or names another collection, k < 1, or a filter is
                unknown.
        """
        if isinstance(query, str):
            query = SearchQuery(text=query)
        elif query.collection not in (DEFAULT_COLLECTION, self.name):
            raise UsageError(f"the query names collection {query.collection!r}, not {self.name!r}")
        changes: dict[str, Any] = {"k": k, "kind": kind, "where": where}
        changes = {name: value for name, value in changes.items() if value is not None}
        return self.library.search(replace(query, collection=self.name, **changes))

    def ask(
        self,
        question: str,
        *,
        documents: Sequence[str | int] = (),
        k: int = 4,
        where: Mapping[str, str] | None = None,
        history: Sequence[Message] = (),
        schema: Mapping[str, Any] | None = None,
        length: int | None = None,
        style: AnswerStyle = AnswerStyle(),
        cancel: CancelToken | None = None,
    ) -> Answer:
        """Answer from the `k` best passages, or abstain; arguments and errors as of `Library.ask`.

        Returns:
            Text, citations with document, page and quote, confidence in [0, 1], and what was found.
        """
        return self.library.ask(
            question,
            collection=self.name,
            documents=documents,
            k=k,
            where=where,
            history=history,
            schema=schema,
            length=length,
            style=style,
            cancel=cancel,
        )

    def ask_stream(
        self,
        question: str,
        *,
        documents: Sequence[str | int] = (),
        k: int = 4,
        where: Mapping[str, str] | None = None,
        history: Sequence[Message] = (),
        length: int | None = None,
        cancel: CancelToken | None = None,
    ) -> Iterator[AnswerEvent]:
        """As `ask`, in events.

        Returns:
            An iterator as of `Library.ask_stream`.
        """
        return self.library.ask_stream(
            question,
            collection=self.name,
            documents=documents,
            k=k,
            where=where,
            history=history,
            length=length,
            cancel=cancel,
        )

    def label(
        self,
        labels: Sequence[str],
        *,
        where: Mapping[str, str] | None = None,
        top: int = 3,
        none: bool = False,
    ) -> Sequence[Labelled]:
        """Choose among `labels` for every image; arguments and errors as of `Library.label`.

        Returns:
            The images with their labels and probabilities in [0, 1], surest first.
        """
        return self.library.label(labels, collection=self.name, where=where, top=top, none=none)

    def info(self) -> CollectionInfo:
        """Look the collection up.

        Returns:
            Its number, name, time of creation, adapter and style of answers.
        """
        return self.library.find_collection(self.name)

    def statistics(self) -> Statistics:
        """Count everything that can be counted of it.

        Returns:
            Documents, pages, passages, images and bytes; documents by type and state.
        """
        return self.library.documents.statistics(self.name)

    def documents(self) -> Iterator[DocumentInfo]:
        """All documents, read from the database in pages while iterating.

        Yields:
            One document after the other, by name.
        """
        done, total = 0, 1
        while done < total:
            found, total = self.library.documents.list(self.name, limit=_PAGE, offset=done)
            if not found:
                return
            done += len(found)
            yield from found
