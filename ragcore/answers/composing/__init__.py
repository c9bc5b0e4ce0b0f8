"""Answers put together from the documents' own sentences, without a language model."""

from ragcore.answers.composing.composer import Composer
from ragcore.answers.composing.deciding import (
    asked_words,
    closest_sentence,
    decided,
    outright,
    with_reason,
)
from ragcore.answers.composing.listing import share
from ragcore.answers.composing.quotes import Composed, one_line
from ragcore.answers.composing.sources import Documents, QuestionScope

__all__ = [
    "Composed",
    "Composer",
    "Documents",
    "QuestionScope",
    "asked_words",
    "closest_sentence",
    "decided",
    "one_line",
    "outright",
    "share",
    "with_reason",
]
