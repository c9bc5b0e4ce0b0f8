"""What every vector store must do, and the backend that opens it."""

from __future__ import annotations

import threading
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import pytest

from ragcore.vectors import StoreKey, VectorBackend, VectorStore

if TYPE_CHECKING:
    from ragcore.types import FloatArray, IdArray

D = 24  # dimensions of the stores that are tested
Opener = Callable[[Path], VectorStore]


def store_key(name: str, collection_id: int = 1) -> StoreKey:
    """The key of a store, another one for each name.

    Returns:
        A key of `D` dimensions.
    """
    space_id = zlib.crc32(name.encode())
    created = f"2026-01-01T00:00:00.00000{collection_id}+00:00"
    return StoreKey(collection_id, created, space_id, f"{name}@1", D)


def unit(n: int, seed: int = 0, dimension: int = D) -> FloatArray:
    """Clustered vectors, the same for the same seed.

    Returns:
        float32 [n, dimension], L2-normalized, in float16 precision.
    """
    centers = np.random.default_rng(12).standard_normal((12, dimension))
    rng = np.random.default_rng(seed)
    x = centers[rng.integers(0, 12, n)] + 0.5 * rng.standard_normal((n, dimension))
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    return x.astype(np.float16).astype(np.float32)


def exactly(
    ids: IdArray, vectors: FloatArray, queries: FloatArray, k: int
) -> tuple[FloatArray, IdArray]:
    """The right answer of a search, by plain numpy.

    Args:
        ids: int64 [n].
        vectors: float32 [n, d].
        queries: float32 [q, d].
        k: How many for each query.

    Returns:
        (scores, ids), both [q, k], best first.
    """
    scores = queries @ vectors.T
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(scores, order, axis=1), ids[order]


def recall(found: IdArray, right: IdArray) -> float:
    """How much of what is right was found.

    Returns:
        The share of the right ids among those found, in [0, 1], mean over the queries.
    """
    return float(
        np.mean([len(set(f) & set(r)) / len(r) for f, r in zip(found, right, strict=True)])
    )


