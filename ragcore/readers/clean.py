"""Text as every reader leaves it: decoded, without control characters, evenly spaced."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

from ragcore.errors import UnreadableFile
from ragcore.types import Page

# Form feeds separate pages in a document's text, so none may stand inside a page. Soft hyphens,
# zero-width spaces and byte-order marks are layout, not text.
_DROPPED = re.compile(r"[\x00-\x08\x0b\x0e-\x1b\x7f­​⁠﻿￾￿\ud800-\udfff]")
_NEWLINES = re.compile("\r\n?|[\x0b\x0c\x1c-\x1e\x85\u2028\u2029]")
# Runs are matched whole, from their start: tried from each of their characters, a long one would
# take time by the square of its length.
_TRAILING = re.compile(r"(?<![ \t])[ \t]++(?=\n|$)")
_BLANK_LINES = re.compile(r"\n{3,}")
_SPACES = re.compile(r"[\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000]")
_LIGATURES = re.compile("[ﬀ-ﬆﬓ-ﬗﭐ-﷿ﹰ-ﻼ]+")


def clean(text: str) -> str:
    r"""`text` with \\n line ends, plain spaces, no control characters, at most one blank line."""
    text = _NEWLINES.sub("\n", text)
    text = _DROPPED.sub("", text)
    text = _SPACES.sub(" ", text)
    text = _TRAILING.sub("", text)
    text = _BLANK_LINES.sub("\n\n", text)
    if not unicodedata.is_normalized("NFC", text):
        text = unicodedata.normalize("NFC", text)
    return text.strip("\n")


_SYMBOL_BULLET = re.compile(r"^[\uf0a7\uf0b7\uf0a8\uf06e\uf0d8\uf0fc\uf076\uf02d]\s*")


_LEADERS = re.compile(
    r"(?<!\s)\s*+(?:(?:\.\s?){5,}+|…{3,}+)"
)  # the dotted lines of tables of contents


def plain_letters(text: str) -> str:
    """`text` with ligatures spelt out, and dotted leaders shortened.

    NFKC on ligatures and presentation forms only, so that "²" and "½" stay what they are.
    """
    text = _SYMBOL_BULLET.sub("• ", text)
    text = _LEADERS.sub(" … ", text)
    return _LIGATURES.sub(lambda match: unicodedata.normalize("NFKC", match.group()), text)


def one_line(text: str) -> str:
    """`text` on one line with single spaces, for titles and metadata."""
    return " ".join(clean(text).split())


def decode(data: bytes) -> str:
    """`data` as text: by its mark, as UTF-8, else by what charset-normalizer thinks.

    Raises `UnreadableFile` where no encoding fits.
    """
    for mark, encoding in (
        (b"\xef\xbb\xbf", "utf-8-sig"),
        (b"\xff\xfe\x00\x00", "utf-32"),
        (b"\x00\x00\xfe\xff", "utf-32"),
        (b"\xff\xfe", "utf-16"),
        (b"\xfe\xff", "utf-16"),
    ):
        if data.startswith(mark):
            return data.decode(encoding, "replace")
    if b"\0" in data[:4096]:
        even, odd = data[0:4096:2].count(0), data[1:4096:2].count(0)
        if max(even, odd) > 4 * max(1, min(even, odd)):
            return data.decode("utf-16-be" if even > odd else "utf-16-le", "replace")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.start > len(data) - 4 or data.count(0) * 50 > len(data):
            return data.decode("utf-8", "replace")
    return _guess(data)


def _guess(data: bytes) -> str:
    from charset_normalizer import from_bytes

    # A sample around the bytes beyond ASCII is enough, and keeps long files cheap.
    first = re.search(rb"[\x80-\xff]", data)
    begin = max(0, first.start() - 20_000) if first else 0
    sample = data[begin : begin + 60_000]
    encodings = ["cp1252", "latin-1"]
    matches = from_bytes(sample)
    best = matches.best()
    if best is not None and best.encoding not in {"utf_8", "ascii"}:
        # Windows-1252 is by far the most common of the codings that explain a text equally well.
        tied = any(
            match.encoding == "cp1252"
            and match.chaos <= best.chaos + 0.01
            and match.coherence >= best.coherence - 0.01
            for match in matches
        )
        same = sample.decode("cp1252", "ignore") == str(best)
        encodings.insert(1 if tied or same else 0, best.encoding)
    for encoding in encodings:
        try:
            return data.decode(encoding)
        except (UnicodeDecodeError, LookupError):
            continue
    raise UnreadableFile("the text is in no known encoding: save it as UTF-8")


class PageBuilder:
    """Collects blocks (paragraphs, headings, table rows) into one `Page` with exact offsets."""

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._length = 0
        self._headings: list[tuple[int, int, str]] = []

    def __len__(self) -> int:
        return self._length

    def add(self, text: str, *, tight: bool = False) -> None:
        """A block; `tight` puts it on the next line instead of after a blank one."""
        self._append(clean(text), tight=tight)

    def heading(self, title: str, level: int) -> None:
        """A heading of `level` 1 (highest) to 6."""
        title = one_line(title)
        if title:
            start = self._append(title, tight=False)
            self._headings.append((start, level, title))

    def rows(self, rows: Iterable[list[str]]) -> None:
        """A table: a line a row, cells separated by " | "; empty rows are dropped."""
        tight = False
        for row in rows:
            cells = [one_line(cell) for cell in row]
            while cells and not cells[-1]:
                cells.pop()
            if any(cells):
                self._append(" | ".join(cells), tight=tight)
                tight = True

    def _append(self, text: str, *, tight: bool) -> int:
        if not text.strip():
            return self._length
        if self._parts:
            gap = "\n" if tight else "\n\n"
            self._parts.append(gap)
            self._length += len(gap)
        start = self._length
        self._parts.append(text)
        self._length += len(text)
        return start

    def page(self, number: int, *, label: str | None = None, ocr: bool = False) -> Page:
        """What was collected, as page `number`."""
        return Page(
            number=number,
            text="".join(self._parts),
            label=label,
            ocr=ocr,
            headings=tuple(self._headings),
        )
