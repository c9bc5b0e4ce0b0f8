"""The documents of a library: list, look at, fetch, remove; what a collection holds."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Literal

from ragcore.catalog import DEFAULT_COLLECTION, Permit, browse, coverage_of, filters, permits
from ragcore.errors import UsageError
from ragcore.library.core import Core
from ragcore.library.scopes import scoped
from ragcore.sources import SourceItem, check_allowed, copies_of, is_remote, open_source
from ragcore.types import Box, DocumentInfo, PageInfo

if TYPE_CHECKING:
    from ragcore.catalog import Document, DocumentPage
    from ragcore.readers import FileType
    from ragcore.search import CollectionMap

Order = Literal["name", "newest", "modified", "size", "pages", "state"]


@dataclass(frozen=True, slots=True)
class _Placed:
    """A document's file on this computer, and its type."""

    path: str
    media_type: str


@scoped
class Documents:
    """Documents by number, and the lists and counts of a collection.

    Raises UsageError for a collection, document or page that is not there or may not be seen.
    """

    def __init__(self, core: Core, permit: Permit | None = None) -> None:
        self._core, self._permit = core, permit

    def list(
        self,
        collection: str = DEFAULT_COLLECTION,
        *,
        search: str = "",
        state: str | None = None,
        media_type: str | None = None,
        incomplete: bool | None = None,
        where: Mapping[str, str] | None = None,
        order: Order = "name",
        limit: int = 100,
        offset: int = 0,
    ) -> tuple[Sequence[DocumentInfo], int]:
        """One page of the documents and their number in all.

        `search` is looked for in name, title and, for who may write, path. `incomplete`: only
        those of whose file something was not read, or everything. `where`: filters that they, or
        a passage or image of theirs, meet.
        """
        chosen = filters.Filter.of(where or {})
        with self._core.catalog.search() as session:
            row = self._core.catalog.collection(collection)
            rows, total = browse.list_documents(
                session,
                row.id,
                search=search,
                state=state,
                media_type=media_type,
                incomplete=incomplete,
                where=filters.documents_with(chosen, row.id),
                order=order,
                limit=limit,
                offset=offset,
            )
            return [document_info(row) for row in rows], total

    def file_types(self) -> Sequence[FileType]:
        """What files can be added: their kinds and suffixes, plug-ins' included."""
        from ragcore.readers import file_types

        return file_types()

    def get(self, document_id: int) -> DocumentInfo:
        """One document."""
        return document_info(self._row(document_id))

    def find(self, given: str, *, collection: str = DEFAULT_COLLECTION) -> int:
        """The number of the collection's document with this number or path."""
        from ragcore.catalog import known_files

        row = self._core.catalog.collection(collection)
        with self._core.catalog.read() as session:
            known = known_files(session, row.id)
        if given.isdecimal():
            if int(given) in {file.id for file in known.values()}:
                return int(given)
        elif found := known.get(given) or known.get(os.path.abspath(os.path.expanduser(given))):
            return found.id
        raise UsageError(f"collection {collection!r} has no document {given}")

    def page(self, document_id: int, number: int) -> PageInfo:
        """One page's text. Raises UsageError if there is no such page."""
        with self._core.catalog.search() as session:
            row = browse.get_page(session, document_id, number)
            return PageInfo(row.document_id, row.number, row.label, row.start, row.ocr, row.text)

    def page_image(
        self,
        document_id: int,
        number: int = 1,
        *,
        span: tuple[int, int] | None = None,
        width: int = 1000,
        password: str | None = None,
    ) -> bytes:
        """A page as PNG, with the part of `span` (in the document's text) on it marked."""
        from ragcore.ingest import page_image

        document = self._row(document_id)
        page = self._page_row(document_id, number) if document.page_count else None
        with self._placed(document) as placed:
            return page_image(placed, page, span=span, width=width, password=password)

    def page_boxes(
        self, document_id: int, number: int, span: tuple[int, int], *, password: str | None = None
    ) -> Sequence[Box]:
        """Where on a PDF's page the part of `span` (in the document's text) stands."""
        from ragcore.ingest import page_boxes

        document, page = self._row(document_id), self._page_row(document_id, number)
        with self._placed(document) as placed:
            return page_boxes(placed, page, span, password=password)

    def original(self, document_id: int) -> AbstractContextManager[Path]:
        """Within it, the document's file on this computer.

        One of a remote source is fetched for as long as the block lasts.

        Raises UsageError for an unknown document, a file that has gone or is in no folder that may
        be read, a source that is not installed or allowed; UnreadableFile if it cannot be fetched.
        """
        return self._original(self._row(document_id))

    def remove(self, document_ids: Iterable[int], *, collection: str = DEFAULT_COLLECTION) -> int:
        """Take documents out of a collection; return how many. Their files stay, uploads go."""
        from ragcore.catalog import remove_documents

        ids = [*document_ids]
        row = self._core.catalog.collection(collection)
        with self._core.catalog.write() as session:
            paths = browse.document_paths(session, row.id, ids)
            count = remove_documents(session, row.id, ids)
        self._core.uploads.discard(paths)
        return count

    def forget_missing(
        self, paths: Iterable[str | Path], *, collection: str = DEFAULT_COLLECTION
    ) -> int:
        """Take out the documents of files and folders that are gone; return how many.

        A document whose file is there, or was found again elsewhere, stays.
        """
        from ragcore.catalog import remove_documents

        row = self._core.catalog.collection(collection)
        with self._core.catalog.write() as session:
            known = browse.documents_below(session, row.id, [str(path) for path in paths])
            gone = [number for number, path in known.items() if not os.path.lexists(path)]
            return remove_documents(session, row.id, gone) if gone else 0

    def upload(
        self,
        files: Sequence[tuple[str, BinaryIO]],
        *,
        collection: str = DEFAULT_COLLECTION,
    ) -> Sequence[Path]:
        """Store files given as (name, open file) in the home folder.

        Return their paths, to be ingested.

        They count for the quota of whoever asks. Raises what `Uploads.save` raises.
        """
        return self._core.uploads.save(collection, files, owner=permits.uploader())

    def check_paths(self, paths: Iterable[str | Path]) -> None:
        """Raises UsageError unless all of these exist and may be ingested.

        As far as is known without connecting to a server.
        """
        from ragcore.ingest import open_sources

        open_sources(paths, self._core.settings)

    # --- of a whole collection ---------------------------------------------------

    def statistics(self, collection: str = DEFAULT_COLLECTION) -> browse.Statistics:
        """Everything that can be counted of a collection."""
        with self._core.catalog.search() as session:
            return browse.statistics(session, self._core.catalog.collection(collection).id)

    def facets(self, collection: str = DEFAULT_COLLECTION) -> dict[str, dict[str, int]]:
        """Counts by value of each filter with values to choose from, by its name.

        "path": folders of the server, for those only who may write; "year": of the files' times.
        """
        collection_id = self._core.catalog.collection(collection).id
        with self._core.catalog.search() as session:
            found = filters.facets(session, collection_id)
            return {**found, "year": browse.years(session, collection_id)}

    def headings(self, collection: str = DEFAULT_COLLECTION, *, limit: int = 10) -> Sequence[str]:
        """Headings of sections to ask about, from its documents in turn; questions first."""
        collection_id = self._core.catalog.collection(collection).id
        with self._core.catalog.search() as session:
            return browse.headings(session, collection_id, limit)

    def indexes(self, collection: str = DEFAULT_COLLECTION) -> Sequence[dict[str, Any]]:
        """Each active index: "space", "modality", "dimension", and what its store reports."""
        catalog = self._core.catalog
        row = catalog.collection(collection)
        found = []
        for modality in ("text", "image"):
            space = catalog.active_space(row.id, modality)
            if space is not None:
                store = self._core.stores.get(row.id, space)
                about = {"kind": type(store).__name__, "count": store.count()}
                about |= getattr(store, "describe", dict)()
                about |= {"space": space.name, "modality": modality, "dimension": space.dimension}
                found.append(about)
        return found

    def map(self, collection: str, kind: Literal["passages", "images"]) -> CollectionMap:
        """A collection's passages or images laid out in the plane, near ones together."""
        return self._core.maps.make(collection, kind)

    # --- rows and files ------------------------------------------------------------

    def _row(self, document_id: int) -> Document:
        with self._core.catalog.search() as session:
            return browse.get_document(session, document_id)

    def _page_row(self, document_id: int, number: int) -> DocumentPage:
        with self._core.catalog.search() as session:
            return browse.get_page(session, document_id, number)

    @contextmanager
    def _original(self, document: Document) -> Iterator[Path]:
        settings = self._core.settings
        if not is_remote(document.path):
            path = Path(document.path)
            self._check_readable(path)
            if not path.is_file():
                raise UsageError("the document's file has gone")
            yield path
            return
        source = open_source(document.path, settings)
        item = SourceItem(document.path, document.name, version=document.version)
        with copies_of(settings).of(source, item) as path:
            yield path

    @contextmanager
    def _placed(self, document: Document) -> Iterator[_Placed]:
        """A document with its file on this computer, if its pages are drawn from that."""
        kind = document.media_type
        if is_remote(document.path) and (kind == "application/pdf" or kind.startswith("image/")):
            with self._original(document) as path:
                yield _Placed(str(path), kind)
        else:
            if not is_remote(document.path):
                self._check_readable(Path(document.path))
            yield _Placed(document.path, kind)

    def _check_readable(self, path: Path) -> None:
        try:
            check_allowed(path, self._core.settings.readable_roots)
        except UsageError:
            raise UsageError("the document's file is not in a folder that may be read") from None


def document_info(row: Document) -> DocumentInfo:
    """A document as the work at hand may see it: readers see no folders of the server."""
    return DocumentInfo(
        id=row.id,
        collection_id=row.collection_id,
        path=permits.shown_path(row.path),
        name=row.name,
        title=row.title,
        media_type=row.media_type,
        state=row.state,
        error=row.error,
        warnings=tuple(row.warnings),
        incomplete=row.incomplete,
        coverage=coverage_of(row.coverage),
        paged=row.paged,
        pages=row.page_count,
        passages=row.passage_count,
        images=row.image_count,
        size=row.size,
        details=dict(row.details),
        modified_at=row.modified_at,
        ingested_at=row.ingested_at,
    )
