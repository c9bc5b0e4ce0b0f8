"""Readers: one file in, its text by page and its images out."""

from ragcore.ingest.readers.choose import choose, readers
from ragcore.ingest.readers.clean import PageBuilder, clean, decode
from ragcore.ingest.readers.contract import ContentReader, InputFile, Reader, check_document
from ragcore.ingest.readers.options import ReadOptions
from ragcore.ingest.readers.read import read

__all__ = [
    "ContentReader",
    "InputFile",
    "PageBuilder",
    "ReadOptions",
    "Reader",
    "check_document",
    "choose",
    "clean",
    "decode",
    "read",
    "readers",
]
