"""The one prompt of retrieval-augmented answers, in its classic form.

Instruction, Document 1..n, Question (the form of Lewis et al. 2020 as taught since).
`ask`, the training set of the shipped adapter and the evaluation all assemble it here,
so the model is asked exactly what it was tuned on.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from ragcore.types import AnswerStyle, Message

INSTRUCTION = (
    "Answer the question using only the documents below. "
    "Answer in one short sentence and cite the document it comes from, like [1]. "
    'If the documents do not contain the answer, reply exactly: "I don\'t know."'
)
ABSTENTION = "I don't know."
PLAIN = AnswerStyle()

# A document's text may not imitate the prompt's own marks or the chat template's.
_MARKS = re.compile(r"<\|[^|>]{0,40}\|>|</?s>|\[/?INST\]", re.IGNORECASE)
_HEADER = re.compile(r"^(Document \d+|Question)(?=\s*[:(])", re.MULTILINE | re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class PromptDocument:
    """What stands under one "Document n" header."""

    text: str
    title: str = ""
    page: int | None = None


def neutralize(text: str) -> str:
    """Take the marks that structure a prompt out of a document's text."""
    text = _MARKS.sub(" ", text)
    return _HEADER.sub(lambda m: f"'{m.group(1)}'", text).strip()


def header(number: int, source: PromptDocument) -> str:
    """A document's header, "Document 2 (Staff handbook, page 4):", without what is not known."""
    about = [neutralize(source.title).replace("\n", " ")] if source.title else []
    if source.page is not None:
        about.append(f"page {source.page}")
    return f"Document {number} ({', '.join(about)}):" if about else f"Document {number}:"


def user_turn(question: str, sources: Sequence[PromptDocument]) -> str:
    """Documents 1..n, then the question."""
    blocks = [f"{header(n, s)}\n{neutralize(s.text)}" for n, s in enumerate(sources, 1)]
    return "\n\n".join([*blocks, f"Question: {neutralize(question)}"])


def instruction(style: AnswerStyle = PLAIN) -> str:
    """The model's instruction; in the plain style what the shipped adapters learned."""
    if not style.version:
        return INSTRUCTION
    length = f"in about {style.length} words" if style.length else "in one short sentence"
    parts = [
        "Answer the question using only the documents below.",
        f"Answer {length} and cite the document it comes from, like [1].",
    ]
    if style.language:
        parts.append(f"Write in this language: {_one_line(style.language)}.")
    if style.tone:
        parts.append(f"Write in this tone: {_one_line(style.tone)}.")
    if style.instruction:
        parts.append(_one_line(style.instruction))
    parts.append(f'If the documents do not contain the answer, reply exactly: "{ABSTENTION}"')
    return " ".join(parts)


def _one_line(text: str) -> str:
    return " ".join(neutralize(text).split())


def assemble(
    question: str, sources: Sequence[PromptDocument], style: AnswerStyle = PLAIN
) -> list[Message]:
    """The whole prompt: the instruction as the system turn, then the user's turn."""
    return [Message("system", instruction(style)), Message("user", user_turn(question, sources))]
