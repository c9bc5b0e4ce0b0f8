"""Readers: one file in, its text by page and its images out."""

from ragcore.readers.choose import choose, readers
from ragcore.readers.clean import PageBuilder, clean, decode
from ragcore.readers.contract import ContentReader, InputFile, Reader, check_document
from ragcore.readers.options import ReadOptions
from ragcore.readers.read import read

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
