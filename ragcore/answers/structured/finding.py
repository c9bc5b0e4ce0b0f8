"""The values of one field that a document offers, each with its quote."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ragcore.answers.structured.fields import Leaf, Rows
from ragcore.answers.structured.layout import Cell, Clause, Layout, part
from ragcore.answers.structured.names import FieldName, same, tokens
from ragcore.answers.structured.values import (
    CURRENCIES,
    EMAIL,
    NEGATIVE,
    UNCERTAIN,
    Value,
    choices_in,
    dates,
    day_first,
    decimal_comma,
    numbers,
    polarity,
    times,
    unit_of,
)

NAMES = 0.55  # from which a label names a field
PROSE = 0.85  # a clause that has all the words of a field's name
COVERED = 0.7  # share of a field's name that a clause has to have
LEAST = 0.55
_IDENTIFYING = re.compile(r"\b(?:number|no|id|code|version|phone|zip|year|time|rating|class)\b")


@dataclass(frozen=True, slots=True)
class FieldCandidate:
    """A value, where it stands, the quote that bears it out, and how sure it is, in [0, 1]."""

    value: Any
    cell: Cell
    quote: Cell
    score: float


class Styles:
    """How a document writes numbers and dates."""

    def __init__(self, text: str) -> None:
        self.comma = decimal_comma(text)
        self.day_first = day_first(text)


def typed(
    leaf: Leaf,
    name: FieldName,
    cell: Cell,
    styles: Styles,
    *,
    unit: str = "",
    label: str = "",
    inner: bool = False,
) -> list[tuple[Any, Cell]]:
    """The values of the field's type in a cell; with `inner` those in brackets too."""
    text = cell.text
    if leaf.kind in ("number", "integer"):
        found = _numbers(leaf, name, text, styles, unit, label)
    elif leaf.kind in ("date", "date-time"):
        found = list(dates(text, day_first=styles.day_first))
        if leaf.kind == "date-time":
            found = [_timed(one, text) for one in found]
    elif leaf.kind == "time":
        found = list(times(text))
    elif leaf.kind == "email":
        found = [Value(m[0], m.start(), m.end()) for m in EMAIL.finditer(text)]
    elif leaf.kind == "choice":
        found = choices_in(text, leaf.choices)
        found = found if len(found) == 1 else []
    elif leaf.kind == "boolean":
        said = polarity(text)
        found = [] if said is None else [Value(said, 0, len(text))]
    else:
        return _string(leaf, name, cell)
    if leaf.choices and leaf.kind != "choice":
        found = [one for one in found if one.value in leaf.choices]
    outer = [one for one in found if inner or not _in_brackets(text, one.start)] or found
    return [(one.value, part(cell, one.start, one.end)) for one in outer]


def _in_brackets(text: str, at: int) -> bool:
    before = text[:at]
    return before.count("(") > before.count(")")


def _timed(date: Value, text: str) -> Value:
    time = next(iter(times(text[date.end : date.end + 20])), None)
    if time is None:
        return date
    return Value(f"{date.value}T{time.value}:00", date.start, date.end + time.end)


def _string(leaf: Leaf, name: FieldName, cell: Cell) -> list[tuple[Any, Cell]]:
    text = cell.text
    start = 1 if text[:1] in "\"“'‘" else 0
    end = len(text)
    cut = re.search(r"\s*(?:\([^()]*\)\s*)?[.,;]?[\"”’']?$", text)
    if cut is not None and cut.start() > start:
        end = cut.start() if not text[: cut.start()].count("(") else end
    found = part(cell, start, end)
    words = f"{leaf.name} {leaf.description}".lower()
    if not re.search(r"\w", found.text) or len(found.text) > 300:
        return []
    if not _IDENTIFYING.search(words):
        rest = found.text
        for one in reversed(list(dates(rest, day_first=True))):
            rest = rest[: one.start] + rest[one.end :]
        if not re.search(r"[^\W\d_]", rest):
            return []
        if EMAIL.fullmatch(found.text) and "mail" not in words and "contact" not in words:
            return []
    if name.code:  # one word with a digit
        match = re.search(r"(?<!\w)[A-Z]{0,6}[-/ ]?\d[\w./-]*|(?<!\w)\w*\d[\w./-]*", found.text)
        if match is None or any(
            one.start <= match.start() < one.end for one in dates(found.text, day_first=True)
        ):
            return []
        return [(match[0].strip(" .-/"), part(found, match.start(), match.end()))]
    return [(found.text, found)]


# --- numbers -----------------------------------------------------------------------------

_RANGE = re.compile(
    r"^\s*\S{0,4}\s*(?:to|and|until|up to|bis|[-–—]|\.\.\.?|…)\s*(?:[+]|\S{1,3}\s?)?$",
    re.IGNORECASE,
)
_AT_MOST = re.compile(r"\b(?:up to|max\w*|at most|highest|not exceed\w*)\b", re.IGNORECASE)
_AT_LEAST = re.compile(r"\b(?:from|min\w*|at least|lowest|starting at)\b", re.IGNORECASE)


