"""Text from documents on a page: never as markup, whatever it says."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime

from ragcore.text import visible_name

_MARKDOWN = re.compile(r"([\\`*_{}\[\]()<>#+\-.!|~$:^=&@\"'/])")
_WORD = re.compile(r"\w+")
_SENTENCE_END = re.compile(r"[.!?;:]\s+")
_BEFORE = 160  # characters that an excerpt may begin before its first word, for the sentence

TYPES = {
    "application/pdf": "PDF",
    "text/plain": "Text",
    "text/markdown": "Markdown",
    "text/html": "Web page",
    "text/csv": "Table (CSV)",
    "message/rfc822": "E-mail",
    "application/vnd.ms-outlook": "E-mail",
    "application/mbox": "Mailbox",
    "application/epub+zip": "E-book",
    "application/rtf": "Rich text",
    "application/x-ipynb+json": "Notebook",
    "application/x-subrip": "Subtitles",
    "text/vtt": "Subtitles",
    "text/x-tex": "LaTeX",
    "text/x-source-code": "Source code",
    "application/zip": "Archive",
    "application/x-tar": "Archive",
    "application/vnd.oasis.opendocument.text": "OpenDocument text",
    "application/vnd.oasis.opendocument.spreadsheet": "OpenDocument sheet",
    "application/vnd.oasis.opendocument.presentation": "OpenDocument slides",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": "Word",
    "application/vnd.openxmlformats-officedocument.presentationml.presentation": "Slides",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": "Spreadsheet",
}


def plain(text: str) -> str:
    """`text` as Markdown that shows exactly these characters, on one line.

    Control characters and bidirectional marks as escapes.
    """
    return _MARKDOWN.sub(r"\\\1", visible_name(" ".join(text.split())))


def shorten(text: str, width: int) -> str:
    """One line of at most `width` characters."""
    line = " ".join(text.split())
    return line if len(line) <= width else f"{line[: width - 1].rstrip()}…"


def excerpt(text: str, words: Iterable[str], *, width: int = 420) -> list[tuple[str, bool]]:
    """A part of `text` around the sentence with most of `words`, in pieces.

    (piece, whether it is one of the words).
    """
    wanted = {word.casefold() for phrase in words for word in _WORD.findall(phrase)}
    line = " ".join(text.split())
    begin = _best_start(line, wanted, width) if len(line) > width else 0
    part = line[begin : begin + width]
    if begin + width < len(line):
        part = part.rsplit(" ", 1)[0]
    pieces: list[tuple[str, bool]] = [("… ", False)] if begin else []
    at = 0
    for match in _WORD.finditer(part):
        if match.group().casefold() in wanted:
            pieces += [(part[at : match.start()], False), (match.group(), True)]
            at = match.end()
    after = " …" if begin + len(part) < len(line) else ""
    pieces.append((part[at:] + after, False))
    return [piece for piece in pieces if piece[0]]


def _best_start(line: str, wanted: set[str], width: int) -> int:
    """Where the sentence begins from which on most of the words come within `width`."""
    found = [
        (match.start(), match.group().casefold())
        for match in _WORD.finditer(line)
        if match.group().casefold() in wanted
    ]
    if not found:
        return 0

    def words_from(start: int) -> int:
        return len({word for at, word in found if start <= at < start + width})

    best = max((at for at, _ in found), key=lambda at: (words_from(at), -at))
    ends = [match.end() for match in _SENTENCE_END.finditer(line, max(0, best - _BEFORE), best)]
    if ends:
        return ends[-1]
    return 0 if best <= _BEFORE else best


def type_name(media_type: str) -> str:
    """What people call a media type."""
    for start, what in (("image/", "Image"), ("video/", "Video"), ("audio/", "Recording")):
        if media_type.startswith(start):
            name = media_type.removeprefix(start).removeprefix("x-").removeprefix("ms-")
            return f"{what} ({name.upper()})"
    return TYPES.get(media_type, media_type or "Unknown")


def size_name(size: float) -> str:
    """A number of bytes, as people write it."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000 or unit == "GB":
            return f"{size:.0f} {unit}" if unit == "B" or size >= 100 else f"{size:.1f} {unit}"
        size /= 1000
    raise AssertionError


def time_name(seconds: float) -> str:
    """A time span: "12 s", "3 min", "1 h 20 min"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


def day_name(when: datetime) -> str:
    return f"{when.astimezone():%Y-%m-%d %H:%M}"


def count_name(number: int, singular: str, plural: str = "") -> str:
    """A count with its noun: "1 page", "1,200 pages"."""
    return f"{number:,} {singular if number == 1 else plural or singular + 's'}"
