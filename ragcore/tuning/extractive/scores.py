"""How well a reader finds answers in articles that it was not trained on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ragcore.datasets import stands_in, token_f1
from ragcore.encoders import SpanScale

if TYPE_CHECKING:
    from ragcore.encoders import ExtractiveReader
    from ragcore.models import Span
    from ragcore.tuning.questions import CalibrationQuestion

DECLINED = 0.12  # of the answerable questions, at the threshold 0.5


@dataclass(frozen=True, slots=True)
class ReadQuestion:
    """The best span of a question: its F1 (None: unanswerable), what it was read from, itself."""

    f1: float | None
    contains: bool
    gold: bool
    span: Span


def scores(read: Sequence[ReadQuestion]) -> dict[str, float]:
    """Means over questions.

    f1, contains (an accepted answer stands in the span or the span in it) and passage (the span
    stands in the right one) over answerable questions; auc, of the span's score as a sign that
    there is an answer; questions.
    """
    answerable = [(one.f1, one.contains, one.gold) for one in read if one.f1 is not None]
    return {
        "f1": _mean([f1 for f1, _, _ in answerable]),
        "contains": _mean([contains for _, contains, _ in answerable]),
        "passage": _mean([gold for _, _, gold in answerable]),
        "auc": auc([(one.span.rank, one.f1 is not None) for one in read]),
        "questions": len(read),
    }


def fit_scale(read: Sequence[ReadQuestion]) -> SpanScale:
    """How the logits of a span and its window tell that there is an answer.

    A logistic regression, its middle moved to where `DECLINED` of the answerable questions lie
    below it. The plain scale where all questions are answerable, or none is.
    """
    import numpy as np
    from sklearn.linear_model import LogisticRegression

    answerable = np.array([one.f1 is not None for one in read])
    if answerable.all() or not answerable.any():
        return SpanScale()
    table = np.array([[one.span.score, one.span.relevance] for one in read])
    weights = LogisticRegression(class_weight="balanced").fit(table, answerable).coef_[0]
    middle = float(np.quantile((table @ weights)[answerable], DECLINED))
    span, window = (round(float(weight), 4) for weight in weights)
    return SpanScale(span, window, round(-middle, 4))


def read_all(reader: ExtractiveReader, asked: Sequence[CalibrationQuestion]) -> list[ReadQuestion]:
    """The best span of each question."""
    found: list[ReadQuestion] = []
    for one in asked:
        texts = [hit.text for hit in one.hits]
        best = reader.read(one.question, texts, [hit.document for hit in one.hits])[0]
        text = texts[best.passage][best.start : best.end]
        f1 = token_f1(text, one.answers) if one.answers else None
        contains = any(stands_in(a, text) or stands_in(text, a) for a in one.answers)
        found.append(ReadQuestion(f1, contains, one.hits[best.passage].id == one.gold, best))
    return found


def auc(scores: Sequence[tuple[float, bool]]) -> float:
    """Probability that a right case scores above a wrong one; 0.5 where one kind is missing."""
    from sklearn.metrics import roc_auc_score

    right = [good for _, good in scores]
    if len(set(right)) < 2:
        return 0.5
    return round(float(roc_auc_score(right, [score for score, _ in scores])), 4)


def _mean(values: Sequence[float]) -> float:
    return round(sum(values) / len(values), 4) if values else 0.0
