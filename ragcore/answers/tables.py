"""Rows of a table as a sentence each: a small model does not count columns.

Readers keep a table's cells apart by tabs or " | ". A row that shares a word with the question is
given to the model with its column names, "Finland: Population (millions) 5.5; Area (km2) 338,424.";
all else stays as it is. What is quoted and cited is the document's own text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from ragcore.answers.sentences import words

_FEWEST_COLUMNS = 3  # two columns read well as they are
_NUMBER = re.compile(r"[\W\d]+")


def spoken(text: str, question: str) -> str:
    """`text` with those rows of its tables that the question may be about as sentences."""
    lines = text.split("\n")
    asked = set(words(question))
    for start, end in _tables(lines):
        header = _cells(lines[start])
        names = set(words(lines[start]))
        for at in range(start + 1, end):
            if asked & set(words(lines[at])) - names:
                lines[at] = _sentence(header, _cells(lines[at]))
    return "\n".join(lines)


def rows_as_text(text: str, question: str) -> list[str]:
    """The rows that `spoken` makes sentences of."""
    before = set(text.split("\n"))
    return [line for line in spoken(text, question).split("\n") if line not in before]


def _tables(lines: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Spans of neighbouring lines with equally many cells, the first of them all names."""
    start = 0
    while start < len(lines):
        width = len(_cells(lines[start]))
        end = start + 1
        while end < len(lines) and len(_cells(lines[end])) == width:
            end += 1
        named = not any(_NUMBER.fullmatch(cell) for cell in _cells(lines[start]))
        if width >= _FEWEST_COLUMNS and end - start >= 2 and named:
            yield start, end
        start = end


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.split("\t" if "\t" in line else " | ")]


def _sentence(header: Sequence[str], row: Sequence[str]) -> str:
    text_of_row = [f"{name} {cell}" for name, cell in zip(header[1:], row[1:], strict=True) if cell]
    return f"{row[0]}: {'; '.join(text_of_row)}."
