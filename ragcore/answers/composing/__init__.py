"""Answers put together from the documents' own sentences, without a language model."""

from ragcore.answers.composing.composer import Composer
from ragcore.answers.composing.quotes import Composed
from ragcore.answers.composing.quoting import decided, with_reason
from ragcore.answers.composing.sources import Documents, Scope

__all__ = ["Composed", "Composer", "Documents", "Scope", "decided", "with_reason"]
