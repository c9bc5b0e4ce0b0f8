"""Picture files: the picture itself, and the text in it where there is some."""

from __future__ import annotations

from ragcore.ingest import ocr, pictures
from ragcore.ingest.coverage import CoverageBuilder
from ragcore.ingest.readers.contract import InputFile
from ragcore.ingest.readers.options import ReadOptions
from ragcore.types import Page, ReadDocument


def read(file: InputFile, options: ReadOptions) -> ReadDocument:
    """One picture (`page` None); text found in it is also the document's only page."""
    loaded = pictures.load_for_index(file.path, max_megapixels=options.max_megapixels)
    text = ""
    coverage = CoverageBuilder()
    try:
        text = ocr.text_in_picture(loaded.image, options=options)
        coverage.read("image", ocr=int(bool(text)))
    except ocr.OcrUnavailable as error:
        coverage.skip("image", f"text in it was not read: {error}", partial=True)
    if loaded.pages > 1:
        coverage.read("page", ocr=int(bool(text)))
        why = "only the first page of a TIFF file is read: save it as PDF"
        coverage.skip("page", why, range(2, loaded.pages + 1))
    picture = pictures.describe(loaded, text=text, caption=loaded.made_from)
    pages = (Page(number=1, text=text, ocr=True),) if text else ()
    return ReadDocument(
        media_type=file.media_type,
        title="",
        pages=pages,
        pictures=(picture,),
        coverage=coverage.done(),
    )
