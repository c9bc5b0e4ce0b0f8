"""A map puts what is alike together, and is kept until the collection changes."""

from __future__ import annotations

import numpy as np

from ragcore.search.projection import LANDMARKS, lay_out


def clusters(n: int, groups: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    centers = rng.normal(size=(groups, 64))
    labels = rng.integers(0, groups, n)
    vectors = centers[labels] + 0.25 * rng.normal(size=(n, 64))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32), labels


def neighbours_agree(xy: np.ndarray, labels: np.ndarray, sample: int = 200) -> float:
    """Share of points whose nearest other point is of the same group."""
    same = 0
    for i in range(sample):
        distance = ((xy - xy[i]) ** 2).sum(axis=1)
        distance[i] = np.inf
        same += labels[int(distance.argmin())] == labels[i]
    return same / sample


def test_like_things_lie_together() -> None:
    vectors, labels = clusters(300, 5)
    xy = lay_out(vectors)
    assert xy.shape == (300, 2)
    assert np.isfinite(xy).all()
    assert neighbours_agree(xy, labels) > 0.95


def test_more_than_the_landmarks_and_always_the_same() -> None:
    vectors, labels = clusters(LANDMARKS + 600, 6)
    xy = lay_out(vectors)
    assert neighbours_agree(xy, labels) > 0.9
    np.testing.assert_array_equal(xy, lay_out(vectors))


def test_tiny_and_identical_inputs() -> None:
    assert lay_out(np.zeros((0, 8), np.float32)).shape == (0, 2)
    for n in (1, 2, 3, 9, 12):
        xy = lay_out(np.ones((n, 8), np.float32))
        assert xy.shape == (n, 2)
        assert np.isfinite(xy).all()
