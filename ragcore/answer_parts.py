"""Parts of an answer beside its text and citations, and the style that it is asked for in."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from ragcore.errors import UsageError


@dataclass(frozen=True, slots=True)
class MeantCandidate:
    """One of several things that a question may be about.

    Its name, the document that is about it (of `collection`), and the question to ask of that
    document instead.
    """

    text: str
    document_id: int
    question: str
    collection: str = ""


@dataclass(frozen=True, slots=True)
class AnswerStep:
    """A question that was asked on the way to an answer, and its own answer.

    The answer has the numbers of the whole answer's citations.
    """

    question: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerStyle:
    """How answers are worded. Empty fields leave it to the model.

    `instruction` is added to the model's own, at most 500 characters; `tone` and `language` are a
    word or a few ("formal", "German"); `length` is about how many words (0: one short sentence).
    Answers that are composed of quotes have the documents' wording. Raises UsageError for a
    field that is too long.
    """

    instruction: str = ""
    tone: str = ""
    language: str = ""
    length: int = 0

    def __post_init__(self) -> None:
        for name, limit in (("instruction", 500), ("tone", 60), ("language", 60)):
            if len(getattr(self, name)) > limit:
                raise UsageError(f"the {name} of an answer has at most {limit} characters")
        if not 0 <= self.length <= 2000:
            raise UsageError("the length of an answer is between 0 and 2000 words")

    @property
    def version(self) -> str:
        """Eight hex digits that change with any field; empty for the plain style."""
        fields = (self.instruction, self.tone, self.language, self.length)
        if not any(fields):
            return ""
        return hashlib.sha256(repr(fields).encode()).hexdigest()[:8]

    def over(self, other: AnswerStyle) -> AnswerStyle:
        """This one, with the other's fields where this one's are empty."""
        return AnswerStyle(
            instruction=self.instruction or other.instruction,
            tone=self.tone or other.tone,
            language=self.language or other.language,
            length=self.length or other.length,
        )
