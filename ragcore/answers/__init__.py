"""Answers from passages, with checked citations."""

from ragcore.answers.answerer import Answerer
from ragcore.answers.composing import Composer
from ragcore.answers.many import answer_many, run_many
from ragcore.answers.prompt import ABSTENTION
from ragcore.answers.run import AnswerEvent
from ragcore.answers.structured import check_form

__all__ = [
    "ABSTENTION",
    "AnswerEvent",
    "Answerer",
    "Composer",
    "answer_many",
    "check_form",
    "run_many",
]
