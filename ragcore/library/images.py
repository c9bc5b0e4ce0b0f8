"""The images of a library: list, look at, mark, ask about, caption, label."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ragcore.catalog import (
    DEFAULT_COLLECTION,
    GroupBy,
    ImageGroup,
    ImageMarks,
    Permit,
    browse,
    image_groups,
    mark,
    marks_of,
    metadata_of,
    permits,
)
from ragcore.catalog import Image as ImageRow
from ragcore.catalog.filters import Filter, items
from ragcore.errors import RagcoreError, UsageError
from ragcore.files import read_regular
from ragcore.library.core import Core
from ragcore.library.scopes import scoped
from ragcore.types import CancelToken, ImageMetadata, Label, ProgressCallback

if TYPE_CHECKING:
    from PIL.Image import Image

    from ragcore.ingest import CaptionReport, MetadataReport
    from ragcore.library.sidecars import SidecarReport
    from ragcore.llm import ImageAnswer
    from ragcore.models import Sampling

log = logging.getLogger(__name__)

ImageInput = str | Path | bytes  # a path or encoded bytes


@scoped
class Images:
    """Images by number, and images that need not be in any collection.

    The latter are given as a path or encoded bytes.

    Raises UsageError for a collection or image that is not there or may not be seen,
    UnreadableFile for what is no image.
    """

    def __init__(self, core: Core, permit: Permit | None = None) -> None:
        self._core, self._permit = core, permit

    def list(
        self,
        collection: str = DEFAULT_COLLECTION,
        *,
        document_id: int | None = None,
        captioned: bool = False,
        where: Mapping[str, str] | None = None,
        limit: int = 100,
        offset: int = 0,
    ) -> Sequence[browse.ImageInfo]:
        """A collection's images that meet the filters, newest first.

        Those of one document come in its order.

        `captioned` leaves out those without a caption, `where` those that do not meet these
        filters. Raises UsageError for an unknown filter.
        """
        chosen = Filter.of(where or {})
        with self._core.catalog.search() as session:
            row = self._core.catalog.collection(collection)
            found = browse.list_images(
                session,
                row.id,
                document_id=document_id,
                captioned=captioned,
                ids=items(chosen, row.id, ImageRow) if chosen else None,
                limit=limit,
                offset=offset,
            )
        return [_shown(info) for info in found]

    def get(self, image_id: int) -> browse.ImageInfo:
        """What is known of an image."""
        return _shown(self._info(image_id))

    def read(self, image_id: int) -> bytes:
        """An image as it was found, encoded. Raises UsageError if its file has gone."""
        info = self._info(image_id)
        path = self._core.settings.media / info.media if info.media else Path(info.path)
        try:
            return read_regular(path)
        except OSError as error:
            shown = permits.shown_path(str(path))
            raise UsageError(f"{shown} cannot be read: {error.strerror}") from None

    def view(self, image_id: int, *, side: int = 1600) -> bytes:
        """An image as WebP that any browser shows, at most `side` pixels a side."""
        from ragcore.readers import load_image, thumbnail

        data = self.read(image_id)
        limit = self._core.settings.max_megapixels
        return thumbnail(load_image(data, max_megapixels=limit, at_least=side), side=side)

    def preview(self, data: bytes, *, side: int = 320) -> bytes:
        """An encoded image that is in no collection, as WebP of at most `side` pixels a side."""
        from ragcore.readers import load_image, thumbnail

        limit = self._core.settings.max_megapixels
        return thumbnail(load_image(data, max_megapixels=limit, at_least=side), side=side)

    def thumbnail(self, image_id: int) -> bytes:
        """WebP, at most 320 pixels a side."""
        with self._core.catalog.search() as session:
            return browse.thumbnail(session, image_id)

    def thumbnails(self, image_ids: Sequence[int]) -> dict[int, bytes]:
        """WebP of each image that exists, by id."""
        with self._core.catalog.search() as session:
            return browse.thumbnails(session, image_ids)

    def groups(
        self,
        collection: str = DEFAULT_COLLECTION,
        *,
        by: GroupBy = "month",
        where: Mapping[str, str] | None = None,
    ) -> Sequence[ImageGroup]:
        """All images of a collection that meet the filters, in groups to look through.

        By "month", "folder" (of those only who may write), "label", "place" or "album".

        Raises UsageError for an unknown collection, filter or `by`.
        """
        chosen = Filter.of(where or {})
        with self._core.catalog.search() as session:
            row = self._core.catalog.collection(collection)
            return image_groups.image_groups(session, row.id, by, chosen)

    def metadata(self, image_ids: Sequence[int]) -> dict[int, ImageMetadata]:
        """How images were taken, by id; without those of which nothing is known."""
        with self._core.catalog.search() as session:
            return metadata_of(session, image_ids)

    def marks(self, image_ids: Sequence[int]) -> dict[int, ImageMarks]:
        """Favorite, rating, note, tags and albums of images, by id.

        Without those that have none.
        """
        with self._core.catalog.search() as session:
            return marks_of(session, image_ids)

    def mark(
        self,
        image_ids: Sequence[int],
        *,
        collection: str = DEFAULT_COLLECTION,
        favorite: bool | None = None,
        rating: int | None = None,
        note: str | None = None,
        add_tags: Sequence[str] = (),
        remove_tags: Sequence[str] = (),
    ) -> int:
        """Change what is given of a collection's images; return how many of them are there.

        `rating`: 0 to 5 stars, -1 rejected; it counts in place of the file's. Tags that differ in
        case only are one. Files are never written to. Raises UsageError for an unknown
        collection, another rating, a note or tag that is too long.
        """
        row = self._core.catalog.collection(collection)
        with self._core.catalog.write() as session:
            return mark(
                session,
                row.id,
                image_ids,
                favorite=favorite,
                rating=rating,
                note=note,
                add_tags=add_tags,
                remove_tags=remove_tags,
            )

    def export_xmp(
        self,
        folder: Path,
        *,
        collection: str = DEFAULT_COLLECTION,
        where: Mapping[str, str] | None = None,
    ) -> SidecarReport:
        """Write an XMP sidecar for each image file that meets the filters, below `folder`.

        In the folders that the files have below the one that holds them all.

        They have ratings, keywords, tags, captions, notes, dates, positions, favorites and
        albums. Originals are never written to, nor sidecars of other programs. Raises UsageError
        for an unknown collection or filter, a `folder` that is a file.
        """
        from ragcore.library.sidecars import export_sidecars

        return export_sidecars(self._core.catalog, collection, folder, where or {})

    def refresh_metadata(
        self,
        collection: str = DEFAULT_COLLECTION,
        *,
        progress: ProgressCallback | None = None,
        cancel: CancelToken | None = None,
    ) -> MetadataReport:
        """Read the metadata of a collection's image files, and of sidecars beside them, again.

        Nothing is embedded again. A caption in a file becomes the image's, unless a person has
        written another. Raises UsageError for an unknown collection, Cancelled (what was read is
        stored).
        """
        from ragcore.ingest import refresh_metadata

        row = self._core.catalog.collection(collection)
        return refresh_metadata(
            self._core.catalog, row.id, self._core.settings, progress=progress, cancel=cancel
        )

    # --- models that see ---------------------------------------------------------

    def label(
        self,
        images: Sequence[ImageInput],
        labels: Sequence[str],
        *,
        top: int = 3,
        none: bool = False,
    ) -> Sequence[tuple[Label, ...]]:
        """As `Library.label`, for images that are no collection's."""
        return self._core.engine.label_images(images, labels, top=top, none=none)

    def ask(
        self,
        image: ImageInput,
        question: str,
        *,
        model: str = "",
        sampling: Sampling | None = None,
        cancel: CancelToken | None = None,
    ) -> ImageAnswer:
        """Answer a question about one image.

        `model` names another than the profile's: a name of the weights registry,
        "hub:OWNER/NAME" or a folder. Raises UsageError for an empty question, ModelUnavailable,
        Cancelled.
        """
        pieces = self.ask_stream(image, question, model=model, sampling=sampling, cancel=cancel)
        return next(piece for piece in pieces if not isinstance(piece, str))

    def ask_stream(
        self,
        image: ImageInput,
        question: str,
        *,
        model: str = "",
        sampling: Sampling | None = None,
        cancel: CancelToken | None = None,
    ) -> Iterator[str | ImageAnswer]:
        """As `ask`, in pieces of text and at last the whole answer."""
        from ragcore.llm import ImageAnswer, check_question
        from ragcore.models import Sampling

        check_question(question)
        opened = self._open(image)
        began, pieces = time.monotonic(), []
        llm = self._core.models.vision_llm(model)
        how = sampling or Sampling(max_tokens=60)
        for piece in llm.stream_image(opened, question, how, cancel=cancel):
            pieces.append(piece)
            yield piece
        yield ImageAnswer("".join(pieces).strip(), llm.name, time.monotonic() - began)

    def caption(
        self, image: ImageInput, *, model: str = "", cancel: CancelToken | None = None
    ) -> ImageAnswer:
        """One sentence about an image. Errors as `ask`."""
        from ragcore.llm import ImageAnswer

        opened, began = self._open(image), time.monotonic()
        llm = self._core.models.vision_llm(model)
        (text,) = llm.captions([opened], cancel=cancel)
        return ImageAnswer(text, llm.name, time.monotonic() - began)

    def caption_collection(
        self,
        collection: str = DEFAULT_COLLECTION,
        *,
        model: str = "",
        progress: ProgressCallback | None = None,
        cancel: CancelToken | None = None,
    ) -> CaptionReport:
        """Caption the images of a collection that have none, marked as made by a model.

        Continues where an earlier run was stopped. Captions of people stay. Raises UsageError for
        an unknown collection, ModelUnavailable, Cancelled (what was written is kept).
        """
        from ragcore.ingest import caption_collection

        row = self._core.catalog.collection(collection)
        return caption_collection(
            self._core.catalog,
            row.id,
            self._core.models.vision_llm(model),
            self._core.settings,
            progress=progress,
            cancel=cancel,
        )

    def _info(self, image_id: int) -> browse.ImageInfo:
        with self._core.catalog.search() as session:
            return browse.get_image(session, image_id)

    def _open(self, image: ImageInput) -> Image:
        from ragcore.readers import load_image

        limit = self._core.settings.max_megapixels
        return load_image(image, max_megapixels=limit, at_least=320)


def caption_new(
    core: Core,
    collection: str,
    progress: ProgressCallback | None = None,
    cancel: CancelToken | None = None,
) -> None:
    """Caption new images. A model that cannot is a warning: what was ingested counts."""
    try:
        Images(core).caption_collection(collection, progress=progress, cancel=cancel)
    except RagcoreError as error:
        log.warning("new images of %s are not all captioned: %s", collection, error)


def _shown(info: browse.ImageInfo) -> browse.ImageInfo:
    """As the work at hand may see it: readers see no folders of the server."""
    return replace(info, path=permits.shown_path(info.path))
