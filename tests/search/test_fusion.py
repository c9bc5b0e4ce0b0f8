"""Strength and relevance: worked by hand, without a model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ragcore.search import calibration, fusion
from ragcore.search.calibration import ImageBackground
from ragcore.search.lexical import NO_HITS, LexicalHits, _informative
from ragcore.vectors.faiss_store import FaissStore


def unit(*rows: list[float]) -> np.ndarray:
    x = np.array(rows, dtype=np.float32)
    return x / np.linalg.norm(x, axis=1, keepdims=True)


@pytest.fixture
def store(tmp_path: Path) -> FaissStore:
    store = FaissStore(tmp_path, 3)
    store.add(np.array([1, 2, 3, 4]), unit([1, 0, 0], [0.8, 0.6, 0], [0, 1, 0], [0, 0.1, 1]))
    return store


def lexical(scores: dict[int, float], ceiling: float) -> LexicalHits:
    return LexicalHits(
        np.array(list(scores), np.int64), np.array(list(scores.values()), np.float32), ceiling
    )


def test_coverage() -> None:
    hits = lexical({7: 4.0, 2: 3.0, 5: 99.0}, 10.0)
    found = hits.coverage(np.array([2, 3, 5, 7]))
    np.testing.assert_allclose(found, [0.3, 0, 1, 0.4])
    assert NO_HITS.coverage(np.array([1])).tolist() == [0]


def test_strength_is_cosine_and_coverage(store: FaissStore) -> None:
    found = fusion.fuse(store, unit([1, 0, 0])[0], lexical({3: 5.0}, 10.0), depth=4, feedback=False)
    assert found.ids.tolist() == [1, 2, 3, 4]
    np.testing.assert_allclose(found.strength, [1, 0.8, 0.5, 0], atol=1e-3)
    assert found.ids[found.best(2)].tolist() == [1, 2]


def test_words_are_not_outvoted(store: FaissStore) -> None:
    """A text with all of the rare words stands before one that is merely similar."""
    found = fusion.fuse(store, unit([0.5, 0, 1])[0], lexical({3: 10.0}, 10.0), depth=4)
    assert found.ids[found.best(1)].tolist() == [3]


def test_feedback_keeps_the_best_value(store: FaissStore) -> None:
    query = unit([0.5, 0.2, 0.8])[0]
    plain = fusion.fuse(store, query, NO_HITS, depth=4, feedback=False)
    moved = fusion.fuse(store, query, NO_HITS, depth=4)
    assert moved.strength.max() == pytest.approx(plain.strength.max(), abs=1e-5)
    np.testing.assert_allclose(moved.cosines, plain.cosines)  # what is shown is the query's own
    assert not np.allclose(moved.strength, plain.strength)


def test_floor_counts_as_nothing(store: FaissStore) -> None:
    found = fusion.fuse(store, unit([1, 0, 0])[0], NO_HITS, depth=4, feedback=False, floor=0.6)
    np.testing.assert_allclose(found.strength, [1, 0.5, -1.5, -1.5], atol=2e-3)


def test_lexical_alone() -> None:
    found = fusion.fuse(None, None, lexical({9: 1.0, 4: 2.0}, 4.0), depth=4)
    assert found.ids.tolist() == [4, 9]
    np.testing.assert_allclose(found.strength, [0.5, 0.25])


def test_a_passage_without_its_vector_is_left_out(store: FaissStore) -> None:
    found = fusion.fuse(store, unit([1, 0, 0])[0], lexical({99: 1.0}, 1.0), depth=2)
    assert 99 not in found.ids.tolist()


def test_rare_words_first() -> None:
    idf = {"the": (0.1, 90_000), "wing": (3.0, 9_000), "flow": (2.0, 15_000), "xq": (9.0, 2)}
    assert _informative(("the", "wing", "flow", "xq"), idf) == ("wing", "xq")
    assert _informative(("the", "flow"), idf) == ("the", "flow")


def test_relevance_rises_and_has_its_border() -> None:
    relevance = calibration.passage_relevance(np.linspace(-1, 2, 50, dtype=np.float32))
    assert (np.diff(relevance) > 0).all()
    border = np.array([calibration.PASSAGE_BORDER], np.float32)
    assert calibration.passage_relevance(border)[0] == pytest.approx(0.5)
    assert calibration.rerank_relevance(np.array([0.0], np.float32))[0] == 0.5


def test_cosine_floor() -> None:
    assert calibration.cosine_floor(lambda texts: np.eye(len(texts), dtype=np.float32)) == 0
    close = unit(*[[1.0, 0.1 * n, 0.0] for n in range(12)])
    assert calibration.cosine_floor(lambda texts: close) > 0.5


def test_background_keeps_the_order_of_cosines() -> None:
    rng = np.random.default_rng(0)
    background = ImageBackground("x", unit(*rng.standard_normal((9, 6)).tolist()))
    images = unit(*rng.standard_normal((20, 6)).tolist())
    cosines = images @ images[0]
    relevance = background.relevance(images, cosines)
    assert (np.argsort(relevance) == np.argsort(cosines)).all()
    assert background.relevance(images[:0], cosines[:0]).shape == (0,)
