"""Answers that a span reader points to: the words themselves, and the sentence they stand in."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ragcore.answers.citations import citation_of
from ragcore.answers.sentences import sentences
from ragcore.types import Citation, Hit

if TYPE_CHECKING:
    from ragcore.models import SpanReader

_EDGES = " \t\n\f,;:|"
# Paths, identifiers, amounts: what a reader's tokens cut in pieces ("read.fwf", "/run/crond.pid").
_WHOLE = re.compile(r"[/\\.~$€£#@-]*\w(?:[\w/\\.~$€£#@%+:-]*[\w/%+])?")


@dataclass(frozen=True, slots=True)
class PointedAnswer:
    """The words of a span, where they stand, and how sure the reader is of them, in [0, 1]."""

    words: str
    citation: Citation
    confidence: float


def point(question: str, hits: Sequence[Hit], reader: SpanReader) -> PointedAnswer | None:
    """The span that answers the question best; None where no hit has text."""
    spans = reader.read(question, [hit.text for hit in hits], [hit.document for hit in hits])
    for best in spans:
        hit = hits[best.passage]
        first, last = _whole_words(hit.text, best.start, best.end)
        words = " ".join(hit.text[first:last].split()).strip(_EDGES)
        if words:
            start, end = _sentences_around(hit.text, best.start, best.end)
            cited = citation_of(best.passage + 1, hit, start, end)
            sure = 1 / (1 + math.exp(-max(-50.0, min(50.0, best.score))))
            return PointedAnswer(words.removesuffix("."), cited, sure)
    return None


def _whole_words(text: str, start: int, end: int) -> tuple[int, int]:
    """The span with the words whole in which it begins and ends."""
    line = text.rfind("\n", 0, start) + 1
    for one in _WHOLE.finditer(text, line, min(len(text), end + 100)):
        if one.start() < start < one.end():
            start = one.start()
        if one.start() < end < one.end():
            end = one.end()
    return start, end


def _sentences_around(text: str, start: int, end: int) -> tuple[int, int]:
    """Where the sentences begin and end that the span stands in."""
    touched = [one for one in sentences(text) if one.start < end and start < one.end]
    if not touched:
        return start, end
    return min(start, touched[0].start), max(end, touched[-1].end)
