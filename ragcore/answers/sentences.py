"""Sentences and words of a passage, with their places."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ragcore.text import sentence_spans, stem

_WORD = re.compile(r"[^\W_]+(?:[.,'’][^\W_]+)*")
_COMMON = frozenset(
    [
        "a",
        "an",
        "the",
        "and",
        "or",
        "but",
        "nor",
        "of",
        "in",
        "on",
        "at",
        "to",
        "for",
        "from",
        "by",
        "with",
        "as",
        "is",
        "are",
        "was",
        "were",
        "be",
        "been",
        "being",
        "am",
        "it",
        "its",
        "this",
        "that",
        "these",
        "those",
        "there",
        "here",
        "he",
        "she",
        "they",
        "them",
        "his",
        "her",
        "their",
        "we",
        "us",
        "our",
        "you",
        "your",
        "i",
        "my",
        "me",
        "do",
        "does",
        "did",
        "done",
        "has",
        "have",
        "had",
        "having",
        "will",
        "would",
        "can",
        "could",
        "may",
        "might",
        "shall",
        "should",
        "must",
        "not",
        "no",
        "yes",
        "so",
        "than",
        "then",
        "too",
        "very",
        "what",
        "which",
        "who",
        "whom",
        "whose",
        "when",
        "where",
        "why",
        "how",
        "if",
        "because",
        "about",
        "into",
        "over",
        "under",
        "between",
        "during",
        "before",
        "after",
        "above",
        "below",
        "up",
        "down",
        "out",
        "off",
        "again",
    ]
)


@dataclass(frozen=True, slots=True)
class Sentence:
    """A piece of a text; `text == whole[start:end]`."""

    text: str
    start: int
    end: int


def sentences(text: str) -> list[Sentence]:
    """The sentences of `text` in order, outer white space left out; none are empty."""
    return [Sentence(text[start:end], start, end) for start, end in sentence_spans(text)]


def words(text: str) -> list[str]:
    """Stems of the words that carry meaning; numbers are kept as written."""
    lowered = (w.lower().replace("’", "'").removesuffix("'s") for w in _WORD.findall(text))
    return [w if w[0].isdigit() else stem(w, "english") for w in lowered if w not in _COMMON]
