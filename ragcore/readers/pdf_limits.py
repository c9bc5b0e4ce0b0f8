"""PDF streams that would inflate to more than a reader has: found before PDFium opens the file.

PDFium inflates a page's content as a whole and makes objects of it that take some ten times as
much memory. Deflate can shrink a thousandfold, so only streams above a size need to be looked
at; they are inflated here in small blocks that are thrown away.
"""

from __future__ import annotations

import mmap
import re
import zlib
from collections.abc import Iterator
from pathlib import Path

from ragcore.errors import UnreadableFile
from ragcore.files import open_regular

MAX_CONTENT = 64 << 20  # bytes of one inflated stream: page content, forms, fonts, objects
_RATIO = 1_000  # Deflate's most
_BLOCK = 1 << 18
_TAIL = 4_096  # bytes at a file's end in which its mark is looked for
_HEAD = 1_000  # bytes before a stream in which its dictionary is looked for
_STREAM = re.compile(rb"(?<!end)stream\r?\n")
_LENGTH = re.compile(rb"/Length\s+(\d{1,9})\b(?!\s+\d+\s+R)")
_ONLY_FLATE = re.compile(rb"/Filter\s*(?:/FlateDecode\b|\[\s*/FlateDecode\s*\])")
_FLATE = re.compile(rb"/(?:FlateDecode|Fl)\b")
_NUMBER = rb"/%s\s+(\d{1,9})\b"
_WIDTH, _HEIGHT, _BITS = (
    re.compile(_NUMBER % name) for name in (rb"Width", rb"Height", rb"BitsPerComponent")
)


def is_cut_off(path: Path) -> bool:
    """Whether the mark at the end of a PDF file is missing, or an object was begun after it."""
    with open_regular(path) as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - _TAIL))
        _, mark, rest = file.read(_TAIL).rpartition(b"%%EOF")
        return not mark or b" obj" in rest


def check_streams(path: Path, *, max_megapixels: int) -> int:
    """The number of streams with text or drawings that are certainly damaged.

    Raises UnreadableFile for a stream that inflates to more than its limit: 64 MiB, or for
    an image what its pixels take, at most those of `max_megapixels` in four 8-bit channels.
    """
    damaged = 0
    with open_regular(path) as file:
        try:
            data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except (ValueError, OSError):  # empty, or on no disk: the reader says what is wrong
            return 0
        with data:
            encrypted = data.find(b"/Encrypt") >= 0
            for head, start, end in _streams(data):
                _check(data, head, start, end, max_megapixels)
                if not encrypted and _is_damaged(data, head, start):
                    damaged += 1
    return damaged


def _streams(data: mmap.mmap) -> Iterator[tuple[bytes, int, int]]:
    """(dictionary, start, end) of each stream; the dictionary may have more before it."""
    for match in _STREAM.finditer(data):
        start = match.end()
        end = data.find(b"endstream", start)
        head = data[max(0, match.start() - _HEAD) : match.start()]
        yield head[head.rfind(b"obj") + 1 :], start, end if end >= 0 else len(data)


def _check(data: mmap.mmap, head: bytes, start: int, end: int, max_megapixels: int) -> None:
    layers = len(_FLATE.findall(head))
    limit = _limit(head, max_megapixels)
    if not layers or (end - start) * _RATIO**layers <= limit:
        return
    total = 0
    for block in _inflated(_slices(data, start, end), layers):
        total += len(block)
        if total > limit:
            raise UnreadableFile(
                f"a stream in the PDF inflates to more than {limit >> 20} MiB: it is damaged, or "
                "made to use up memory"
            )


def _is_damaged(data: mmap.mmap, head: bytes, start: int) -> bool:
    """Whether a stream that is Deflate's alone, of a length that is stated, does not unpack."""
    length, filters = _LENGTH.search(head), _ONLY_FLATE.search(head)
    if length is None or filters is None or re.search(rb"/Subtype\s*/Image\b", head):
        return False
    end = start + int(length[1])
    if data[start : start + 1] != b"x":  # its header says otherwise: another filter, or no stream
        return False
    unpacker = zlib.decompressobj()
    try:
        for block in _slices(data, start, min(end, len(data))):
            while block and not unpacker.eof:  # bytes after the end stay unconsumed
                unpacker.decompress(block, _BLOCK)
                block = unpacker.unconsumed_tail
    except zlib.error:
        return True
    return not unpacker.eof


def _limit(head: bytes, max_megapixels: int) -> int:
    if not re.search(rb"/Subtype\s*/Image\b", head):
        return MAX_CONTENT
    width, height, bits = (found.search(head) for found in (_WIDTH, _HEIGHT, _BITS))
    if not width or not height:
        return MAX_CONTENT
    pixels = int(width[1]) * int(height[1])
    bytes_needed = pixels * 4 * (int(bits[1]) if bits else 8) // 8 + int(height[1])
    return max(MAX_CONTENT, min(bytes_needed, max_megapixels * 4_000_000))


def _slices(data: mmap.mmap, start: int, end: int) -> Iterator[bytes]:
    for at in range(start, end, _BLOCK):
        yield data[at : min(end, at + _BLOCK)]


def _inflated(blocks: Iterator[bytes], layers: int) -> Iterator[bytes]:
    for _ in range(layers):
        blocks = _inflate(blocks)
    return blocks


def _inflate(blocks: Iterator[bytes]) -> Iterator[bytes]:
    """What is inflated, in small blocks; ends where the data is no more Deflate's."""
    unpacker = zlib.decompressobj()
    try:
        for block in blocks:
            while block and not unpacker.eof:  # bytes after the end stay unconsumed
                yield unpacker.decompress(block, _BLOCK)
                block = unpacker.unconsumed_tail
            if unpacker.eof:
                return
    except zlib.error:  # damaged, encrypted, or another filter first: PDFium reads it, or not
        return
