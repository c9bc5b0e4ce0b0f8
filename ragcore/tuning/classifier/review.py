"""What wrong labels do to a classifier, and how many of them are found: an experiment."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ragcore.encoders import softmax
from ragcore.tuning.classifier import head as heads

if TYPE_CHECKING:
    from ragcore.tuning.classifier.data import Split
    from ragcore.types import FloatArray, IdArray


@dataclass(frozen=True, slots=True)
class Flipped:
    """Features and labels, a `share` of the labels flipped to another class.

    Those to learn from (train and dev); the test part stays as it is.
    """

    vectors: FloatArray
    labels: IdArray
    classes: int
    split: Split
    share: float
    strengths: Sequence[float]
    folds: int
    seed: int


def proposals(
    vectors: FloatArray,
    labels: IdArray,
    classes: int,
    strength: float,
    *,
    folds: int,
    seed: int,
    check: Callable[[], None],
) -> tuple[IdArray, FloatArray]:
    """(rows whose label looks wrong, the most doubtful first; out-of-fold probabilities)."""
    logits = heads.out_of_fold(
        vectors, labels, classes, strength, folds=folds, seed=seed, check=check
    )
    counts = np.bincount(labels, minlength=classes)
    known = counts[labels] > 1  # the others cannot be known out of fold
    temperature = heads.fit_temperature(logits[known], labels[known])
    chances = softmax(logits / temperature)
    return heads.suspicious(chances, labels), chances


def measure_flipped(given: Flipped, check: Callable[[], None]) -> dict[str, float]:
    """Accuracy without and with flipped labels, and without those proposed for review.

    Also how many were flipped and proposed, the share of the flipped ones among the proposed
    ("precision") and of the proposed ones among the flipped ("recall").
    """
    rows = np.concatenate([given.split.train, given.split.dev])
    rng = np.random.default_rng(given.seed + 1)
    labels = given.labels.copy()
    flipped = rng.choice(rows, round(len(rows) * given.share), replace=False)
    labels[flipped] = (
        labels[flipped] + rng.integers(1, given.classes, len(flipped))
    ) % given.classes
    train, dev, test = given.split.train, given.split.dev, given.split.test
    strength = heads.choose_strength(
        given.vectors[train], labels[train], given.vectors[dev], labels[dev], given.classes,
        given.strengths, check,
    ) if len(dev) > 1 else given.strengths[len(given.strengths) // 2]  # fmt: skip

    def accuracy(used: IdArray, targets: IdArray) -> float:
        check()
        head = heads.fit_head(given.vectors[used], targets[used], given.classes, strength)
        chosen = head.logits(given.vectors[test]).argmax(1)
        return float((chosen == given.labels[test]).mean())

    found, _ = proposals(
        given.vectors[rows], labels[rows], given.classes, strength,
        folds=given.folds, seed=given.seed, check=check,
    )  # fmt: skip
    proposed = rows[found]
    hits = len(np.intersect1d(proposed, flipped))
    return {
        "share": given.share,
        "accuracy_clean": accuracy(train, given.labels),
        "accuracy_flipped": accuracy(train, labels),
        "accuracy_reviewed": accuracy(np.setdiff1d(train, proposed), labels),
        "flipped": float(len(flipped)),
        "proposed": float(len(proposed)),
        "precision": hits / max(len(proposed), 1),
        "recall": hits / max(len(flipped), 1),
    }
