"""Image files: the image itself, the text in it where there is some, and its metadata."""

from __future__ import annotations

from pathlib import Path

from ragcore.readers import images, ocr
from ragcore.readers.contract import InputFile
from ragcore.readers.coverage import CoverageBuilder
from ragcore.readers.metadata import Blocks, image_metadata, sidecar_of
from ragcore.readers.options import ReadOptions
from ragcore.types import ImageMetadata, Page, ReadDocument


def read(file: InputFile, options: ReadOptions) -> ReadDocument:
    """One image (`page` None); text found in it is also the document's only page."""
    loaded = images.load_for_index(file.path, max_megapixels=options.max_megapixels)
    text = ""
    coverage = CoverageBuilder()
    try:
        text = ocr.text_in_image(loaded.image, options=options)
        coverage.read("image", ocr=int(bool(text)))
    except ocr.OcrUnavailable as error:
        coverage.skip("image", f"text in it was not read: {error}", partial=True)
    if loaded.pages > 1:
        coverage.read("page", ocr=int(bool(text)))
        why = "only the first page of a TIFF file is read: save it as PDF"
        coverage.skip("page", why, range(2, loaded.pages + 1))
    about, warnings = _described(loaded.blocks, file.path)
    image = images.describe(
        loaded, text=text, caption=loaded.made_from or about.caption, metadata=about
    )
    pages = (Page(number=1, text=text, ocr=True),) if text else ()
    return ReadDocument(
        media_type=file.media_type,
        title="",
        pages=pages,
        images=(image,),
        warnings=warnings,
        coverage=coverage.done(),
    )


def read_metadata(path: Path, options: ReadOptions) -> tuple[ImageMetadata, tuple[str, ...]]:
    """The metadata of an image file, and a line for each part of it that is damaged.

    Raises UnreadableFile.
    """
    return _described(images.load_blocks(path, max_megapixels=options.max_megapixels), path)


def _described(found: Blocks, path: Path) -> tuple[ImageMetadata, tuple[str, ...]]:
    sidecar, damaged = b"", []
    try:
        sidecar = sidecar_of(path)
    except ValueError as error:
        damaged.append(str(error))
    about, blocks = image_metadata(found, sidecar=sidecar)
    damaged += [f"the image's {name} is damaged: not all of it was read" for name in blocks]
    return about, tuple(damaged)
