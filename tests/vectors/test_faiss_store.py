"""FAISS: the conformance suite in every index type, and what only it does."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from ragcore.errors import RagcoreError
from ragcore.testing.vectors import (
    D,
    Opener,
    VectorStoreConformance,
    exactly,
    recall,
    unit,
)
from ragcore.vectors import CorruptStoreError, faiss_store, index_types
from ragcore.vectors.faiss_store import FaissStore


class _Faiss(VectorStoreConformance):
    kind: ClassVar[str]

    @pytest.fixture
    def open(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Opener:
        monkeypatch.setattr(faiss_store, "EXACT_ALLOWED", 20)
        monkeypatch.setattr(faiss_store, "_tail_limit", lambda total: 100)
        return lambda folder: FaissStore(folder, D, kind=self.kind)

    def test_is_of_its_kind(self, open: Opener, tmp_path: Path) -> None:
        store = open(tmp_path / "kind")
        store.add(np.arange(200), unit(200))
        assert store.kind == self.kind


class TestExact(_Faiss):
    kind = "exact"
    least_recall = 0.999


class TestHnsw(_Faiss):
    kind = "hnsw"
    exact = False


class TestIvf(_Faiss):
    kind = "ivf"
    exact = False


class TestCompressed(_Faiss):
    kind = "compressed"
    exact = False


class TestAuto(_Faiss):
    """Small limits, so that a store grows through all types within one test."""

    kind = "auto"
    exact = False

    @pytest.fixture(autouse=True)
    def _limits(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(index_types, "EXACT_UP_TO", 150)
        monkeypatch.setattr(index_types, "IVF_UP_TO", 450)

    def test_is_of_its_kind(self, open: Opener, tmp_path: Path) -> None:
        store, kinds = open(tmp_path / "kind"), []
        vectors = unit(1000)
        for at in range(0, 1000, 50):
            store.add(np.arange(at, at + 50), vectors[at : at + 50])
            if store.kind not in kinds:
                kinds.append(store.kind)
        assert kinds == ["exact", "ivf", "compressed"]
        self.agree(store, np.arange(1000), vectors)
        store.remove(np.arange(100, 1000))
        store.remove(np.arange(60, 100))
        assert store.kind == "exact"
        self.agree(store, np.arange(60), vectors[:60])


class Sequences(RuleBasedStateMachine):
    """Any sequence of operations leaves the store equal to a dict of vectors."""

    ids = st.lists(st.integers(0, 400), max_size=120, unique=True).map(
        lambda x: np.array(x, dtype=np.int64)
    )

    @initialize(kind=st.sampled_from(["exact", "ivf", "compressed", "hnsw"]))
    def start(self, kind: str) -> None:
        import tempfile

        self.folder = tempfile.TemporaryDirectory()
        self.kind = kind
        self.oracle: dict[int, np.ndarray] = {}
        self.saved = dict(self.oracle)
        self.store = FaissStore(self.folder.name, D, kind=kind)

    @rule(ids=ids, seed=st.integers(0, 10**6))
    def add(self, ids: np.ndarray, seed: int) -> None:
        vectors = unit(len(ids), seed)
        self.store.add(ids, vectors)
        self.oracle.update(zip(ids.tolist(), vectors, strict=True))

    @rule(ids=ids)
    def remove(self, ids: np.ndarray) -> None:
        present = [i for i in ids.tolist() if i in self.oracle]
        assert self.store.remove(ids) == len(present)
        for i in present:
            del self.oracle[i]

    @rule()
    def save(self) -> None:
        self.store.save("x")
        self.saved = dict(self.oracle)

    @rule()
    def reopen(self) -> None:
        self.store.close()
        self.store = FaissStore(self.folder.name, D, kind=self.kind)
        self.oracle = dict(self.saved)

    @rule(ids=ids, k=st.integers(1, 30), seed=st.integers(0, 10**6))
    def search_allowed(self, ids: np.ndarray, k: int, seed: int) -> None:
        kept = np.array(sorted(set(ids.tolist()) & self.oracle.keys()), dtype=np.int64)
        self.check(kept, k, seed, ids)

    @rule(k=st.integers(1, 500), seed=st.integers(0, 10**6))
    def search(self, k: int, seed: int) -> None:
        self.check(np.array(sorted(self.oracle), dtype=np.int64), k, seed, None)

    def check(self, kept: np.ndarray, k: int, seed: int, allowed: np.ndarray | None) -> None:
        queries = unit(3, seed)
        scores, found = self.store.search(queries, k, allowed=allowed)
        n = min(k, len(kept))
        assert ((found >= 0).sum(axis=1) == n).all()
        for query, line, got in zip(queries, scores[:, :n], found[:, :n], strict=True):
            assert len(set(got.tolist())) == n
            assert set(got.tolist()) <= set(kept.tolist())
            assert (np.diff(line) <= 0).all()
            vectors = np.array([self.oracle[int(i)] for i in got]).reshape(n, D)
            np.testing.assert_allclose(line, vectors @ query, atol=2e-3)
        if n and (self.kind == "exact" or n == len(kept)):
            vectors = np.array([self.oracle[int(i)] for i in kept])
            right, _ = exactly(kept, vectors, queries, n)
            np.testing.assert_allclose(scores[:, :n], right, atol=2e-3)

    @invariant()
    def holds_the_same(self) -> None:
        if not hasattr(self, "store"):
            return
        ids = np.array(sorted(self.oracle), dtype=np.int64)
        assert self.store.ids().tolist() == ids.tolist()
        assert self.store.count() == len(ids)
        if len(ids):
            np.testing.assert_allclose(
                self.store.vectors(ids), np.array([self.oracle[int(i)] for i in ids]), atol=1e-6
            )

    def teardown(self) -> None:
        if hasattr(self, "store"):
            self.store.close()
            self.folder.cleanup()


TestSequences = Sequences.TestCase
TestSequences.settings = hypothesis_settings(max_examples=25, stateful_step_count=20, deadline=None)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    folder = tmp_path / "s"
    store = FaissStore(folder, D, kind="compressed")
    store.add(np.arange(400), unit(400))
    store.save("one")
    store.close()
    return folder


@pytest.mark.parametrize("name", ["CURRENT", "index.faiss", "vectors.f16", "ids.i64", "alive.u8"])
@pytest.mark.parametrize("harm", ["flip", "cut", "delete"])
def test_damage_is_noticed(saved: Path, name: str, harm: str) -> None:
    (path,) = [p for p in saved.rglob(name) if p.is_file()]
    data = bytearray(path.read_bytes())
    if harm == "delete":
        path.unlink()
    elif harm == "cut":
        path.write_bytes(data[: len(data) // 2])
    else:
        data[len(data) // 2] ^= 4
        path.write_bytes(data)
    if (name, harm) == ("CURRENT", "delete"):  # as if nothing had ever been saved
        assert FaissStore(saved, D).count() == 0
        return
    with pytest.raises(CorruptStoreError, match="doctor --repair"):
        FaissStore(saved, D)
    assert issubclass(CorruptStoreError, RagcoreError)


def test_another_dimension_is_refused(saved: Path) -> None:
    with pytest.raises(CorruptStoreError, match=f"{D} dimensions, not 7"):
        FaissStore(saved, 7)


def test_failed_save_keeps_the_last_state(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = FaissStore(saved, D, kind="compressed")
    store.add(np.arange(1000, 1100), unit(100))

    def full(*args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(faiss_store.generations, "_sync", full)
    with pytest.raises(OSError, match="No space"):
        store.save("two")
    monkeypatch.undo()
    assert FaissStore(saved, D).saved_tag == "one"
    store.save("two")
    again = FaissStore(saved, D)
    assert (again.saved_tag, again.count()) == ("two", 500)
    assert len(list(saved.glob("g-*"))) == 1


@pytest.mark.full
def test_killed_while_saving(tmp_path: Path) -> None:
    """SIGKILL at many moments of add-and-save: what is opened is always one of the saved states."""
    script = textwrap.dedent(
        f"""
        import sys, numpy as np
        from ragcore.vectors.faiss_store import FaissStore
        store = FaissStore(sys.argv[1], {D}, kind="compressed")
        rng = np.random.default_rng(0)
        for n in range(store.count() // 100, 10**6):
            x = rng.standard_normal(({100}, {D})).astype("f4")
            store.add(np.arange(n * 100, n * 100 + 100), x / np.linalg.norm(x, axis=1)[:, None])
            store.save(str(n + 1))
            print(n + 1, flush=True)
        """
    )
    rng = np.random.default_rng(3)
    for _ in range(8):
        run = subprocess.Popen(
            [sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE, text=True
        )
        assert run.stdout is not None
        last = int(run.stdout.readline())
        try:
            run.wait(timeout=float(rng.uniform(0, 0.4)))
        except subprocess.TimeoutExpired:
            run.kill()
        rest = run.stdout.read().split()
        last = int(rest[-1]) if rest else last
        run.wait()
        store = FaissStore(tmp_path, D)
        assert int(store.saved_tag) in (last, last + 1)
        assert store.ids().tolist() == list(range(100 * int(store.saved_tag)))
        store.close()


def test_opened_index_is_mapped_and_can_grow(saved: Path) -> None:
    store = FaissStore(saved, D, kind="compressed")
    assert store.describe()["memory_mapped"]
    n = faiss_store._tail_limit(400) + 1
    store.add(np.arange(1000, 1000 + n), unit(n, seed=3))
    assert not store.describe()["memory_mapped"]
    assert store.count() == 400 + n


def test_grows_though_another_process_saved(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faiss_store, "_tail_limit", lambda total: 50)
    one, two = (FaissStore(saved, D, kind="compressed") for _ in range(2))
    two.add(np.arange(1000, 1020), unit(20))
    two.save("two")
    one.add(np.arange(2000, 2100), unit(100, seed=8))
    assert one.count() == 500
    one.save("three")
    assert FaissStore(saved, D).count() == 500


def test_unchanged_save_writes_nothing(saved: Path) -> None:
    before = json.loads((saved / "CURRENT").read_text())["manifest"]["generation"]
    store = FaissStore(saved, D)
    store.save("one")
    assert (saved / before).is_dir()
    store.save("two")  # another tag is a change
    assert not (saved / before).exists()


def test_recall_at_ten_thousand(tmp_path: Path) -> None:
    vectors, queries = unit(10_000, dimension=96), unit(10_100, dimension=96)[10_000:]
    _, right = exactly(np.arange(10_000), vectors, queries, 10)
    for kind in ("ivf", "compressed"):
        store = FaissStore(tmp_path / kind, 96, kind=kind)
        store.add(np.arange(10_000), vectors)
        assert recall(store.search(queries, 10)[1], right) >= 0.95


def test_bad_arguments(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="dimension"):
        FaissStore(tmp_path, 0)
    with pytest.raises(ValueError, match="kind is auto, exact"):
        FaissStore(tmp_path, 4, kind="pq")  # type: ignore[arg-type]
    store = FaissStore(tmp_path, 4)
    store.close()
    with pytest.raises(ValueError, match="closed"):
        store.search(np.ones((1, 4), np.float32), 1)
