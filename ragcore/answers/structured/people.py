"""Proper names of people, firms and things in sentences."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ragcore.answers.structured.fields import Leaf, Rows
from ragcore.answers.structured.finding import COVERED, PROSE, FieldCandidate, split_list
from ragcore.answers.structured.layout import Cell, Layout, part
from ragcore.answers.structured.names import FieldName, same, tokens
from ragcore.answers.structured.values import dates

_NAME = re.compile(
    r"(?:(?:Mrs|Mr|Ms|Dr|Prof)\.?\s)?[A-Z][\w'’&+-]*\.?(?:\s+(?:(?:of|de|van|von|the|and|&)\s+)?[A-Z0-9][\w'’&+-]*\.?)*"
)
_ORDINARY_WORDS = (
    "the a an in on at it this we you he she they also our your for from by with if as and but "
    "all no not to please there after before when what who how apologies present minutes invoice"
)
_ORDINARY = frozenset(_ORDINARY_WORDS.split())


def names_in(cell: Cell, name: FieldName) -> list[Cell]:
    """The proper names in a clause that are no words of the field's own."""
    found = []
    for match in _NAME.finditer(cell.text):
        start, end = match.start(), match.end()
        first = match[0].split()[0]
        if first.lower() in _ORDINARY:
            rest = _NAME.match(cell.text, start + len(first) + 1)
            if " " not in match[0] or rest is None:
                continue
            start = rest.start()
        one = part(cell, start, end)
        text = one.text.rstrip(".") if not re.search(r"\b[A-Z]\.$", one.text) else one.text
        one = Cell(one.hit, one.start, one.start + len(text), text)
        words = tokens(text)
        if words and all(any(same(t, own) for own in name.weights) for t in words):
            continue
        if words and next(iter(dates(cell.text[start : end + 20])), None) is not None:
            continue
        found.append(one)
    return found


_PROPER = re.compile(
    r"\b(?:who|person|people|company|manufacturer|employer|seller|customer|name|organi[sz]ation|"
    r"author|by)\b"
)


def people_in(leaf: Leaf, name: FieldName, layout: Layout) -> Iterator[FieldCandidate]:
    """The one proper name of a clause that has the words of the field's name."""
    described = f"{leaf.name} {leaf.description}".lower()
    if not _PROPER.search(described):
        return
    for clause in layout.clauses:
        for cell in _conjuncts(clause.cell):
            covered = name.covered(tokens(cell.text))
            matched = [t for t in tokens(cell.text) if any(same(t, d) for d in name.described)]
            if covered < COVERED and len(set(matched)) < 2:
                continue
            names = names_in(cell, name)
            names = [one for one in names if _follows(one, cell, name)] or names
            if len(names) == 1:
                yield FieldCandidate(
                    names[0].text, names[0], clause.sentence, PROSE * max(covered, 0.75)
                )


def _follows(one: Cell, cell: Cell, name: FieldName) -> bool:
    """Whether a name comes right behind a word of the field's name: "made by Osprey"."""
    before = cell.text[: one.start - cell.start]
    match = re.search(r"(\w+)\W+(?:(?:by|is|was|are|were|of)\W+)?$", before)
    return match is not None and any(same(t, own) for t in tokens(match[1]) for own in name.weights)


def _conjuncts(cell: Cell) -> Iterator[Cell]:
    at = 0
    for match in re.finditer(r",?\s+and\s+|,\s+", cell.text):
        yield part(cell, at, match.start())
        at = match.end()
    yield part(cell, at, len(cell.text))


def people_of(rows: Rows, name: FieldName, layout: Layout) -> Iterator[FieldCandidate]:
    """The proper names of the one clause that has the words of an array's name."""
    if not re.search(r"\b(?:who|people|persons?|members|names)\b", rows.description.lower()):
        return
    clauses = {
        (clause.cell.hit, clause.cell.start): clause
        for clause in layout.clauses
        if name.covered(tokens(clause.cell.text)) >= COVERED
    }
    if len(clauses) != 1:
        return
    (clause,) = clauses.values()
    if re.search(r"\balso\b", clause.cell.text, re.IGNORECASE):
        return  # there are others
    for cell in names_in(clause.cell, name):
        for one in split_list(cell):
            yield FieldCandidate(one.text, one, clause.sentence, PROSE * COVERED)