def wanted_units(leaf: Leaf) -> set[str]:
    """The units that the field's name or description asks for."""
    last = leaf.name.split()[-1:] if len(leaf.name.split()) > 1 else []
    described = re.findall(r"°\s?[CF]|%|[^\W\d_]{3,}", leaf.description)
    matched = [*last, *described, *(w for w in leaf.name.split() if len(w) > 2)]
    return {unit for word in matched if (unit := unit_of(word))}


def _numbers(
    leaf: Leaf, name: FieldName, text: str, styles: Styles, unit: str, label: str
) -> list[Value]:
    wanted = wanted_units(leaf)
    rate = re.search(r"\b(?:percent\w*|rate|share)\b", f"{leaf.name} {leaf.description}".lower())
    found = []
    everything = list(numbers(text, comma=styles.comma))
    for one in everything:
        of = one.unit or unit_of(unit)
        if (
            wanted
            and of
            and of not in wanted
            and not (of in CURRENCIES and not wanted - CURRENCIES)
        ):
            continue
        if not wanted and (of == "%") != bool(rate) and (of == "%" or "%" in text):
            continue
        if leaf.kind == "integer" and one.value != int(one.value):
            continue
        value = int(one.value) if leaf.kind == "integer" else one.value
        found.append(Value(value, one.start, one.end, of))
    ends = [_range_end(text, everything, one) for one in found]
    if name.side:
        return _sided(name.side, text, label, found, ends)
    return [one for one, end in zip(found, ends, strict=True) if not end]


def _range_end(text: str, all_of: Sequence[Value], one: Value) -> str:
    """Which end, "min" or "max", where the number is an end of a range."""
    at = all_of.index(next(o for o in all_of if o.start == one.start))
    if at + 1 < len(all_of) and _RANGE.match(text[one.end : all_of[at + 1].start]):
        return "min"
    if at and _RANGE.match(text[all_of[at - 1].end : one.start]):
        return "max"
    return ""


def _sided(
    side: str, text: str, label: str, found: Sequence[Value], ends: Sequence[str]
) -> list[Value]:
    chosen = [one for one, end in zip(found, ends, strict=True) if end == side]
    if chosen or any(ends):
        return chosen
    matched = f"{label} {text}"
    most, least = bool(_AT_MOST.search(matched)), bool(_AT_LEAST.search(matched))
    if most != least:
        return list(found[:1]) if (side == "max") == most else []
    return list(found[:1])


# --- candidates --------------------------------------------------------------------------


def by_label(
    leaf: Leaf, name: FieldName, layout: Layout, styles: Styles
) -> Iterator[FieldCandidate]:
    """Values beside labels that name the field."""
    for one in layout.labelled:
        fit = name.fits(one.label)
        if leaf.kind in ("number", "integer") and fit >= 0.3:  # "Hours: 37 per week"
            rest = re.sub(r"\([^()]*\)|[,;].*", "", one.value.text)
            fit = max(fit, name.fits(f"{one.label} {rest}"))
        fit *= one.sure
        if fit < NAMES:
            continue
        if leaf.kind == "boolean":
            stated = _by_polarity(leaf, one.label, one.value.text)
            if stated is not None:
                yield FieldCandidate(stated, one.value, one.quote, fit)
            continue
        for value, cell in typed(leaf, name, one.value, styles, unit=one.unit, label=one.label)[:1]:
            yield FieldCandidate(value, cell, one.quote, fit)
    if leaf.kind == "email":
        for line in layout.lines:
            for value, cell in typed(leaf, name, line, styles):
                yield FieldCandidate(value, cell, line, LEAST + 0.05)


def _by_polarity(leaf: Leaf, label: str, value: str) -> bool | None:
    said = polarity(value)
    if said is None and not UNCERTAIN.search(value) and re.search(r"\d", value):
        return True  # "Remote work: two days a week" (but not a name or a word of another kind)
    return said


def by_prose(
    leaf: Leaf, name: FieldName, layout: Layout, styles: Styles, near: Sequence[float]
) -> Iterator[FieldCandidate]:
    """Typed values in clauses that have the words of the field's name.

    `near` are the cosines of the field with each clause.
    """
    for clause, cosine in zip(layout.clauses, near, strict=True):
        if leaf.kind == "boolean":
            yield from _stated(name, clause, cosine)
        elif _TABULAR.search(clause.cell.text):
            continue  # its labels decide
        elif name.code or leaf.kind not in ("string", "email"):
            yield from _beside(leaf, name, clause, styles, cosine)


_TABULAR = re.compile(r"\t| {3,}|\s\|\s")


