"""Answers from passages, with checked citations."""

from ragcore.answers.answerer import STRUCTURED_TOKENS, Answerer, AnswerEvent
from ragcore.answers.prompt import ABSTENTION

__all__ = ["ABSTENTION", "STRUCTURED_TOKENS", "AnswerEvent", "Answerer"]
