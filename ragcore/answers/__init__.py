"""Answers from passages, with checked citations."""

from ragcore.answers.answerer import Answerer
from ragcore.answers.chat import AskedImage, Chat, Reply, hit_from
from ragcore.answers.composing import Composer
from ragcore.answers.confidence import ConfidenceCalibration, Signals, calibration_file, fit
from ragcore.answers.kinds import KINDS, recognize
from ragcore.answers.many import answer_many, run_many
from ragcore.answers.prompt import ABSTENTION, PromptDocument, assemble
from ragcore.answers.rewrite import stand_alone
from ragcore.answers.run import AnswerEvent
from ragcore.answers.sentences import words
from ragcore.answers.structured import check_form

__all__ = [
    "ABSTENTION",
    "KINDS",
    "AnswerEvent",
    "Answerer",
    "AskedImage",
    "Chat",
    "Composer",
    "ConfidenceCalibration",
    "PromptDocument",
    "Reply",
    "Signals",
    "answer_many",
    "assemble",
    "calibration_file",
    "check_form",
    "fit",
    "hit_from",
    "recognize",
    "run_many",
    "stand_alone",
    "words",
]
