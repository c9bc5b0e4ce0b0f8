"""The linear layer, its temperature, doubtful labels, and what to label next; the scores."""

from __future__ import annotations

import numpy as np
import pytest

from ragcore.encoders.classifier import softmax
from ragcore.tuning.classifier import head as heads
from ragcore.tuning.classifier.data import LabelledExample, gather, shots, split
from ragcore.tuning.classifier.scores import confusion, measure, wilson


def clouds(classes: int, each: int, seed: int = 0, noise: float = 0.4) -> tuple:  # type: ignore[type-arg]
    """Unit vectors around one direction a class: (vectors [n, 16], labels [n])."""
    rng = np.random.default_rng(seed)
    middles = np.random.default_rng(99).normal(size=(classes, 16))
    labels = np.repeat(np.arange(classes), each)
    vectors = middles[labels] + noise * rng.normal(size=(len(labels), 16))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors.astype(np.float32), labels.astype(np.int64)


@pytest.mark.parametrize("classes", [2, 5])
def test_a_head_learns_and_absent_classes_are_never_chosen(classes: int) -> None:
    vectors, labels = clouds(classes, 20)
    head = heads.fit_head(vectors, labels, classes + 1, 10.0)
    logits = head.logits(clouds(classes, 20, seed=1)[0])
    assert (logits.argmax(1) == labels).mean() > 0.9
    assert softmax(logits)[:, classes].max() < 1e-3


def test_the_temperature_that_was_put_in_is_found() -> None:
    rng = np.random.default_rng(0)
    honest = 2 * rng.normal(size=(4000, 4)).astype(np.float32)
    chances = softmax(honest)
    labels = np.array([rng.choice(4, p=row / row.sum()) for row in chances.astype(np.float64)])
    assert heads.fit_temperature(honest * 3, labels) == pytest.approx(3, rel=0.1)
    result = measure(honest * 3, labels, 3.0)
    assert result["ece"] < 0.03 < result["ece_before"]


def test_flipped_labels_come_first() -> None:
    vectors, labels = clouds(4, 25)
    wrong = labels.copy()
    flipped = np.array([3, 30, 60, 90])
    wrong[flipped] = (labels[flipped] + 1) % 4
    logits = heads.out_of_fold(vectors, wrong, 4, 10.0, folds=5, seed=0, check=lambda: None)
    found = heads.suspicious(softmax(logits), wrong)
    assert set(found[:4].tolist()) == set(flipped.tolist())
    assert len(found) <= 10


def test_unsure_and_unlike_items_are_worth_labelling() -> None:
    vectors, labels = clouds(3, 200)
    first = heads.worth_labelling(None, vectors, vectors[:0], 6)
    assert len(set(labels[first].tolist())) == 3  # before any label: something of everything
    known = vectors[labels != 2]
    chances = softmax(heads.fit_head(known, labels[labels != 2], 2, 10.0).logits(vectors))
    following = heads.worth_labelling(chances, vectors, known, 10)
    assert (labels[following] == 2).mean() > 0.6  # the class that nobody has labelled yet
    assert len(set(following.tolist())) == 10
    assert len(heads.worth_labelling(chances, vectors[:0], known, 5)) == 0


def test_a_split_is_within_classes_and_keeps_groups_together() -> None:
    items = [
        LabelledExample(f"{label} {n}", label, text=f"{label} {n}", group=f"{label} {n // 3}")
        for label in ("a", "b")
        for n in range(30)
    ]
    examples = gather(items, "test")
    parts = split(examples, test=0.2, dev=0.1, seed=0)
    groups = [
        {examples.items[row].group for row in part.tolist()}
        for part in (parts.train, parts.dev, parts.test)
    ]
    assert not groups[0] & groups[1]
    assert not groups[0] & groups[2]
    assert not groups[1] & groups[2]
    assert len(parts.train) + len(parts.dev) + len(parts.test) == 60
    assert set(examples.labels[parts.test].tolist()) == {0, 1}
    few = shots(examples.labels, parts.train, 2, 0)
    more = shots(examples.labels, parts.train, 5, 0)
    assert np.bincount(examples.labels[few]).tolist() == [2, 2]
    assert set(few.tolist()) < set(more.tolist())


def test_one_huge_group_leaves_something_to_train_on() -> None:
    items = [LabelledExample(f"{n}", "a", text=f"a {n}", group=str(min(n, 3))) for n in range(40)]
    items += [LabelledExample(f"b{n}", "b", text=f"b {n}") for n in range(4)]
    examples = gather(items, "test")
    for seed in range(8):
        parts = split(examples, test=0.3, dev=0.2, seed=seed)
        assert set(examples.labels[parts.train].tolist()) == {0, 1}


def test_wilson_and_confusion() -> None:
    low, high = wilson(8, 10)
    assert (low, high) == (pytest.approx(0.490, abs=0.001), pytest.approx(0.943, abs=0.001))
    assert wilson(0, 0) == (0.0, 1.0)
    logits = np.eye(3, dtype=np.float32)[[0, 1, 1, 1]]
    result = confusion(logits, np.array([0, 1, 2, 2]), ["x", "y", "z"])
    assert result["matrix"] == [[1, 0, 0], [0, 1, 0], [0, 2, 0]]
    assert result["worst"] == [{"true": "z", "chosen": "y", "count": 2, "of": 2}]
