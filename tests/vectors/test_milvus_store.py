"""Milvus: the conformance suite on Milvus Lite and on a real server, and what only it does."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from ragcore.errors import RagcoreError, UsageError, VectorsUnavailable
from ragcore.testing.vectors import (
    D,
    Opener,
    VectorStoreConformance,
    exactly,
    recall,
    unit,
)
from ragcore.vectors import CorruptStoreError, milvus_connection, milvus_store
from ragcore.vectors.milvus_connection import MilvusConnection
from ragcore.vectors.milvus_store import MilvusStore
from tests.milvus_server import TOKEN, MilvusServer

pytestmark = pytest.mark.full


class _Milvus(VectorStoreConformance):
    exact = False
    transient = False

    @pytest.fixture
    def connection(self) -> MilvusConnection:
        raise NotImplementedError

    @pytest.fixture
    def open(self, connection: MilvusConnection) -> Iterator[Opener]:
        opened: list[MilvusStore] = []

        def make(folder: Path) -> MilvusStore:
            opened.append(MilvusStore(connection, f"t_{folder.name}", D))
            return opened[-1]

        yield make
        for name in {store.name for store in opened}:  # emptied: a new one takes seconds
            store = MilvusStore(connection, name, D)
            store.remove(store.ids())
            store.save()


@pytest.fixture(scope="module")
def lite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MilvusConnection]:
    connection = MilvusConnection(str(tmp_path_factory.mktemp("lite") / "milvus.db"))
    yield connection
    connection.close()


@pytest.fixture(scope="module")
def served(milvus: MilvusServer) -> Iterator[MilvusConnection]:
    connection = MilvusConnection(milvus.uri, TOKEN)
    yield connection
    connection.close()


class TestLite(_Milvus):
    @pytest.fixture
    def connection(self, lite: MilvusConnection) -> MilvusConnection:
        return lite


class TestServer(_Milvus):
    @pytest.fixture
    def connection(self, served: MilvusConnection) -> MilvusConnection:
        return served


def chosen(store: MilvusStore, ids: np.ndarray, vectors: np.ndarray, share: float) -> float:
    """Recall among allowed ids, drawn at random, against the oracle."""
    rng = np.random.default_rng(int(1000 * share))
    allowed = np.sort(rng.choice(ids, int(share * len(ids)), replace=False))
    queries = unit(10, seed=99)
    found = store.search(queries, 10, allowed)[1]
    assert set(found.ravel().tolist()) <= set(allowed.tolist())
    return recall(found, exactly(allowed, vectors[allowed], queries, 10)[1])


def test_filters_of_any_size(lite: MilvusConnection, monkeypatch: pytest.MonkeyPatch) -> None:
    """Few allowed ids are scored exactly; many are sifted from more results; and where those
    results hold too few, the rest is scored exactly after all.
    """
    store = MilvusStore(lite, "filters", D)
    ids, vectors = np.arange(3000, dtype=np.int64), unit(3000)
    store.add(ids, vectors)
    exactly_scored: list[int] = []
    search_exactly = store._search_exactly

    def spy(queries: np.ndarray, k: int, allowed: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        exactly_scored.append(len(queries))
        return search_exactly(queries, k, allowed)

    monkeypatch.setattr(store, "_search_exactly", spy)
    monkeypatch.setattr(milvus_store, "EXACT_ALLOWED", 100)
    assert chosen(store, ids, vectors, 0.03) == 1
    assert exactly_scored == [10]
    assert chosen(store, ids, vectors, 0.5) > 0.97
    assert chosen(store, ids, vectors, 0.1) > 0.97
    assert exactly_scored == [10], "sifting was enough"
    far = np.argsort(vectors @ vectors[0])[:200].astype(np.int64)  # the least like the query
    monkeypatch.setattr(milvus_store, "MOST_RESULTS", 500)
    found = store.search(vectors[:1], 10, far)[1]
    assert found.tolist() == exactly(far, vectors[far], vectors[:1], 10)[1].tolist()
    assert exactly_scored == [10, 1]


def test_more_results_than_milvus_gives(
    lite: MilvusConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(milvus_store, "MOST_RESULTS", 100)
    store = MilvusStore(lite, "many", D)
    store.add(np.arange(150), unit(150))
    assert store.ids().tolist() == list(range(150))
    assert sorted(store.search(unit(1), 150)[1][0].tolist()) == list(range(150))


def test_index_follows_the_size(lite: MilvusConnection) -> None:
    small, large = MilvusStore(lite, "small", D), MilvusStore(lite, "large", D, expected=10**7)
    for store, kind in ((small, "hnsw"), (large, "ivf_sq8")):
        store.add(np.arange(500), unit(500))
        assert store.describe()["kind"] == f"milvus {kind}"
        again = MilvusStore(lite, store.name, D)
        assert again.describe()["kind"] == f"milvus {kind}"


def test_collection_of_something_else(lite: MilvusConnection) -> None:
    MilvusStore(lite, "other", D).save("1")
    with pytest.raises(CorruptStoreError, match=r"not hold ids and vectors of 25 dimensions"):
        MilvusStore(lite, "other", D + 1)


def test_lite_serves_one_process(lite: MilvusConnection) -> None:
    script = (
        "import sys; from ragcore.vectors.milvus_connection import MilvusConnection\n"
        "MilvusConnection(sys.argv[1]).read('list_collections')"
    )
    run = subprocess.run(
        [sys.executable, "-c", script, lite.address], capture_output=True, text=True
    )
    assert run.returncode == 1
    assert "another process has it open" in run.stderr.splitlines()[-1]


def test_wrong_token(milvus: MilvusServer) -> None:
    with pytest.raises(UsageError, match="set `vectors_token`"):
        MilvusConnection(milvus.uri, "root:wrong").read("list_collections")


def test_nobody_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """One waits, and says why; those after it fail at once."""
    monkeypatch.setattr(milvus_connection, "READ_TIMEOUT", 1.0)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    connection = MilvusConnection(f"http://127.0.0.1:{port}")
    with pytest.raises(VectorsUnavailable, match=r"does not answer: .*; nothing is lost"):
        connection.read("list_collections")
    start = time.monotonic()
    with pytest.raises(VectorsUnavailable, match="nothing is lost"):
        connection.read("list_collections")
    assert time.monotonic() - start < 0.5


def test_pymilvus_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pymilvus", None)
    with pytest.raises(RagcoreError, match=r'pip install "ragcore\[milvus\]"'):
        MilvusConnection("http://127.0.0.1:1").read("list_collections")
