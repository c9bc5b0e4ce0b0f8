"""The text layer of one PDF page as lines with boxes (PDFium through pypdfium2)."""

from __future__ import annotations

import ctypes
import math
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from statistics import median
from typing import Any

from ragcore.readers import layout
from ragcore.readers.clean import plain_letters
from ragcore.readers.layout import Line

HYPHEN = "￾"  # PDFium's mark for a hyphen that breaks a word at a line's end
_ENDS = re.compile("\r\n|\r|\n|\ufffe")
_WIDE = 1.1  # letter heights: a gap this wide between words separates cells or columns
_BOLD_WEIGHT = 600


class TextLayer:
    """Reads `textpage` of `page`.

    Boxes are in points from the top left of the page as shown, that is, cropped and turned as the
    file says; with `upright`, turned so that most of its text stands upright, however it is shown.
    """

    def __init__(self, textpage: Any, page: Any, *, upright: bool = False) -> None:
        import pypdfium2.raw as raw

        self._raw = raw
        self._page = textpage
        self._bounds = page.get_bbox()
        self._turn = page.get_rotation()
        self._rect = raw.FS_RECTF()
        self.text: str = textpage.get_text_range() if textpage.count_chars() else ""
        # PDFium counts UTF-16 units, and leaves a few characters out of the text.
        self._direct = len(self.text) == textpage.count_chars()
        if upright and self.text:
            self._turn = self._text_turn()

    def char_index(self, position: int) -> int:
        """PDFium's character index for a position in `text`."""
        if self._direct:
            return position
        units = position + sum(1 for c in self.text[:position] if c > "\uffff")
        return int(self._raw.FPDFText_GetCharIndexFromTextIndex(self._page, units))

    def box(self, position: int) -> tuple[float, float, float, float] | None:
        """(left, top, right, bottom) of one character, the font's full height."""
        index = self.char_index(position)
        if index < 0 or not self._raw.FPDFText_GetLooseCharBox(self._page, index, self._rect):
            return None
        rect = self._rect
        if rect.left == rect.right and rect.top == rect.bottom:
            return None
        left, bottom, right, top = self._bounds
        if self._turn == 90:
            return rect.bottom - bottom, rect.left - left, rect.top - bottom, rect.right - left
        if self._turn == 180:
            return right - rect.right, rect.bottom - bottom, right - rect.left, rect.top - bottom
        if self._turn == 270:
            return top - rect.top, right - rect.right, top - rect.bottom, right - rect.left
        return rect.left - left, top - rect.top, rect.right - left, top - rect.bottom

    def _text_turn(self) -> int:
        """The turn of the page, in degrees clockwise, that brings most of its text upright."""
        step = max(1, len(self.text) // 40)
        angles = (
            self._raw.FPDFText_GetCharAngle(self._page, self.char_index(position))
            for position in range(0, len(self.text), step)
            if not self.text[position].isspace()
        )
        turns = Counter(-round(math.degrees(angle) / 90) % 4 * 90 for angle in angles if angle >= 0)
        return turns.most_common(1)[0][0] if turns else self._turn

    def weight(self, position: int) -> int:
        return int(self._raw.FPDFText_GetFontWeight(self._page, self.char_index(position)))

    def font(self, position: int) -> str:
        """The font's name at `position`, "" where there is none."""
        buffer = ctypes.create_string_buffer(128)
        flags = ctypes.c_int()
        index = self.char_index(position)
        length = self._raw.FPDFText_GetFontInfo(self._page, index, buffer, 128, flags)
        return buffer.value.decode("latin-1") if 0 < length <= 128 else ""

    def _bold(self, position: int) -> bool:
        if self.text[position] == " ":
            return True
        return self.weight(position) >= _BOLD_WEIGHT or "bold" in self.font(position).lower()

    def lines(self) -> list[list[Line]]:
        """The lines in the file's order; each is split into segments at wide gaps."""
        found = []
        for start, end, wrapped in self._spans():
            segments = self._segments(start, end)
            if segments:
                if wrapped:
                    segments[-1] = replace(segments[-1], wrapped="-")
                found.append(segments)
        return found

    def _spans(self) -> Iterator[tuple[int, int, bool]]:
        start = 0
        for match in _ENDS.finditer(self.text):
            yield start, match.start(), match.group() == HYPHEN
            start = match.end()
        yield start, len(self.text), False

    def _segments(self, start: int, end: int) -> list[Line]:
        text = self.text
        while start < end and text[start].isspace():
            start += 1
        while end > start and text[end - 1].isspace():
            end -= 1
        if start == end:
            return []
        segments: list[Line] = []
        first = start
        position = start
        while position < end:
            if text[position] != " ":
                position += 1
                continue
            after = position
            while after < end and text[after] == " ":
                after += 1
            before_box, after_box = self.box(position - 1), self.box(after)
            if before_box and after_box:
                gap = after_box[0] - before_box[2]
                height = max(before_box[3] - before_box[1], 1.0)
                if gap > _WIDE * height:
                    self._append(segments, first, position)
                    first = after
            position = after
        self._append(segments, first, end)
        return segments

    def _append(self, segments: list[Line], start: int, end: int) -> None:
        # A few letters determine the line's position; the median keeps superscripts from moving it.
        places = sorted({start + (end - 1 - start) * k // 4 for k in range(5)})
        boxes = [box for p in places if self.text[p] != " " and (box := self.box(p))]
        if not boxes:
            return
        text = plain_letters(self.text[start:end])
        left, right = min(b[0] for b in boxes), max(b[2] for b in boxes)
        top, bottom = median(b[1] for b in boxes), median(b[3] for b in boxes)
        bold = all(self._bold(p) for p in (start, end - 1, (start + end) // 2))
        size = max(bottom - top, 0.1)
        segments.append(Line(text, left, top, right, bottom, size, bold))


def page_lines(layer: TextLayer) -> list[Line]:
    """The page's lines in reading order; table cells on one line, separated by tabs.

    The file's own order is kept where it is plausible, which it nearly always is. It is
    replaced where lines run across column gutters or jump up and down.
    """
    rows = _continued(layer.lines())
    segments = [segment for row in rows for segment in row]
    if not segments:
        return []
    upright = sum(len(s.text) > 2 and s.right - s.left >= s.height for s in segments)
    if upright < 0.5 * sum(len(s.text) > 2 for s in segments):  # turned text: boxes mislead
        return [_joined(row, row) for row in rows]
    if _runs_across_columns(rows):
        return layout.reading_order(segments)
    lines = [_joined(row, _around(rows, number)) for number, row in enumerate(rows)]
    if layout.order_looks_wrong(lines):
        return layout.reading_order(segments)
    return _title_first(lines)


def _continued(rows: list[list[Line]]) -> list[list[Line]]:
    """Rows that only go on where the one before ends (after a superscript) are joined to it."""
    joined: list[list[Line]] = []
    for row in rows:
        if joined:
            last, first = joined[-1][-1], row[0]
            gap = first.left - last.right
            shared = min(last.bottom, first.bottom) - max(last.top, first.top)
            height = min(last.height, first.height)
            if -0.3 * height < gap < 0.5 * height and shared > 0.6 * height and not last.wrapped:
                space = " " if gap > 0.15 * height else ""
                both = replace(
                    last,
                    text=last.text + space + first.text,
                    right=first.right,
                    bold=last.bold and first.bold,
                    wrapped=first.wrapped,
                )
                joined[-1] = [*joined[-1][:-1], both, *row[1:]]
                continue
        joined.append(row)
    return joined


def _around(rows: list[list[Line]], number: int) -> list[Line]:
    """The segments of the two rows before and after, with a pair for each of their gaps."""
    near = rows[max(0, number - 2) : number] + rows[number + 1 : number + 3]
    return [segment for row in near if len(row) > 1 for segment in row]


def _title_first(lines: list[Line]) -> list[Line]:
    """Slides often draw their title last: lines above everything before them go first."""
    if len(lines) < 4:
        return lines
    tail = len(lines)
    while tail > 1 and lines[tail - 1].size > lines[0].size:
        tail -= 1
    # A page number above the title does not count.
    top = min((line.top for line in lines[:tail] if len(line.text) > 4), default=0.0)
    if tail < len(lines) and max(line.middle for line in lines[tail:]) < top:
        return lines[tail:] + lines[:tail]
    return lines


def _is_cell_gap(before: Line, after: Line, near: list[Line]) -> bool:
    """Whether the gap between two segments goes on in a row nearby, as in a table.

    Single wide gaps come from justified lines and from numbered headings.
    """
    return any(
        min(after.left, right.left) - max(before.right, left.right) > 0.4 * before.height
        for left, right in pairwise(near)
        if left.right < right.left
    )


def _joined(row: list[Line], near: list[Line]) -> Line:
    if len(row) == 1:
        return row[0]
    text = row[0].text
    for before, after in pairwise(row):
        text += (layout.CELL_GAP if _is_cell_gap(before, after, near) else " ") + after.text
    return replace(
        row[0],
        text=text,
        left=min(segment.left for segment in row),
        top=min(segment.top for segment in row),
        right=max(segment.right for segment in row),
        bottom=max(segment.bottom for segment in row),
        bold=all(segment.bold for segment in row),
        wrapped=row[-1].wrapped,
    )


def _runs_across_columns(rows: list[list[Line]]) -> bool:
    """Whether the file draws two columns of prose line by line, so that each row holds both."""
    pairs = [row for row in rows if len(row) == 2 and min(len(s.text) for s in row) >= 20]
    if len(pairs) < 6 or len(pairs) < 0.3 * len(rows):
        return False
    edge = median(row[1].left for row in pairs)
    aligned = [row for row in pairs if abs(row[1].left - edge) < row[1].height]
    return len(aligned) > 0.7 * len(pairs)
