"""Text from documents on a page: never as markup, whatever it says."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime
from html import escape

from ragcore.text import visible_name

_MARKDOWN = re.compile(r"([\\`*_{}\[\]()<>#+\-.!|~$:^=&@\"'/])")
_WORD = re.compile(r"\w+")

TYPES = {
    "application/pdf": "PDF",
    "text/plain": "Text",
    "text/markdown": "Markdown",
    "text/html": "Web page",
    "text/csv": "Table (CSV)",
    "message/rfc822": "E-mail",
    "application/epub+zip": "E-book",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": "Word",
    "application/vnd.openxmlformats-officedocument.presentationml.presentation": "Slides",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": "Spreadsheet",
}


def plain(text: str) -> str:
    """`text` as Markdown that shows exactly these characters, on one line; control characters and
    bidirectional marks as escapes."""
    return _MARKDOWN.sub(r"\\\1", visible_name(" ".join(text.split())))


def shorten(text: str, width: int) -> str:
    """One line of at most `width` characters."""
    line = " ".join(text.split())
    return line if len(line) <= width else f"{line[: width - 1].rstrip()}…"


def marked_html(text: str, words: Iterable[str], *, width: int = 420) -> str:
    """An excerpt of `text` around the first of `words`, all of them in <mark>, escaped."""
    wanted = {word.casefold() for phrase in words for word in _WORD.findall(phrase)}
    line = " ".join(text.split())
    start = _first(line, wanted)
    begin = max(0, start - width // 3) if len(line) > width else 0
    if begin:
        begin = line.find(" ", begin) + 1
    part = line[begin : begin + width]
    if begin + width < len(line):
        part = part.rsplit(" ", 1)[0]
    pieces, at = [], 0
    for match in _WORD.finditer(part):
        if match.group().casefold() in wanted:
            pieces += [escape(part[at : match.start()]), f"<mark>{escape(match.group())}</mark>"]
            at = match.end()
    pieces.append(escape(part[at:]))
    before = "… " if begin else ""
    after = " …" if begin + len(part) < len(line) else ""
    return f"{before}{''.join(pieces)}{after}"


def _first(line: str, wanted: set[str]) -> int:
    for match in _WORD.finditer(line):
        if match.group().casefold() in wanted:
            return match.start()
    return 0


def type_name(media_type: str) -> str:
    """What people call a media type."""
    if media_type.startswith("image/"):
        return f"Image ({media_type.removeprefix('image/').upper()})"
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
    """ "1 page", "1,200 pages"."""
    return f"{number:,} {singular if number == 1 else plural or singular + 's'}"
