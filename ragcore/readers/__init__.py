"""Readers: one file in, its text by page and its images out."""

from ragcore.readers.choose import choose, file_types, readers
from ragcore.readers.clean import PageBuilder, clean, decode
from ragcore.readers.contract import ContentReader, FileType, InputFile, Reader, check_document
from ragcore.readers.images import load_image
from ragcore.readers.options import ReadOptions
from ragcore.readers.read import read

__all__ = [
    "ContentReader",
    "FileType",
    "InputFile",
    "PageBuilder",
    "ReadOptions",
    "Reader",
    "check_document",
    "choose",
    "clean",
    "decode",
    "file_types",
    "load_image",
    "read",
    "readers",
]
