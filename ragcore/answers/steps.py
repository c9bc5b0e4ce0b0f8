"""Questions that take two steps: "Which of the guides is newer and who wrote it?".

The second step asks about what the first one found. A question is taken apart by its syntax
(English); for a model that is not tuned to answer from passages in one sentence, what has no such
syntax is taken apart by the model, under a grammar.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ragcore.answer_parts import AnswerStep
from ragcore.answers.citations import MARK, without_marks
from ragcore.answers.prompt import neutralize
from ragcore.errors import UsageError
from ragcore.models import NO_ADAPTER, Constraint, Sampling
from ragcore.types import Answer, CancelToken, Citation, Message

if TYPE_CHECKING:
    from ragcore.models import LLM

MOST = 4  # steps, each with its own search
LARGE = 4096  # tokens of context from which a model is asked to take a question apart
NAME_WORDS = 12  # of a step's answer that can stand in the next question
FOUND = "{}"  # in a step: what the step before it found

_WORDS = r"(?:who|what|when|where|how|which|why|whose|in which|in what|on which|by whom)"
_AND = re.compile(
    rf"^(?P<first>(?:which|what|who)\b.+?),?\s+and\s+(?P<second>{_WORDS}\b.+)$", re.IGNORECASE
)
_IT = re.compile(r"\b(?:it|he|she|they|him|them|this one|that one)\b", re.IGNORECASE)
_ITS = re.compile(r"\b(?:its|his|their)\b", re.IGNORECASE)
# "Who wrote the guide that mentions it": the clause is at the end. After "When was the …" the
# verb of the question stands behind the clause, and where that begins is not known.
_CLAUSE = re.compile(
    r"^(?P<head>(?:who|what|which|where|when|how)\b.*?\b"
    r"(?!is|are|was|were|do|does|did|has|have|had|can)[a-z]+\s+)"
    r"the (?P<noun>[a-z][\w-]*(?:\s[a-z][\w-]*){0,2}) (?P<clause>(?:that|which|who)\s+.+)$",
    re.IGNORECASE,
)
_INSTRUCTION = (
    "Break the question down into at most 3 simple questions that are answered one after the "
    "other from documents. Each stands alone; {} stands for the answer to the question before "
    "it. Give one question, unchanged, if it is simple. Reply with JSON."
)
_SCHEMA = {
    "type": "object",
    "properties": {
        "questions": {"type": "array", "items": {"type": "string"}, "minItems": 1, "maxItems": 3}
    },
    "required": ["questions"],
    "additionalProperties": False,
}


@dataclass(frozen=True, slots=True)
class Plan:
    """The questions of a question in order; FOUND in one stands for what the one before found.

    `certain`: each has to be answered; else they are asked only if the whole is not answered.
    """

    questions: tuple[str, ...]
    certain: bool


def by_syntax(question: str) -> Plan | None:
    """Two questions joined by "and", the second about "it"; or a question about "the thing that …".

    None for any other.
    """
    text = " ".join(question.split()).rstrip(" ?.!")
    both = _AND.match(text)
    if both is not None:
        second = both["second"]
        asked, count = _ITS.subn(f"{FOUND}'s", second, count=1)
        if not count:
            asked, count = _IT.subn(FOUND, second, count=1)
        if count and not _ITS.search(both["first"]) and not _IT.search(both["first"]):
            return Plan((f"{both['first']}?", f"{asked[0].upper()}{asked[1:]}?"), certain=True)
    clause = _CLAUSE.match(text)
    if clause is not None:
        rest = re.sub(r"^(?:that|which|who)\s+", "", clause["clause"], flags=re.IGNORECASE)
        first = f"Which {clause['noun']} {rest}?"
        return Plan((first, f"{clause['head']}{FOUND}?"), certain=False)
    return None


def by_model(llm: LLM, question: str, cancel: CancelToken | None) -> Plan | None:
    """As a model takes it apart; None where it leaves it whole, or takes no grammar."""
    messages = [Message("system", _INSTRUCTION), Message("user", neutralize(question))]
    try:
        pieces = llm.stream(
            messages,
            Sampling(max_tokens=200),
            constraint=Constraint(json_schema=_SCHEMA),
            adapter=NO_ADAPTER,
            cancel=cancel,
        )
        return read_plan("".join(pieces))
    except UsageError:
        return None


def read_plan(text: str) -> Plan | None:
    """The plan in a model's JSON.

    None for a single question, and where one that follows another does not ask about what that one
    found.
    """
    questions = [" ".join(str(one).split()) for one in json.loads(text)["questions"]]
    if len(questions) < 2 or not all(FOUND in one for one in questions[1:]):
        return None
    return Plan(tuple(questions), certain=False)


def found_by(answer: Answer) -> str:
    """What a step found, as it can stand in the next question; "" where it is no name or value."""
    if answer.abstained:
        return ""
    chosen = re.match(r"The \w+ document.*? is (?P<name>.+?): ", answer.text)
    if chosen is not None:
        return chosen["name"]
    if answer.composed and answer.citations:
        return ""  # sentences
    text = without_marks(answer.text).strip(" .")
    return text if text and len(text.split()) <= NAME_WORDS else ""


def put_together(question: str, answers: Sequence[tuple[str, Answer]]) -> Answer:
    """One answer of its steps, a line each; citations are numbered through."""
    lines: list[str] = []
    steps: list[AnswerStep] = []
    last = answers[-1][1]
    citations: list[Citation] = []
    for asked, answer in answers:
        numbers = {c.n: len(citations) + n for n, c in enumerate(answer.citations, 1)}
        text = MARK.sub(lambda match, to=numbers: _renumbered(match, to), answer.text)  # type: ignore[misc]
        citations += [replace(c, n=numbers[c.n]) for c in answer.citations]
        lines.append(text)
        steps.append(AnswerStep(asked, text))
    return replace(
        last,
        text="\n".join(lines),
        citations=tuple(citations),
        hits=tuple({h.id: h for _, answer in answers for h in answer.hits}.values()),
        question=question,
        composed=all(answer.composed for _, answer in answers),
        steps=tuple(steps),
    )


def _renumbered(match: re.Match[str], numbers: dict[int, int]) -> str:
    old = [int(n) for n in re.findall(r"\d+", match[0])]
    return f" [{', '.join(str(numbers.get(n, n)) for n in old)}]"
