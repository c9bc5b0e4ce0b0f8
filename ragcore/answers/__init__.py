"""Answers from passages, with checked citations."""

from ragcore.answers.answerer import STRUCTURED_TOKENS, Answerer
from ragcore.answers.composing import Composer
from ragcore.answers.many import answer_many, run_many
from ragcore.answers.prompt import ABSTENTION
from ragcore.answers.run import AnswerEvent

__all__ = [
    "ABSTENTION",
    "STRUCTURED_TOKENS",
    "AnswerEvent",
    "Answerer",
    "Composer",
    "answer_many",
    "run_many",
]
