"""The text of a page as an image, with a quote marked.

For documents that have no pages of their own to show. Nothing of the document but its text is
drawn.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.ImageFont import FreeTypeFont, ImageFont

_FONTS = (
    "DejaVuSans.ttf",  # found by name on most systems
    "/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf",
    "Arial Unicode.ttf",
    "arial.ttf",
)
_MAX_LINES = 70
_BEFORE = 12  # lines shown above the quote
_MARGIN = 40
_MARK = (255, 236, 140)
_LOOK = 40_000  # characters around the quote that can come into the image


@dataclass(frozen=True, slots=True)
class _Row:
    """One line of the image: [start, end) of the text."""

    start: int
    end: int


def text_image(text: str, *, span: tuple[int, int] | None = None, width: int = 1000) -> bytes:
    """PNG, `width` pixels wide, of at most 70 lines of `text` around `span`, which is marked."""
    from PIL import Image, ImageDraw

    size = max(11, width // 55)
    font = _font(size)
    start, end = span or (0, 0)
    first = max(0, start - _LOOK // 4)
    first = text.rfind("\n", 0, first) + 1 if first else 0
    rows = _wrap(text, first, min(len(text), max(end, first) + _LOOK), font, width - 2 * _MARGIN)
    marked = next((n for n, row in enumerate(rows) if row.end > start), 0) if span else 0
    top = max(0, min(marked - _BEFORE, len(rows) - _MAX_LINES)) if span else 0
    shown = rows[top : top + _MAX_LINES]
    step = round(size * 1.45)
    image = Image.new("RGB", (width, 2 * _MARGIN + step * max(1, len(shown))), "white")
    pen = ImageDraw.Draw(image)
    for number, row in enumerate(shown):
        y = _MARGIN + number * step
        line = text[row.start : row.end]
        a, b = max(start, row.start), min(end, row.end)
        if a < b:
            left = _MARGIN + font.getlength(text[row.start : a])
            right = _MARGIN + font.getlength(text[row.start : b])
            pen.rectangle((left - 1, y - 1, right + 1, y + step - 4), fill=_MARK)
        pen.text((_MARGIN, y), line.replace("\t", "    "), font=font, fill=(25, 25, 25))
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


@lru_cache(maxsize=8)
def _font(size: int) -> FreeTypeFont | ImageFont:
    from PIL import ImageFont

    candidates = [*_FONTS]
    try:
        import matplotlib

        candidates.insert(0, str(Path(matplotlib.get_data_path()) / "fonts/ttf/DejaVuSans.ttf"))
    except ImportError:
        pass
    for name in candidates:
        try:
            return ImageFont.truetype(name, size)
        except OSError:
            continue
    return ImageFont.load_default(size)


def _wrap(
    text: str, start: int, end: int, font: FreeTypeFont | ImageFont, width: int
) -> list[_Row]:
    """Rows of at most `width` pixels, broken at spaces where there are some."""
    rows: list[_Row] = []
    average = max(font.getlength("abcdefghij nopqrst") / 18, 1.0)
    guess = max(4, int(width / average * 1.6))
    position = start
    while position < end:
        stop = text.find("\n", position, end)
        stop = end if stop < 0 else stop
        if position == stop:
            rows.append(_Row(position, position))
        while position < stop:
            cut = _fits(text, position, min(stop, position + guess), font, width)
            if cut < stop:
                space = text.rfind(" ", position + 1, cut + 1)
                cut = space if space > position else cut
            rows.append(_Row(position, cut))
            position = cut
            while position < stop and text[position] == " ":
                position += 1
        position = stop + 1
    return rows


def _fits(text: str, start: int, end: int, font: FreeTypeFont | ImageFont, width: int) -> int:
    """The furthest end, up to `end`, at which text[start:end] is not wider than `width`."""
    if font.getlength(text[start:end].replace("\t", "    ")) <= width:
        return end
    low, high = start + 1, end
    while low < high:
        middle = (low + high + 1) // 2
        if font.getlength(text[start:middle].replace("\t", "    ")) <= width:
            low = middle
        else:
            high = middle - 1
    return low
