"""What stands beside what in a document: labels with their values, tables, lists, sentences.

"Invoice number: INV-12", "Total due … EUR 1,204.50", cells kept apart by tabs or " | ", a line
above a list, "Issued on 3 May 2025". Struck-out text (~~so~~) is passed over. All places count in
the text of a passage, so that what is taken from it can be quoted.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from ragcore.answers.sentences import sentences
from ragcore.types import Hit


@dataclass(frozen=True, slots=True)
class Cell:
    """A part of passage `hit`: its `text[start:end]`, with the struck-out left out."""

    hit: int
    start: int
    end: int
    text: str


@dataclass(frozen=True, slots=True)
class LabelledValue:
    """A label, its value, and the quote that has both.

    `items` are those of a list below the label; `unit` is what a table's heading or column says of
    the value; `sure` is in [0, 1].
    """

    label: str
    value: Cell
    quote: Cell
    items: tuple[Cell, ...] = ()
    unit: str = ""
    sure: float = 1.0


@dataclass(frozen=True, slots=True)
class LayoutTable:
    """Rows of equally many cells below their names; no names: rows that are numbered."""

    names: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    quotes: tuple[Cell, ...]
    title: str = ""


@dataclass(frozen=True, slots=True)
class Clause:
    """A sentence or line, or a part of one between semicolons or before a "but"."""

    cell: Cell
    sentence: Cell
    before: str  # the sentence before it


@dataclass(slots=True)
class Layout:
    """What was found in the passages of one document."""

    text: str = ""
    labelled: list[LabelledValue] = field(default_factory=list)
    tables: list[LayoutTable] = field(default_factory=list)
    clauses: list[Clause] = field(default_factory=list)
    lines: list[Cell] = field(default_factory=list)


_BULLET = re.compile(r"\s*(?:[-–—*•▪◦‣·●○☐☑✓]|\(?\d{1,2}[.)])\s+(?=\S)")
_SEPARATOR = re.compile(r"\t|\s*\|\s*| {3,}|\s?\.{4,}\s?|\s?…+\s?(?=\S*\d)")
_COLON = re.compile(r"\s?:(?=\s|$)")
_LABEL_END = re.compile(r"(?:^|[\s(])(?P<label>[A-Z][\w./'&-]*(?: (?:[a-z][\w'-]*|\([^)]*\)))*)$")
_NUMERIC = re.compile(r"[\W\d]*")
_DIGIT = re.compile(r"(?:US\$|[€$£#-])?\s?\d|[A-Z]{1,4}[-/]\d|\b(?:EUR|USD|GBP|CHF) \d")
_LONGEST_LABEL = 60
_BEFORE_NAME = re.compile(r"(by|from|to) (?=[A-Z][^.!?]*$)", re.IGNORECASE)


def read_layout(hits: Sequence[Hit], numbers: Sequence[int]) -> Layout:
    """The layout of `hits[n]` for each n of `numbers`, passages of one document in their order."""
    found = Layout()
    for n in numbers:
        masked = _masked(hits[n].text)
        found.text += masked + "\n"
        found.lines += _lines(masked, n)
        found.clauses += _clauses(masked, n)
    _read_lines(found)
    return found


def _masked(text: str) -> str:
    """The same length, without what is struck out and without marks of emphasis."""
    text = re.sub(r"~~[^\n]*?~~", lambda m: " " * len(m[0]), text)
    return re.sub(r"\*\*|__|(?m:^#{1,6} )", lambda m: " " * len(m[0]), text)


def _cell(text: str, hit: int, start: int, end: int) -> Cell:
    while start < end and text[start].isspace():
        start += 1
    while end > start and text[end - 1].isspace():
        end -= 1
    return Cell(hit, start, end, text[start:end])


def part(cell: Cell, start: int, end: int) -> Cell:
    """`cell.text[start:end]` as a cell of its own, outer white space left out."""
    text = cell.text
    while start < end and text[start].isspace():
        start += 1
    while end > start and text[end - 1].isspace():
        end -= 1
    return Cell(cell.hit, cell.start + start, cell.start + end, text[start:end])


def _lines(text: str, hit: int) -> Iterator[Cell]:
    at = 0
    for line in text.split("\n"):
        yield _cell(text, hit, at, at + len(line))
        at += len(line) + 1


def cells(line: Cell) -> list[Cell]:
    """The cells of a line; one where nothing separates any."""
    outer = line
    if line.text.startswith("|"):
        outer = part(line, 1, len(line.text) - (1 if line.text.endswith("|") else 0))
    found, at = [], 0
    for match in _SEPARATOR.finditer(outer.text):
        found.append(part(outer, at, match.start()))
        at = match.end()
    found.append(part(outer, at, len(outer.text)))
    return found


# --- lines -------------------------------------------------------------------------------


def _read_lines(found: Layout) -> None:
    lines = found.lines
    split = [cells(line) for line in lines]
    at = 0
    while at < len(lines):
        end = _table_end(split, at)
        if end > at + 1:
            table = _table(lines, split, at, end)
            found.tables.append(table)
            found.labelled += _of_table(table)
            at = end
            continue
        end = _numbered_end(split, at)
        if end > at:
            rows = tuple(tuple(row) for row in split[at:end])
            found.tables.append(LayoutTable((), rows, tuple(lines[at:end]), _title(lines, at)))
            at = end
            continue
        found.labelled += _of_line(lines, split[at], at)
        at += 1


def _table_end(split: Sequence[Sequence[Cell]], at: int) -> int:
    """Where a table with names, beginning at line `at`, ends."""
    width = len(split[at])
    if width < 2 or any(not c.text and n == 0 for n, c in enumerate(split[at])):
        return at
    names = [cell.text for cell in split[at]]
    if any(_NUMERIC.fullmatch(name) or ":" in name or len(name) > 40 for name in names if name):
        return at
    if sum(map(bool, names)) < 2 or any(re.search(r"\d{2}", name) for name in names):
        return at
    end = at + 1
    while end < len(split) and len(split[end]) == width:
        end += 1
    if width == 2:  # names only where they are those of columns: all else is a label and a value
        first = f"{names[0]} {names[1]}".lower()
        return end if _COLUMNS.fullmatch(first) and end - at > 2 else at
    return end


_COLUMN = (
    r"(?:name|item|article|product|parameter|property|feature|who|owner|person|responsible|task|"
    r"action|what|description|key|field|characteristic|quantity|qty|spec\w*|value|unit|amount|price|"
    r"sum|total|due|deadline|by when|when|date|role|function)"
)
_COLUMNS = re.compile(rf"{_COLUMN} (?:\w+ )?{_COLUMN}(?: [(\[].*)?")


def _numbered_end(split: Sequence[Sequence[Cell]], at: int) -> int:
    """Where rows that are numbered 1, 2, … end."""
    end = at
    while (
        end < len(split)
        and len(split[end]) >= 3
        and split[end][0].text.rstrip(".)") == str(end - at + 1)
        and len(split[end]) == len(split[at])
    ):
        end += 1
    return end


def _title(lines: Sequence[Cell], at: int) -> str:
    """The short line above."""
    above = [line.text for line in lines[max(0, at - 2) : at] if line.text]
    return above[-1].rstrip(":") if above and len(above[-1]) <= _LONGEST_LABEL else ""


def _table(
    lines: Sequence[Cell], split: Sequence[Sequence[Cell]], at: int, end: int
) -> LayoutTable:
    rows = [
        (tuple(row), line)
        for row, line in zip(split[at + 1 : end], lines[at + 1 : end], strict=True)
        if not all(re.fullmatch(r"[-:= ]*", cell.text) for cell in row)
    ]
    return LayoutTable(
        tuple(cell.text for cell in split[at]),
        tuple(row for row, _ in rows),
        tuple(line for _, line in rows),
        _title(lines, at),
    )


_UNIT_NAMES = re.compile(r"units?\.?", re.IGNORECASE)


def _of_table(table: LayoutTable) -> Iterator[LabelledValue]:
    """Each cell under the name of its row and column."""
    unit_at = next((n for n, name in enumerate(table.names) if _UNIT_NAMES.fullmatch(name)), None)
    for row, quote in zip(table.rows, table.quotes, strict=True):
        unit = row[unit_at].text if unit_at is not None else ""
        values = [n for n in range(1, len(row)) if n != unit_at and row[n].text]
        titles = [cell.text for cell in row if re.search(r"[^\W\d_]{2}", cell.text)]
        title = row[0].text if not titles or row[0].text in titles else titles[0]
        for n in values:
            inside = re.search(r"[(\[]([^)\]]+)[)\]]", table.names[n])
            column = table.names[n] if len(values) > 1 else ""
            matched = unit or (inside[1] if inside else "")
            yield LabelledValue(f"{title} {column}".strip(), row[n], quote, (), matched)
        if len(table.rows) == 1:
            for n, cell in enumerate(row):
                if cell.text:
                    yield LabelledValue(table.names[n], cell, quote)


def _of_line(lines: Sequence[Cell], split: Sequence[Cell], at: int) -> Iterator[LabelledValue]:
    line = lines[at]
    if not line.text:
        return
    bullet = _BULLET.match(line.text)
    if len(split) >= 2:
        plain = [cell for cell in split if cell.text]
        for cell in plain:
            yield from _of_colons(cell, lines, at, alone=False)
        if len(plain) >= 2 and not any(_COLON.search(cell.text) for cell in plain):
            first = plain[0]
            last = Cell(
                line.hit, plain[1].start, plain[-1].end, line.text[plain[1].start - line.start :]
            )
            if len(first.text) <= _LONGEST_LABEL:
                yield LabelledValue(first.text, last, line)
        for cell in plain:
            yield from _unmarked(cell, line)
        return
    body = part(line, bullet.end(), len(line.text)) if bullet else line
    marked = list(_of_colons(body, lines, at, alone=True))
    yield from marked
    for cut in _parts_of(body):
        yield from _unmarked(cut, line)
    if not marked and (named := _BEFORE_NAME.match(body.text)) and len(body.text.split()) <= 7:
        yield LabelledValue(named[1], part(body, named.end(), len(body.text)), line, sure=0.8)
    if not marked and not bullet and _is_heading(body.text):
        items, last = _items(lines, at)
        if items:
            yield _listed(body.text, items, line, last)


def _is_heading(text: str) -> bool:
    return len(text) <= _LONGEST_LABEL and len(text.split()) <= 8 and text[-1] not in ".!?;,"


def _of_colons(
    cell: Cell, lines: Sequence[Cell], at: int, *, alone: bool
) -> Iterator[LabelledValue]:
    """The labels before colons in a line or cell, each with what follows up to the next."""
    text = cell.text
    spans: list[tuple[int, int, int]] = []  # start of the label, its end, start of the value
    for match in _COLON.finditer(text):
        before = text[: match.start()]
        if not spans:
            start = max(before.rfind(". "), before.rfind("; "), before.rfind(") ")) + 1
            start = start + 1 if start else 0
            if match.start() - start > _LONGEST_LABEL or len(before[start:].split()) > 7:
                near = _LABEL_END.search(before)
                if near is None:
                    continue
                start = near.start("label")
        else:
            cut = max(before.rfind(", "), before.rfind("; "), before.rfind(". "))
            near = _LABEL_END.search(before, spans[-1][2])
            if near is not None and near.start("label") > cut:
                start = near.start("label")
            elif cut >= spans[-1][2]:
                start = cut + 2
            else:
                continue
            if len(before[start:].split()) > 6:
                continue
        spans.append((start, match.start(), match.end()))
    for n, (start, stop, value) in enumerate(spans):
        end = spans[n + 1][0] if n + 1 < len(spans) else len(text)
        label = text[start:stop].strip()
        if not re.search(r"[^\W\d_]", label):
            continue
        inner = part(cell, value, end)
        if inner.text:
            yield LabelledValue(label, _tidy(inner), part(cell, start, end))
        elif alone and n + 1 == len(spans):
            items, last = _items(lines, at)
            if items:
                yield _listed(label, items, lines[at], last)


def _listed(label: str, items: Sequence[Cell], first: Cell, last: Cell) -> LabelledValue:
    """A label with the list below it; the quote is its first item where it is one line."""
    quote = items[0] if len(items) == 1 else Cell(items[0].hit, items[0].start, last.end, "")
    value = items[0] if len(items) == 1 else Cell(quote.hit, quote.start, quote.end, "")
    return LabelledValue(label, value, quote, tuple(items), sure=0.95)


def _items(lines: Sequence[Cell], at: int) -> tuple[list[Cell], Cell]:
    """The items of the list below line `at`; else the one line below it."""
    found: list[Cell] = []
    last = lines[at]
    below = at + 1
    while below < len(lines) and not lines[below].text and below < at + 3:
        below += 1
    begin = below
    while below < len(lines) and lines[below].hit == lines[begin].hit:
        line = lines[below]
        bullet = _BULLET.match(line.text)
        if bullet:
            found.append(part(line, bullet.end(), len(line.text)))
            last = line
        elif line.text or (found and not _more_items(lines, below)):
            break
        below += 1
    if not found and begin < len(lines) and begin == at + 1 and lines[begin].text:
        one = lines[begin]
        if _COLON.search(one.text) is None and len(one.text) <= 200:
            return [one], one
    return found, last


def _more_items(lines: Sequence[Cell], at: int) -> bool:
    return at + 1 < len(lines) and bool(_BULLET.match(lines[at + 1].text))


def _tidy(cell: Cell) -> Cell:
    """Without separators at its end."""
    text = re.sub(r"(?:\s*[,;|(]|\s+[-–])+\s*$", "", cell.text)
    return part(cell, 0, len(text))


def _parts_of(line: Cell) -> Iterator[Cell]:
    """A short line that is no sentence, cut at commas and dashes."""
    text = line.text
    if len(text) > 120 or (text.endswith((".", "!")) and len(text.split()) > 6):
        return
    at = 0
    for match in re.finditer(
        r",\s+(?=\D)|;\s+|\s[-–—]\s|\s\(|\)\s*|(?i:(?<!\bno)(?<!\bnr))\.\s+(?=[A-Z])", text
    ):
        yield part(line, at, match.start())
        at = match.end()
    yield part(line, at, len(text))


def _unmarked(cell: Cell, line: Cell) -> Iterator[LabelledValue]:
    """Words, then a value with a digit: "Issued on 05.09.2024", "Invoice no. 7714"."""
    match = _DIGIT.search(cell.text)
    if match is None or not match.start() or len(cell.text) > 100:
        return
    label = cell.text[: match.start()].strip(" :([#-–")
    if _COLON.search(label) or not re.search(r"[^\W\d_]{2}", label) or len(label.split()) > 6:
        return
    yield LabelledValue(label, part(cell, match.start(), len(cell.text)), line, sure=0.9)


# --- sentences ---------------------------------------------------------------------------

_CLAUSE = re.compile(
    r";\s+|,?\s+(?=but\b|while\b|whereas\b|though\b)|:\s+(?=\w)|,\s+so\s+", re.IGNORECASE
)


def _clauses(text: str, hit: int) -> Iterator[Clause]:
    before = ""
    for one in sentences(text):
        for line in _lines_of(text, hit, one.start, one.end):
            at = 0
            for match in _CLAUSE.finditer(line.text):
                yield Clause(part(line, at, match.start()), line, before)
                at = match.end()
            yield Clause(part(line, at, len(line.text)), line, before)
            before = line.text


def _lines_of(text: str, hit: int, start: int, end: int) -> Iterator[Cell]:
    """A sentence; its lines where they are those of a list or of labels, not of a paragraph."""
    whole = _cell(text, hit, start, end)
    rows = whole.text.split("\n")
    prose = len(rows) == 1 or (
        all(len(row.strip()) > 50 for row in rows[:-1]) and "\t" not in whole.text
    )
    if prose:
        yield whole
        return
    at = whole.start
    for row in rows:
        cell = _cell(text, hit, at, at + len(row))
        if cell.text:
            yield cell
        at += len(row) + 1
