"""Quotes with their numbers, and the answer that is made of them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from ragcore.answers.kinds import Kind
from ragcore.answers.sentences import sentences
from ragcore.catalog import DocumentText, PassageSpan
from ragcore.types import Citation, Hit

LONGEST = 600  # characters of a quoted item; a longer one ends after a sentence, with an ellipsis


@dataclass(frozen=True, slots=True)
class Composed:
    """An answer of quotes.

    `declined`: nothing in the documents fits, and no single fact would answer the question; `hits`
    are then the nearest passages.
    """

    kind: Kind
    text: str
    citations: tuple[Citation, ...] = ()
    hits: tuple[Hit, ...] = ()
    declined: bool = False


@dataclass(slots=True)
class Quotes:
    """Numbers quotes in the order in which they are added; the same place has one number."""

    citations: list[Citation] = field(default_factory=list)
    _numbers: dict[tuple[int, int, int], int] = field(default_factory=dict)
    _passages: dict[int, tuple[DocumentText, PassageSpan]] = field(default_factory=dict)

    def add(self, document: DocumentText, start: int, end: int) -> int:
        """The number of the quote `document.text[start:end]`."""
        key = (document.id, start, end)
        if key in self._numbers:
            return self._numbers[key]
        passage = document.passage_at(start)
        if passage is not None:
            self._passages.setdefault(passage.id, (document, passage))
        number = self._numbers[key] = len(self._numbers) + 1
        self.citations.append(
            Citation(
                n=number,
                document=document.title,
                document_id=document.id,
                page=document.page(start),
                quote=document.text[start:end],
                passage_id=passage.id if passage is not None else 0,
                span=(start, end),
                page_end=document.page(max(start, end - 1)),
            )
        )
        return number

    def line(self, document: DocumentText, start: int, end: int) -> str:
        """The quote on one line with its number, cut where it is too long."""
        stop = shortened(document.text, start, end)
        number = self.add(document, start, stop)
        return f"{one_line(document.text[start:stop])}{' …' if stop < end else ''} [{number}]"

    def hits(self, known: Sequence[Hit] = ()) -> tuple[Hit, ...]:
        """The passages that the quotes stand in; those of a search as it found them."""
        found = {hit.id: hit for hit in known if hit.kind == "passage"}
        return tuple(
            found.get(item) or document.hit(passage)
            for item, (document, passage) in self._passages.items()
        )

    def composed(self, kind: Kind, text: str, known: Sequence[Hit] = ()) -> Composed:
        return Composed(kind, text, tuple(self.citations), self.hits(known))


def one_line(text: str) -> str:
    """On one line, without a list's mark at its start.

    Marks that would number quotes get other brackets.
    """
    line = re.sub(r"^[•▪◦‣·●○]\s*", "", " ".join(text.split()))
    return re.sub(r"\[(\d{1,3}(?:\s*[,;–-]\s*\d{1,3})*)\]", r"(\1)", line)


def shortened(text: str, start: int, end: int) -> int:
    """Where a quote of [start, end) ends: after the last sentence that fits into `LONGEST`."""
    if end - start <= LONGEST:
        return end
    fitting = [s.end for s in sentences(text[start:end]) if s.end <= LONGEST]
    if fitting:
        return start + fitting[-1]
    space = text.rfind(" ", start, start + LONGEST)
    return space if space > start else start + LONGEST


def where(document: DocumentText, offset: int) -> str:
    """Where a quote stands: "Staff handbook, page 4"."""
    page = document.page(offset)
    return f"{document.title}, page {page}" if page is not None else document.title
