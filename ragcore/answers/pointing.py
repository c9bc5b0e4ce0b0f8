"""Answers that a span reader points to: the words themselves, and the sentence they stand in."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ragcore.answers.citations import citation_of
from ragcore.answers.sentences import sentences
from ragcore.answers.tables import rows_as_text
from ragcore.types import Citation, Hit

if TYPE_CHECKING:
    from ragcore.models import SpanReader

# Words of which an English question has one, and that are no words of its neighbors.
_ENGLISH = frozenset({
    "the", "of", "is", "what", "who", "whom", "whose", "when", "where", "which", "how", "why",
    "does", "did", "were", "are", "can", "could", "many", "much", "should", "would", "will", "has",
    "have", "had", "from", "with", "and", "this", "that", "there", "for", "to", "by", "it", "its",
})  # fmt: skip
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


def beyond_spans(question: str, hits: Sequence[Hit]) -> bool:
    """Whether a span reader's doubt says little.

    It counts no columns of a table, and the one that ships with ragcore reads English only.
    """
    english = _ENGLISH & {word.lower() for word in re.findall(r"[^\W\d_]+", question)}
    return not english or any(rows_as_text(hit.text, question) for hit in hits)


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
