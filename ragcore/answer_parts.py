"""Parts of an answer beside its text and citations."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class MeantCandidate:
    """One of several things that a question may be about: its name, the document that is about
    it (of `collection`), and the question to ask of that document instead."""

    text: str
    document_id: int
    question: str
    collection: str = ""


@dataclass(frozen=True, slots=True)
class AnswerStep:
    """A question that was asked on the way to an answer, and its own answer with the numbers of
    the whole answer's citations."""

    question: str
    text: str