def _beside(
    leaf: Leaf, name: FieldName, clause: Clause, styles: Styles, cosine: float
) -> Iterator[FieldCandidate]:
    text = clause.cell.text
    around = {*tokens(text)}
    units = wanted_units(leaf)
    offered = typed(leaf, name, clause.cell, styles, inner=True)
    for value, cell in offered:
        start, end = cell.start - clause.cell.start, cell.end - clause.cell.start
        window = tokens(text[max(0, start - 60) : start] + " . " + text[end : end + 30])
        matched = {*window, *(tokens(text[start:end]) if leaf.kind == "choice" else ())}
        measured = _measured(text[start : end + 12])
        covered = max(name.matched({*matched, *measured}), 0.9 * name.matched({*around, *measured}))
        distance = min(
            (abs(_place(text, t) - start) for t in around if any(same(t, w) for w in name.weights)),
            default=len(text),
        )
        score = PROSE * covered - 0.0005 * min(distance, 100)
        if leaf.kind in ("number", "integer") and units and not _has_unit(text, end, start, units):
            score -= 0.3
        if covered >= COVERED:
            yield FieldCandidate(value, cell, clause.sentence, score + 0.05 * cosine)
        elif cosine >= 0.5 and len(offered) == 1:
            yield FieldCandidate(value, cell, clause.sentence, LEAST - 0.15 + 0.3 * cosine)


_MEASURES = {
    "voltag": ("v", "mv"),
    "weight": ("kg", "g", "mg", "t"),
    "power": ("w", "mw", "kw"),
    "temperatur": ("c", "f"),
}


def _measured(text: str) -> list[str]:
    """What a number with its unit is one of: 12 V is a voltage."""
    match = re.match(r"[\W\d]*?\d[\d.,]*\s?(°\s?[CF]|[A-Za-z]+)\b", text)
    unit = unit_of(match[1]) if match else ""
    return [word for word, units in _MEASURES.items() if unit in units]


def _has_unit(text: str, end: int, start: int, units: set[str]) -> bool:
    after = re.match(r"\s*(°\s?[CF]|[^\s\d.,;)]+)", text[end : end + 16])
    before = re.search(r"([€$£]|[A-Z]{3})\s?$", text[max(0, start - 5) : start])
    shown = [unit_of(match[1]) for match in (after, before) if match]
    return any(unit in units for unit in shown)


def _place(text: str, token: str) -> int:
    at = text.lower().find(token[:5])
    return at if at >= 0 else len(text)


def _stated(name: FieldName, clause: Clause, cosine: float) -> Iterator[FieldCandidate]:
    """What a clause says of a field of yes or no."""
    text = clause.cell.text
    if UNCERTAIN.search(text) or not name.weights:
        return
    heavy = {t for t, w in name.weights.items() if w >= 0.5} or set(name.weights)
    prefixed = re.findall(r"\b(?:un|non-?|in)(\w{4,})", text.lower())
    there = [*tokens(text), *(t for word in prefixed for t in tokens(word))]
    denied = any(same(t, h) for word in prefixed for t in tokens(word) for h in heavy)
    if re.search(r"\b(?:it|this|they|these)\b", text.lower()):
        there += tokens(clause.before)
    if not any(same(t, h) for t in tokens(text) for h in heavy) and not denied:
        return
    covered = sum(any(same(t, h) for t in there) for h in heavy) / len(heavy)
    if covered < 0.99:
        return
    value = not (NEGATIVE.search(text) or denied)
    yield FieldCandidate(value, clause.cell, clause.sentence, PROSE * 0.9 + 0.1 * cosine)


def codes(leaf: Leaf, name: FieldName, layout: Layout) -> Iterator[FieldCandidate]:
    """Codes that begin with a word of the field's name: IP68 for "IP rating"."""
    short = [w for w in leaf.name.split() if 2 <= len(w) <= 4]
    for word in short:
        for line in layout.lines:
            for match in re.finditer(rf"(?<!\w){word.upper()} ?X?\d\w{{0,3}}\b", line.text):
                cell = part(line, match.start(), match.end())
                yield FieldCandidate(cell.text, cell, line, 0.8)


def listed(rows: Rows, name: FieldName, layout: Layout) -> tuple[list[Cell], Cell, float] | None:
    """The parts of a list that a label names: below it, or behind it in one line."""
    best: tuple[list[Cell], Cell, float] | None = None
    for one in layout.labelled:
        fit = name.fits(one.label) * one.sure
        if fit < NAMES or (best is not None and fit <= best[2]):
            continue
        parts = list(one.items) if len(one.items) > 1 else split_list(one.value)
        if parts:
            best = (parts, one.quote, fit)
    return best


def split_list(cell: Cell) -> list[Cell]:
    """The parts of a list such as "A, B and C"."""
    if re.fullmatch(r"\W*(?:none|no|nobody|nil|n/a|-)\W*", cell.text, re.IGNORECASE):
        return []
    mark = r";\s*" if ";" in cell.text else r",?\s+and\s+(?=\S)|,\s*(?=\D)|\s+/\s+|\n"
    found, at = [], 0
    for match in re.finditer(mark, cell.text):
        found.append(part(cell, at, match.start()))
        at = match.end()
    found.append(part(cell, at, len(cell.text)))
    return [
        part(one, 0, len(one.text.rstrip(".;,"))) for one in found if re.search(r"\w", one.text)
    ]
