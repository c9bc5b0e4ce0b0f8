"""Readers: one file in, its text by page and its images out."""

from typing import TYPE_CHECKING

from ragcore.lazy import lazily
from ragcore.readers.audio import NO_TRANSCRIBER, SAMPLE_RATE, quietest
from ragcore.readers.choose import choose, file_types, readers
from ragcore.readers.clean import PageBuilder, clean, decode
from ragcore.readers.contract import ContentReader, FileType, InputFile, Reader, check_document
from ragcore.readers.coverage import add_to_report
from ragcore.readers.images import load_for_index, load_image, phash, thumbnail, turned
from ragcore.readers.metadata import with_file_date
from ragcore.readers.options import ReadOptions
from ragcore.readers.read import read, read_sound
from ragcore.readers.subtitles import paragraphs

if TYPE_CHECKING:
    from ragcore.readers.image import read_metadata as read_metadata
    from ragcore.readers.pdf import open_pdf as open_pdf
    from ragcore.readers.pdf_text import TextLayer as TextLayer
else:
    __getattr__ = lazily(
        __name__,
        {
            ".image": "read_metadata",
            ".pdf": "open_pdf",
            ".pdf_text": "TextLayer",
        },
    )

__all__ = [
    "NO_TRANSCRIBER",
    "SAMPLE_RATE",
    "ContentReader",
    "FileType",
    "InputFile",
    "PageBuilder",
    "ReadOptions",
    "Reader",
    "add_to_report",
    "check_document",
    "choose",
    "clean",
    "decode",
    "file_types",
    "load_for_index",
    "load_image",
    "paragraphs",
    "phash",
    "quietest",
    "read",
    "read_sound",
    "readers",
    "thumbnail",
    "turned",
    "with_file_date",
]
