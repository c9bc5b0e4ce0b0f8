"""Answers from passages, with checked citations."""

from ragcore.answers.answerer import Answerer, AnswerEvent
from ragcore.answers.prompt import ABSTENTION

__all__ = ["ABSTENTION", "AnswerEvent", "Answerer"]
