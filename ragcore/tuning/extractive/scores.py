"""How well a reader finds answers in articles that it was not trained on."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ragcore.datasets import Context, Neighbours, stands_in, token_f1

if TYPE_CHECKING:
    from ragcore.encoders import ExtractiveReader

DISTRACTORS = 3


def score_reader(
    reader: ExtractiveReader,
    held_out: Sequence[Context],
    others: Sequence[Context],
    *,
    limit: int,
    seed: int = 0,
) -> dict[str, float]:
    """Ask `limit` questions of held-out contexts, each beside the three nearest of all contexts.

    Returns means: f1, contains (an accepted answer stands in the span or the span in it) and
    passage (the span stands in the right one) over answerable questions; auc, of the span's
    score as a sign that there is an answer; questions.
    """
    contexts = [*held_out, *others]
    near = Neighbours([f"{c.title} {c.text}" for c in contexts])
    every = [
        (number, question, answers)
        for number, context in enumerate(held_out)
        for question, answers in context.questions
    ]
    asked = random.Random(seed).sample(every, min(limit, len(every)))
    f1, contains, passage, scores = [], [], [], []
    for number, question, answers in asked:
        chosen = [number, *near.nearest(question, number, DISTRACTORS)]
        spans = reader.read(
            question, [contexts[i].text for i in chosen], [contexts[i].title for i in chosen]
        )
        best = spans[0]
        scores.append((best.rank, bool(answers)))
        if answers:
            text = contexts[chosen[best.passage]].text[best.start : best.end]
            f1.append(token_f1(text, answers))
            contains.append(any(stands_in(a, text) or stands_in(text, a) for a in answers))
            passage.append(best.passage == 0)
    return {
        "f1": _mean(f1),
        "contains": _mean(contains),
        "passage": _mean(passage),
        "auc": auc(scores),
        "questions": len(asked),
    }


def auc(scores: Sequence[tuple[float, bool]]) -> float:
    """Probability that a right case scores above a wrong one; 0.5 where one kind is missing."""
    from sklearn.metrics import roc_auc_score

    right = [good for _, good in scores]
    if len(set(right)) < 2:
        return 0.5
    return round(float(roc_auc_score(right, [score for score, _ in scores])), 4)


def _mean(values: Sequence[float]) -> float:
    return round(sum(values) / len(values), 4) if values else 0.0