class VectorStoreConformance:
    """Override the fixture `backend` with a fresh backend, or `open`.

    `open` is what opens a store of `D` dimensions by the name of a folder, as it was last saved or
    else empty.

    `exact` says whether results must equal those of plain numpy, `transient` whether what was not
    saved is forgotten when a store is closed; a store whose search is approximate must find
    `least_recall` of the true neighbors.
    """

    exact: ClassVar[bool] = True
    transient: ClassVar[bool] = True
    least_recall: ClassVar[float] = 0.95

    @pytest.fixture
    def backend(self, tmp_path: Path) -> VectorBackend:
        raise NotImplementedError("override the fixture `backend`: it returns a VectorBackend")

    @pytest.fixture
    def open(self, backend: VectorBackend) -> Opener:
        return lambda folder: backend.open(store_key(folder.name), expected=1000)

    @pytest.fixture
    def store(self, open: Opener, tmp_path: Path) -> VectorStore:
        return open(tmp_path / "store")

    def agree(self, store: VectorStore, ids: IdArray, vectors: FloatArray, k: int = 10) -> None:
        queries = unit(20, seed=99)
        scores, found = store.search(queries, k)
        right_scores, right = exactly(ids, vectors, queries, k)
        assert scores.dtype == np.float32
        assert found.dtype == np.int64
        assert (np.diff(scores, axis=1) <= 0).all()
        if self.exact:
            np.testing.assert_allclose(scores, right_scores, atol=2e-3)
        assert recall(found, right) >= self.least_recall
        place = {int(i): n for n, i in enumerate(ids)}
        at = np.vectorize(place.__getitem__)(found)
        true = np.einsum("qd,qkd->qk", queries, vectors[at])
        np.testing.assert_allclose(scores, true, atol=2e-3)

    def test_new_store_is_empty(self, store: VectorStore) -> None:
        assert store.count() == 0
        assert store.ids().tolist() == []
        assert store.saved_tag == ""
        scores, ids = store.search(unit(2), 3)
        assert ids.tolist() == [[-1] * 3] * 2
        assert np.isneginf(scores).all()

    def test_finds_what_the_oracle_finds(self, store: VectorStore) -> None:
        vectors = unit(800)
        ids = np.arange(800, dtype=np.int64) * 3 + 10**12
        store.add(ids, vectors)
        assert store.count() == 800
        assert store.ids().tolist() == ids.tolist()
        self.agree(store, ids, vectors)

    def test_added_in_pieces(self, store: VectorStore) -> None:
        vectors, ids = unit(700), np.random.default_rng(0).permutation(700).astype(np.int64)
        for at in range(0, 700, 90):
            store.add(ids[at : at + 90], vectors[at : at + 90])
        self.agree(store, ids, vectors)

    def test_add_replaces(self, store: VectorStore) -> None:
        ids = np.arange(300, dtype=np.int64)
        store.add(ids, unit(300, seed=1))
        vectors = unit(300, seed=2)
        store.add(ids[:150], vectors[:150])
        store.add(ids[150:], vectors[150:])
        assert store.count() == 300
        self.agree(store, ids, vectors)

    def test_an_id_twice_in_one_batch(self, store: VectorStore) -> None:
        vectors = unit(3)
        store.add(np.array([5, 6, 5]), vectors)
        assert store.count() == 2
        np.testing.assert_allclose(store.vectors(np.array([5])), vectors[2:], atol=1e-3)

    def test_remove(self, store: VectorStore) -> None:
        ids, vectors = np.arange(600, dtype=np.int64), unit(600)
        store.add(ids, vectors)
        assert store.remove(np.arange(0, 1200, 2)) == 300
        assert store.remove(np.arange(0, 1200, 2)) == 0
        assert store.remove(np.array([], dtype=np.int64)) == 0
        assert store.count() == 300
        self.agree(store, ids[1::2], vectors[1::2])
        store.remove(ids)
        assert store.count() == 0
        assert (store.search(unit(1), 5)[1] == -1).all()

    def test_removed_then_added_again(self, store: VectorStore) -> None:
        ids, vectors = np.arange(400, dtype=np.int64), unit(400)
        store.add(ids, unit(400, seed=7))
        store.remove(ids[100:300])
        store.add(ids, vectors)
        assert store.count() == 400
        self.agree(store, ids, vectors)

    def test_fewer_than_k(self, store: VectorStore) -> None:
        store.add(np.array([4, 9]), unit(2))
        scores, ids = store.search(unit(3, seed=5), 4)
        assert sorted(ids[0].tolist()) == [-1, -1, 4, 9]
        assert ids[0, 2:].tolist() == [-1, -1]
        assert np.isneginf(scores[:, 2:]).all()

    def test_k_as_large_as_the_store(self, store: VectorStore) -> None:
        ids = np.arange(500, dtype=np.int64)
        store.add(ids, unit(500))
        store.remove(ids[:100])
        found = store.search(unit(2, seed=4), 400)[1]
        assert [sorted(line) for line in found.tolist()] == [list(range(100, 500))] * 2

    @pytest.mark.parametrize("share", [0.004, 0.05, 0.5, 0.95])
    def test_allowed(self, store: VectorStore, share: float) -> None:
        ids, vectors = np.arange(1000, dtype=np.int64) + 7, unit(1000)
        store.add(ids, vectors)
        chosen = np.sort(
            np.random.default_rng(1).choice(1000, max(1, int(1000 * share)), replace=False)
        )
        k = min(10, len(chosen))
        queries = unit(20, seed=99)
        allowed = np.concatenate([ids[chosen], np.array([3, 999_999])])  # two are not there
        scores, found = store.search(queries, k, allowed=allowed)
        _, right = exactly(ids[chosen], vectors[chosen], queries, k)
        assert set(found.ravel().tolist()) <= set(ids[chosen].tolist())
        assert np.isfinite(scores).all()
        assert recall(found, right) >= self.least_recall

    def test_allowed_nothing(self, store: VectorStore) -> None:
        store.add(np.arange(10, dtype=np.int64), unit(10))
        for none in (np.array([], dtype=np.int64), np.array([77])):
            assert (store.search(unit(1), 3, allowed=none)[1] == -1).all()

    def test_allowed_and_removed(self, store: VectorStore) -> None:
        ids = np.arange(200, dtype=np.int64)
        store.add(ids, unit(200))
        store.remove(ids[:50])
        found = store.search(unit(1), 20, allowed=ids[40:60])[1][0]
        assert sorted(found.tolist()) == [-1] * 10 + list(range(50, 60))

    def test_vectors(self, store: VectorStore) -> None:
        ids, vectors = np.arange(300, dtype=np.int64), unit(300)
        store.add(ids, vectors)
        got = store.vectors(ids[[250, 3, 3]])
        np.testing.assert_allclose(got, vectors[[250, 3, 3]], atol=1e-3)
        assert got.dtype == np.float32
        assert store.vectors(np.array([], dtype=np.int64)).shape == (0, D)
        store.remove(ids[:1])
        with pytest.raises(KeyError):
            store.vectors(ids[:2])
        assert store.present(np.array([7, 0, 3, 7, 999])).tolist() == [3, 7]
        assert store.present(np.array([], dtype=np.int64)).tolist() == []

    def test_save_and_open(self, open: Opener, tmp_path: Path) -> None:
        ids, vectors = np.arange(500, dtype=np.int64), unit(500)
        store = open(tmp_path / "s")
        store.add(ids, vectors)
        store.remove(ids[:20])
        store.save("seq 17")
        assert store.saved_tag == "seq 17"
        self.agree(store, ids[20:], vectors[20:])
        store.add(ids[:5], vectors[:5])  # is not saved
        store.close()
        again = open(tmp_path / "s")
        assert again.saved_tag == "seq 17"
        if not self.transient:
            assert again.remove(ids[:5]) == 5
        assert again.ids().tolist() == ids[20:].tolist()
        self.agree(again, ids[20:], vectors[20:])
        again.add(ids[:20], vectors[:20])
        again.remove(ids[480:])
        self.agree(again, ids[:480], vectors[:480])
        again.save("later")
        again.close()
        last = open(tmp_path / "s")
        assert last.saved_tag == "later"
        self.agree(last, ids[:480], vectors[:480])

    def test_save_empty(self, open: Opener, tmp_path: Path) -> None:
        store = open(tmp_path / "s")
        store.save("nothing")
        store.close()
        again = open(tmp_path / "s")
        assert (again.count(), again.saved_tag) == (0, "nothing")

    def test_wrong_shapes(self, store: VectorStore) -> None:
        for ids, vectors in (
            (np.arange(2), unit(3)),
            (np.arange(3), unit(3)[:, :-1]),
            (np.arange(4).reshape(2, 2), unit(4)),
            (np.arange(2), np.full((2, D), np.nan, np.float32)),
        ):
            with pytest.raises(ValueError, match=r"vectors|ids"):
                store.add(ids, vectors)
        with pytest.raises(ValueError, match="queries"):
            store.search(unit(1)[:, 1:], 3)
        with pytest.raises(ValueError, match="k must"):
            store.search(unit(1), 0)
        assert store.count() == 0

    def test_search_while_adding_and_removing(self, store: VectorStore) -> None:
        vectors = unit(3000)
        fixed = np.arange(200, dtype=np.int64)
        store.add(fixed, vectors[:200])
        problems: list[BaseException] = []
        done = threading.Event()

        def look() -> None:
            try:
                while not done.is_set():
                    scores, found = store.search(vectors[:4], 5)
                    # Each of these four is never touched, so it always finds itself.
                    assert np.allclose(scores[:, 0], 1, atol=3e-3)
                    assert (found >= 0).all()
            except BaseException as error:
                problems.append(error)

        threads = [threading.Thread(target=look) for _ in range(3)]
        for thread in threads:
            thread.start()
        for at in range(200, 3000, 200):
            store.add(np.arange(at, at + 200), vectors[at : at + 200])
            store.remove(np.arange(at, at + 60))
        done.set()
        for thread in threads:
            thread.join()
        assert not problems
        assert store.count() == 200 + 14 * 140


