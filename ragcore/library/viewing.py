"""Looking at what a library holds: documents, pages, pictures, counts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ragcore.catalog import DEFAULT_COLLECTION, browse, filters, permits
from ragcore.errors import UsageError
from ragcore.files import read_regular
from ragcore.library.parts import Parts
from ragcore.sources import SourceItem, copies, is_remote, open_source
from ragcore.types import Box

if TYPE_CHECKING:
    from ragcore.catalog.models import Document, DocumentPage


@dataclass(frozen=True, slots=True)
class _Placed:
    """A document's file on this computer, and its type."""

    path: str
    media_type: str


class Viewing(Parts):
    """The verbs that only read."""

    def documents(
        self, collection: str = DEFAULT_COLLECTION, **how: Any
    ) -> tuple[Sequence[Document], int]:
        """One page of the documents and their number in all; see `browse.list_documents`."""
        with self.catalog.search() as session:
            return browse.list_documents(session, self.catalog.collection(collection).id, **how)

    def document(self, document_id: int) -> Document:
        with self.catalog.search() as session:
            return browse.get_document(session, document_id)

    def page(self, document_id: int, number: int) -> DocumentPage:
        """One page's text. Raises UsageError if there is no such page."""
        with self.catalog.search() as session:
            return browse.get_page(session, document_id, number)

    def page_picture(
        self,
        document_id: int,
        number: int = 1,
        *,
        span: tuple[int, int] | None = None,
        width: int = 1000,
        password: str | None = None,
    ) -> bytes:
        """A page as PNG, with the part of `span` (in the document's text) on it marked."""
        from ragcore.ingest.page_view import page_picture

        with self.catalog.search() as session:
            document = browse.get_document(session, document_id)
            page = browse.get_page(session, document_id, number) if document.page_count else None
        with self._placed(document) as placed:
            return page_picture(placed, page, span=span, width=width, password=password)

    def page_boxes(
        self, document_id: int, number: int, span: tuple[int, int], *, password: str | None = None
    ) -> list[Box]:
        """Where on a PDF's page the part of `span` (in the document's text) stands."""
        from ragcore.ingest.page_view import page_boxes

        with self.catalog.search() as session:
            document = browse.get_document(session, document_id)
            page = browse.get_page(session, document_id, number)
        with self._placed(document) as placed:
            return page_boxes(placed, page, span, password=password)

    @permits.verb("read")
    def original(self, document_id: int) -> AbstractContextManager[Path]:
        """Within it, the document's file on this computer; one of a remote source is fetched for
        as long as the block lasts.

        Raises UsageError for an unknown document or a source that is not installed or allowed,
        UnreadableFile if the file cannot be fetched.
        """
        return self._original(self.document(document_id))

    @contextmanager
    def _original(self, document: Document) -> Iterator[Path]:
        if not is_remote(document.path):
            yield Path(document.path)
            return
        source = open_source(document.path, self.settings)
        item = SourceItem(document.path, document.name, version=document.version)
        with copies(self.settings).of(source, item) as path:
            yield path

    @contextmanager
    def _placed(self, document: Document) -> Iterator[_Placed]:
        """A document with its file on this computer, if its pages are drawn from that."""
        kind = document.media_type
        if is_remote(document.path) and (kind == "application/pdf" or kind.startswith("image/")):
            with self._original(document) as path:
                yield _Placed(str(path), kind)
        else:
            yield _Placed(document.path, kind)

    def image(self, image_id: int) -> browse.ImageInfo:
        with self.catalog.search() as session:
            return browse.get_image(session, image_id)

    def image_bytes(self, image_id: int) -> bytes:
        """An image as it was found, encoded. Raises UsageError if its file has gone."""
        info = self.image(image_id)
        path = self.settings.media / info.media if info.media else Path(info.path)
        try:
            return read_regular(path)
        except OSError as error:
            shown = permits.shown_path(str(path))
            raise UsageError(f"{shown} cannot be read: {error.strerror}") from None

    def thumbnail(self, image_id: int) -> bytes:
        """WebP, at most 320 pixels a side."""
        with self.catalog.search() as session:
            return browse.thumbnail(session, image_id)

    def facets(self, collection: str = DEFAULT_COLLECTION) -> dict[str, dict[str, int]]:
        """Counts by value of each filter with values to choose from, by its name ("path": folders
        of the server, for those only who may write); "year": of the files' times."""
        collection_id = self.catalog.collection(collection).id
        with self.catalog.search() as session:
            found = filters.facets(session, collection_id)
            return {**found, "year": browse.years(session, collection_id)}

    def index_overview(self, collection: str = DEFAULT_COLLECTION) -> list[dict[str, Any]]:
        """Each active index: "space", "modality", "dimension", and what its store tells."""
        row = self.catalog.collection(collection)
        told = []
        for modality in ("text", "image"):
            space = self.catalog.active_space(row.id, modality)
            if space is not None:
                store = self.stores.get(row.id, space)
                about = {"kind": type(store).__name__, "count": store.count()}
                about |= getattr(store, "describe", dict)()
                about |= {"space": space.name, "modality": modality, "dimension": space.dimension}
                told.append(about)
        return told

    def images(
        self, collection: str = DEFAULT_COLLECTION, **how: Any
    ) -> Sequence[browse.ImageInfo]:
        """A collection's images, newest first; see `browse.list_images`."""
        with self.catalog.search() as session:
            return browse.list_images(session, self.catalog.collection(collection).id, **how)

    def image_view(self, image_id: int, *, side: int = 1600) -> bytes:
        """An image as WebP that any browser shows, at most `side` pixels a side."""
        from ragcore.ingest.pictures import load_picture, thumbnail

        data = self.image_bytes(image_id)
        limit = self.settings.max_megapixels
        return thumbnail(load_picture(data, max_megapixels=limit, at_least=side), side=side)

    def thumbnails(self, image_ids: Sequence[int]) -> dict[int, bytes]:
        """WebP of each image that exists, by id."""
        with self.catalog.search() as session:
            return browse.thumbnails(session, image_ids)

    def statistics(self, collection: str = DEFAULT_COLLECTION) -> browse.Statistics:
        with self.catalog.search() as session:
            return browse.statistics(session, self.catalog.collection(collection).id)
