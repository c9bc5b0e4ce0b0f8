"""Stores in Milvus: processes share them, and a server that goes away loses nothing."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ragcore.catalog import Catalog
from ragcore.catalog.documents import remove_documents
from ragcore.catalog.embeddings import add_embeddings
from ragcore.catalog.models import SpaceRow
from ragcore.errors import VectorsUnavailable
from ragcore.search import Stores
from ragcore.settings import Settings
from ragcore.vectors import MilvusBackend
from tests.milvus_server import TOKEN, MilvusServer
from tests.waiting import TIMEOUT, wait_until

from .test_stores import right, several_processes

pytestmark = pytest.mark.full


@pytest.fixture
def space(catalog: Catalog, library: dict[str, int]) -> SpaceRow:
    found = catalog.active_space(1, "text")
    assert found is not None
    return found


@pytest.fixture
def lite(settings: Settings, catalog: Catalog) -> Iterator[tuple[Stores, Stores]]:
    """Two on one Milvus Lite, as two servers of one library would be."""
    place = settings.model_copy(update={"vectors": "vectors.db"})
    both = Stores(catalog, place), Stores(catalog, place)
    yield both
    for stores in both:
        stores.close()


def unit(rows: int, dimension: int, seed: int) -> np.ndarray:
    x = np.random.default_rng(seed).standard_normal((rows, dimension)).astype(np.float32)
    return np.asarray(x / np.linalg.norm(x, axis=1, keepdims=True), np.float32)


def test_one_brings_it_up_to_date_for_all(
    lite: tuple[Stores, Stores],
    catalog: Catalog,
    space: SpaceRow,
    library: dict[str, int],
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    one, other = lite
    assert one.get(1, space).ids().tolist() == right(catalog, space)
    assert (settings.indexes / "vectors.db").is_dir(), "relative to the folder of indexes"
    store = other.get(1, space)

    def never(*_: object) -> None:
        raise AssertionError("the other process has done this")

    monkeypatch.setattr(store, "add", never)
    monkeypatch.setattr(store, "remove", never)
    with catalog.write() as session:
        add_embeddings(session, 1, space.id, [901, 902], unit(2, space.dimension, 0))
        remove_documents(session, 1, [library["/docs/science/cells.html"]])
    assert one.get(1, space).ids().tolist() == right(catalog, space)
    assert other.get(1, space).ids().tolist() == right(catalog, space)
    assert other.get(1, space).search(unit(2, space.dimension, 0), 1)[1].tolist() == [[901], [902]]


def test_index_that_was_lost_or_is_of_another_catalog(
    lite: tuple[Stores, Stores], catalog: Catalog, space: SpaceRow
) -> None:
    one, other = lite
    store = one.get(1, space)
    store.add(np.array([10**6]), unit(1, space.dimension, 1))
    store.save("999999")
    assert other.get(1, space).ids().tolist() == right(catalog, space)
    assert other.check(1, space) == []
    other.rebuild(1, space)
    assert one.get(1, space).ids().tolist() == right(catalog, space)
    other.drop(catalog.collection("default"))
    with pytest.raises(VectorsUnavailable, match="the next search makes it again"):
        one.get(1, space).search(unit(1, space.dimension, 1), 3)
    assert one.get(1, space).ids().tolist() == right(catalog, space), "made again"


def test_same_hits_as_faiss(
    lite: tuple[Stores, Stores], catalog: Catalog, space: SpaceRow, settings: Settings
) -> None:
    with catalog.write() as session:
        add_embeddings(session, 1, space.id, range(5000, 7000), unit(2000, space.dimension, 2))
    files = Stores(catalog, settings)
    queries = unit(20, space.dimension, 3)
    for allowed in (None, np.arange(5000, 5100), np.arange(0, 6500)):
        found = [one.get(1, space).search(queries, 5, allowed)[1] for one in (files, lite[0])]
        same = [len(set(a) & set(b)) / 5 for a, b in zip(*found, strict=True)]
        assert np.mean(same) > 0.98
    files.close()


@pytest.fixture
def served(settings: Settings, catalog: Catalog, milvus: MilvusServer) -> Iterator[Settings]:
    placed = settings.model_copy(update={"vectors": milvus.uri, "vectors_token": TOKEN})
    yield placed
    backend = MilvusBackend(milvus.uri, TOKEN)
    stores = Stores(catalog, placed, backend=backend)
    stores.drop(catalog.collection("default"))
    stores.close()


def test_several_processes_at_once(catalog: Catalog, space: SpaceRow, served: Settings) -> None:
    several_processes(served.home, served.vectors, served.vectors_token)
    stores = Stores(catalog, served)
    assert stores.get(1, space).ids().tolist() == right(catalog, space)
    assert len(right(catalog, space)) == 9 + 2 * 240
    stores.close()


def as_soon_as_it_answers(search: Callable[[], Any]) -> Any:
    def found() -> list[Any]:
        try:
            return [search()]
        except VectorsUnavailable:
            return []

    return wait_until(found, "the server's return", every=0.2)[0]


def test_server_killed_and_started_again(
    catalog: Catalog,
    space: SpaceRow,
    served: Settings,
    milvus: MilvusServer,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In mid-search and mid-write. Searches fail in one line while it is away, and find
    everything when it is back; what was being written arrives once.
    """
    monkeypatch.setattr("ragcore.vectors.milvus_connection.READ_TIMEOUT", 1.0)
    stores, writer = Stores(catalog, served), Stores(catalog, served)
    vectors = unit(4000, space.dimension, 4)
    stores.get(1, space)
    failures: list[VectorsUnavailable] = []
    wrong: list[BaseException] = []
    done = threading.Event()

    def look() -> None:
        while not done.is_set():
            try:
                store = stores.backend.open(stores.key(1, space))
                while not done.is_set():
                    store.search(vectors[:2], 3)
            except VectorsUnavailable as error:
                failures.append(error)
            except BaseException as error:
                wrong.append(error)
                return
            done.wait(0.05)

    def write() -> None:
        for at in range(0, 4000, 100):
            with catalog.write() as session:
                ids = range(10_000 + at, 10_100 + at)
                add_embeddings(session, 1, space.id, ids, vectors[at : at + 100])
            writer.refresh(1)
            if at == 800:
                written.set()

    written = threading.Event()
    threads = [threading.Thread(target=work, daemon=True) for work in (look, write)]
    with caplog.at_level(logging.WARNING):
        for thread in threads:
            thread.start()
        try:
            assert written.wait(TIMEOUT)
            milvus.kill()
            wait_until(lambda: failures or wrong, "a search's notice of the outage")
            milvus.start()
            threads[1].join(timeout=TIMEOUT)
            sample = vectors[::20]
            found = as_soon_as_it_answers(lambda: stores.get(1, space).search(sample, 1))
        finally:
            done.set()
        threads[0].join(timeout=TIMEOUT)
    assert not wrong
    assert all("\n" not in str(error) for error in failures)
    assert stores.get(1, space).ids().tolist() == right(catalog, space)
    assert (found[1][:, 0] == np.arange(10_000, 14_000, 20)).mean() > 0.99
    assert "does not answer" in caplog.text
    assert "answers again" in caplog.text
    stores.close()
    writer.close()


def test_ingest_goes_on_without_the_server(
    catalog: Catalog,
    space: SpaceRow,
    settings: Settings,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("ragcore.vectors.milvus_connection.READ_TIMEOUT", 0.2)
    away = settings.model_copy(update={"vectors": "http://127.0.0.1:9"})
    stores = Stores(catalog, away)
    stores.refresh(1)
    assert "the vectors of new documents follow later: Milvus at" in caplog.text
    with pytest.raises(VectorsUnavailable):
        stores.get(1, space)
    assert "does not answer" in stores.check(1, space)[0]
    stores.close()
