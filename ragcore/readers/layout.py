"""Reading order and paragraphs from lines with boxes, for PDF pages and recognized scans.

Coordinates are points or pixels from the top left, y downwards. The order is a recursive cut
along column gutters, with lines that run across a gutter (titles, full-width paragraphs) as
separators between bands (after Nagy and Seth's XY-cut, 1984).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from statistics import median

CELL_GAP = "\t"  # between the cells of a table row
_MAX_DEPTH = 12


@dataclass(frozen=True, slots=True)
class Line:
    """A piece of text on one baseline. `size` is the letter height (font size or box height).

    `wrapped` is the word break at its end: "" none, "-" a hyphen that layout put there.
    """

    text: str
    left: float
    top: float
    right: float
    bottom: float
    size: float
    bold: bool = False
    wrapped: str = ""

    @property
    def height(self) -> float:
        return self.bottom - self.top

    @property
    def middle(self) -> float:
        return (self.top + self.bottom) / 2


@dataclass(frozen=True, slots=True)
class Block:
    """Lines that belong together: a paragraph, a heading, a list item or a table."""

    lines: tuple[Line, ...]

    @property
    def size(self) -> float:
        return self.lines[0].size

    @property
    def top(self) -> float:
        return min(line.top for line in self.lines)

    @property
    def bottom(self) -> float:
        return max(line.bottom for line in self.lines)


# --- order -------------------------------------------------------------------


def reading_order(lines: Sequence[Line]) -> list[Line]:
    """`lines` column by column; cells of a table row are joined into one line by tabs."""
    return _order(list(lines), 0)


def _order(lines: list[Line], depth: int) -> list[Line]:
    if len(lines) < 2 or depth > _MAX_DEPTH:
        return join_rows(lines)
    gutter = _find_gutter(lines)
    if gutter is None:
        return join_rows(lines)
    crossing = sorted(
        (line for line in lines if _crosses(line, gutter)), key=lambda line: line.middle
    )
    ordered: list[Line] = []
    rest = sorted((line for line in lines if not _crosses(line, gutter)), key=lambda x: x.middle)
    start = 0
    for separator in [*crossing, None]:
        end = len(rest)
        if separator is not None:
            end = next(
                (i for i in range(start, len(rest)) if rest[i].middle > separator.middle), end
            )
        band = rest[start:end]
        start = end
        ordered += _order_band(band, gutter, depth)
        if separator is not None:
            ordered.append(separator)
    return ordered


def _order_band(band: list[Line], gutter: float, depth: int) -> list[Line]:
    left = [line for line in band if line.right <= gutter]
    right = [line for line in band if line.right > gutter]
    if not left or not right:
        return _order(band, depth + 1)
    if _is_table(left, right):
        return join_rows(band)
    return _order(left, depth + 1) + _order(right, depth + 1)


def _crosses(line: Line, x: float) -> bool:
    return line.left < x < line.right


def _find_gutter(lines: list[Line]) -> float | None:
    """The x between columns that the fewest lines cross, or None where there is no gutter.

    A gutter has at least two lines on each side within one stretch of the page's height, and
    is crossed by fewer lines than stand beside it.
    """
    height = median(line.height for line in lines)
    starts = sorted({round(line.left, 1) for line in lines})
    best: tuple[float, float] | None = None
    for start in starts[1:]:
        x = start - 0.15 * height
        left = [line for line in lines if line.right <= x]
        right = [line for line in lines if line.left >= x]
        if len(left) < 2 or len(right) < 2:
            continue
        crossing = len(lines) - len(left) - len(right)
        beside = _overlap(left, right)
        if beside < 2 * height or crossing > min(len(left), len(right)) * 1.5 + 2:
            continue
        gap = x - max(line.right for line in left) + 0.15 * height
        if gap < 0.5 * height:
            continue
        # Many lines aligned at the gutter's right edge speak for a column.
        aligned = sum(abs(line.left - start) < height for line in right)
        score = 4 * aligned + 2 * min(len(left), len(right)) - 3 * crossing + gap / height
        if best is None or score > best[0]:
            best = (score, x)
    return None if best is None else best[1]


def _overlap(left: list[Line], right: list[Line]) -> float:
    top = max(min(line.top for line in left), min(line.top for line in right))
    bottom = min(max(line.bottom for line in left), max(line.bottom for line in right))
    return bottom - top


def _is_table(left: list[Line], right: list[Line]) -> bool:
    """Whether two columns are the cells of one table: short texts on shared baselines."""
    fewer, more = sorted((left, right), key=len)
    shared = sum(any(_same_row(line, other) for other in more) for line in fewer)
    if shared < 0.6 * len(fewer):
        return False
    lengths = [sum(len(line.text) for line in side) / len(side) for side in (left, right)]
    return min(lengths) < 20 and max(lengths) < 60


def _same_row(one: Line, other: Line) -> bool:
    overlap = min(one.bottom, other.bottom) - max(one.top, other.top)
    return overlap > 0.5 * min(one.height, other.height)


def join_rows(lines: Iterable[Line]) -> list[Line]:
    """Lines from top to bottom; those on one baseline become one, joined by a tab or space."""
    rows: list[list[Line]] = []
    for line in sorted(lines, key=lambda line: (line.middle, line.left)):
        if rows and all(_same_row(line, other) for other in rows[-1][-3:]):
            rows[-1].append(line)
        else:
            rows.append([line])
    return [_join(sorted(row, key=lambda line: line.left)) for row in rows]


def _join(row: list[Line]) -> Line:
    text = row[0].text
    for before, line in pairwise(row):
        gap = line.left - before.right
        text += (CELL_GAP if gap > 0.8 * before.height else " ") + line.text
    return replace(
        row[0],
        text=text,
        top=min(line.top for line in row),
        right=max(line.right for line in row),
        bottom=max(line.bottom for line in row),
        wrapped=row[-1].wrapped,
    )


# --- is the given order wrong? ------------------------------------------------


def order_looks_wrong(lines: Sequence[Line]) -> bool:
    """Whether lines, as a file gives them, jump back up within a column again and again.

    Going up is right only when the next line starts to the right of what was read since the
    last such step (the next column). A few exceptions (figures, footnotes) are usual.
    """
    wrong = steps = 0
    right = 0.0
    for before, line in pairwise(lines):
        right = max(right, before.right)
        if abs(line.middle - before.middle) > 0.5 * before.height:
            steps += 1
        if line.bottom < before.top:
            if line.left < right - 0.3 * (right - before.left):
                wrong += 1
            right = 0.0
    return wrong >= 4 and wrong > 0.15 * steps


# --- paragraphs --------------------------------------------------------------


def blocks(lines: Sequence[Line]) -> list[Block]:
    """Ordered lines grouped into paragraphs by spacing, size, weight and indentation."""
    if not lines:
        return []
    spacing = _usual_spacing(lines)
    groups: list[list[Line]] = [[lines[0]]]
    for before, line in pairwise(lines):
        if _starts_block(before, line, groups[-1], spacing):
            groups.append([line])
        else:
            groups[-1].append(line)
    return [Block(tuple(group)) for group in groups]


def _usual_spacing(lines: Sequence[Line]) -> float:
    """Median distance between baselines in letter heights."""
    steps = [
        (line.bottom - before.bottom) / max(before.size, 0.1)
        for before, line in pairwise(lines)
        if 0.6 * before.size < line.bottom - before.bottom < 2.5 * before.size
    ]
    return median(steps) if steps else 1.3


def _starts_block(before: Line, line: Line, group: list[Line], spacing: float) -> bool:
    size = max(before.size, line.size, 0.1)
    step = line.bottom - before.bottom
    # Table rows may stand apart, above all under the header's rule.
    both_cells = CELL_GAP in before.text and CELL_GAP in line.text
    if step < -0.5 * size or step > (2.6 if both_cells else spacing + 0.45) * size:
        return True
    if line.left > max(other.right for other in group) or line.right < group[0].left:
        return True
    if abs(line.size - before.size) > 0.12 * size and not _same_row(before, line):
        return True
    if line.bold != before.bold and CELL_GAP not in line.text + before.text:
        # A bold run at the start of a paragraph is no heading; a bold line of its own is.
        if before.bold and len(group) <= 3 and not before.text.endswith((",", "-")):
            return True
        if line.bold:
            return True
    if BULLET.match(line.text):
        return True
    left = min(other.left for other in group)
    indented = line.left - left > 0.8 * size and before.left - left < 0.4 * size
    return indented and before.text.rstrip().endswith((".", ":", "!", "?", ")", "”", '"'))


BULLET = re.compile(r"(?:[•●○◦▪■‣–—*·\uf0b7\uf0a7]\s*|\(?(?:\d{1,2}|[a-zA-Z])[.)]\s)(?=\S)")


def block_text(block: Block, *, right: float | None = None) -> str:
    r"""The block's text: lines that fill their column run on, shorter ones keep their break.

    `right` is the column's right edge; by default the block's own. A hyphen at a line's end
    stays as "-\\n" for the caller to decide (see `join_words`).
    """
    lines = block.lines
    edge = right if right is not None else max(line.right for line in lines)
    left = min(line.left for line in lines)
    full = edge - max(0.15 * (edge - left), 2.5 * block.size)
    parts: list[str] = []
    for number, line in enumerate(lines):
        parts.append(line.text)
        if number + 1 == len(lines):
            break
        following = lines[number + 1]
        if line.wrapped:
            parts.append("\ufffe")
        elif CELL_GAP in line.text or CELL_GAP in following.text:
            parts.append("\n")
        else:
            if line.right < full:
                parts.append("\n")
            elif not line.text.endswith("/"):  # paths and addresses are broken after slashes
                parts.append(" ")
    return "".join(parts)


_BROKEN = re.compile("(\\w*)\ufffe(\\w*)")
_WORD = re.compile(r"[^\W\d_]+(?:-[^\W\d_]+)*")


def words_of(text: str) -> set[str]:
    """Lower-case words and hyphenated words, to settle what `join_words` should do."""
    return {match.group().lower() for match in _WORD.finditer(text)}


def join_words(text: str, known: set[str]) -> str:
    """`text` with words that were broken at line ends (U+FFFE) put together again.

    "exam/ple" becomes "example"; the hyphen stays where the text elsewhere writes it
    ("fine-tuning"), after abbreviations and digits, and before a capital ("QED-specific").
    """
    if "\ufffe" not in text:
        return text

    def joined(match: re.Match[str]) -> str:
        left, right = match.groups()
        if not left or not right:
            return left + "-" + right
        if (left + right).lower() in known:
            return left + right
        hyphenated = f"{left}-{right}".lower()
        if hyphenated in known or left[-1].isdigit() or right[0].isdigit():
            return f"{left}-{right}"
        shouted = left.isupper() and right.isupper()
        if not shouted and (right[0].isupper() or (len(left) > 1 and left.isupper())):
            return f"{left}-{right}"
        return left + right

    return _BROKEN.sub(joined, text)