class VectorBackendConformance:
    """Override the fixture `backend` with a fresh backend.

    `durable`: a saved store is there for the next backend (fixture `reopened`), as it is unless
    stores are in memory only.
    """

    durable: ClassVar[bool] = True

    @pytest.fixture
    def backend(self, tmp_path: Path) -> VectorBackend:
        raise NotImplementedError("override the fixture `backend`: it returns a VectorBackend")

    @pytest.fixture
    def reopened(self, tmp_path: Path) -> Callable[[], VectorBackend]:
        """What makes another backend of the same URL and context."""
        raise NotImplementedError("override the fixture `reopened`, or set `durable = False`")

    def filled(self, backend: VectorBackend, key: StoreKey, count: int) -> None:
        store = backend.open(key, expected=count)
        store.add(np.arange(count, dtype=np.int64), unit(count))
        store.save("7")
        store.close()

    def test_it_says_what_it_is(self, backend: VectorBackend) -> None:
        assert isinstance(backend.description, str)
        assert backend.description
        assert "\n" not in backend.description

    def test_stores_are_apart(self, backend: VectorBackend) -> None:
        one, two, other = store_key("a"), store_key("b"), store_key("a", 2)
        for count, key in enumerate((one, two, other), start=3):
            self.filled(backend, key, count)
        for count, key in enumerate((one, two, other), start=3):
            store = backend.open(key, expected=count)
            assert (store.count(), store.saved_tag, store.dimension) == (count, "7", D)
            store.close()
        backend.close()

    def test_dropped_stores_are_empty(self, backend: VectorBackend) -> None:
        one, two, other = store_key("a"), store_key("b"), store_key("a", 2)
        for key in (one, two, other):
            self.filled(backend, key, 3)
        backend.drop(one)
        backend.drop(one)  # there is none any more
        assert [backend.open(key).count() for key in (one, two, other)] == [0, 3, 3]
        self.filled(backend, one, 3)
        backend.drop_collection(one.collection_id, one.created)
        backend.drop_collection(one.collection_id, one.created)
        assert [backend.open(key).count() for key in (one, two, other)] == [0, 0, 3]
        assert backend.open(one).saved_tag == ""
        backend.close()

    def test_saved_stores_are_there_later(
        self, backend: VectorBackend, request: pytest.FixtureRequest
    ) -> None:
        if not self.durable:
            pytest.skip("its stores are in memory only")
        self.filled(backend, store_key("a"), 5)
        backend.close()
        again: VectorBackend = request.getfixturevalue("reopened")()
        assert again.open(store_key("a"), expected=5).ids().tolist() == [0, 1, 2, 3, 4]
        again.close()
