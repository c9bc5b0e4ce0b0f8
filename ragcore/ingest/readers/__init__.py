"""Readers: one file in, its text by page and its pictures out."""

from ragcore.ingest.readers.options import ReadOptions
from ragcore.ingest.readers.read import read
from ragcore.ingest.readers.sniff import KNOWN_SUFFIXES, FileType, sniff

__all__ = ["KNOWN_SUFFIXES", "FileType", "ReadOptions", "read", "sniff"]
