"""Questions that a model was not trained on, each with the passages that a search confuses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ragcore.datasets import Context, Neighbours, stands_in
from ragcore.types import Hit

_DISTRACTORS = 3
_WITHOUT = 3  # every third answerable question is asked without its passage too


@dataclass(frozen=True, slots=True)
class CalibrationQuestion:
    """A question with the passages that were found for it; `gold` is the id of its own."""

    question: str
    answers: tuple[str, ...]
    hits: tuple[Hit, ...]
    gold: int


def questions_among(
    contexts: Sequence[Context], every: Sequence[Context], *, distractors: int = _DISTRACTORS
) -> list[CalibrationQuestion]:
    """The questions of `contexts`, each beside the nearest other passages of `every`.

    Some are asked a second time without their own passage. That is the commonest reason why a
    question cannot be answered, and another one than that its passage does not answer: there the
    words of the question stand, and only what is asked for lacks.
    """
    neighbours = Neighbours([c.text for c in every])
    place = {c.text: i for i, c in enumerate(every)}
    found = []
    for context in contexts:
        own = place[context.text]
        for question, answers in context.questions:
            chosen = [own, *neighbours.nearest(question, own, distractors)]
            hits = tuple(
                Hit(i, "passage", 1.0, i, every[i].title, "", every[i].text) for i in chosen
            )
            found.append(CalibrationQuestion(question, answers, hits, own))
    answerable = [asked for asked in found if asked.answers][::_WITHOUT]
    for asked in answerable:
        others = tuple(hit for hit in asked.hits if hit.id != asked.gold)
        if not any(stands_in(a, hit.text) for a in asked.answers for hit in others):
            found.append(CalibrationQuestion(asked.question, (), others, asked.gold))
    return found
