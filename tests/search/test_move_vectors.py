"""A library's vectors move between FAISS and Milvus, and what fails changes nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from ragcore.catalog import Catalog
from ragcore.errors import RagcoreError, UsageError
from ragcore.maintenance.move import clear_vectors, fill_indexes, move_library
from ragcore.models import TextEncoder
from ragcore.search import SearchEngine, Stores
from ragcore.settings import Settings
from ragcore.types import SearchQuery

from ..shared_models import models_of

QUESTIONS = ("table football in the lounge", "why does the wing lose lift", "energy of a cell")


def hits(home: Path, encoder: TextEncoder) -> list[list[tuple[int, float]]]:
    """What searches find by the settings that are written down."""
    settings = Settings(home=home)
    catalog = Catalog(settings.catalog_url)
    stores = Stores(catalog, settings)
    engine = SearchEngine(catalog, stores, settings, models=models_of(Settings(threads=2)))
    queries = [SearchQuery(text=text, kind="passages", cutoff=0) for text in QUESTIONS]
    found = [
        [(hit.id, round(hit.score, 3)) for hit in engine.search(query).hits] for query in queries
    ]
    engine.close()
    stores.close()
    catalog.close()
    return found


def test_there_and_back(
    catalog: Catalog, library: dict[str, int], settings: Settings, encoder: TextEncoder
) -> None:
    before = hits(settings.home, encoder)
    moved = move_library(settings, vectors="there.db")
    assert moved.indexes is not None
    assert moved.indexes.counts == {"default/text": 9}
    assert moved.vectors == f"Milvus Lite in {settings.indexes / 'there.db'}"
    assert moved.left == [f"FAISS in {settings.indexes} (`ragcore move --clear faiss`)"]
    now = Settings(home=settings.home)
    assert now.vectors == "there.db"
    assert hits(settings.home, encoder) == before
    with pytest.raises(UsageError, match="already"):
        move_library(now, vectors="there.db")
    clear_vectors(now, "faiss")
    assert not (settings.indexes / "1").exists()
    back = move_library(now, vectors="faiss")
    assert back.indexes is not None
    assert back.indexes.counts == moved.indexes.counts
    then = Settings(home=settings.home)
    assert then.vectors == ""
    assert hits(settings.home, encoder) == before
    with pytest.raises(UsageError, match="move them first"):
        clear_vectors(then, "faiss")


def test_database_and_vectors_at_once(
    catalog: Catalog, library: dict[str, int], settings: Settings, encoder: TextEncoder
) -> None:
    before = hits(settings.home, encoder)
    other = f"sqlite:///{settings.home / 'other.db'}"
    moved = move_library(settings, database=other, vectors="there.db")
    assert moved.catalog is not None
    assert moved.catalog.rows["passages"] == 9
    assert len(moved.left) == 2
    assert Settings(home=settings.home).database_url == other
    assert hits(settings.home, encoder) == before


def test_a_place_that_cannot_be_used(
    catalog: Catalog,
    library: dict[str, int],
    settings: Settings,
    encoder: TextEncoder,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("ragcore.vectors.milvus_connection.READ_TIMEOUT", 0.2)
    monkeypatch.setattr("ragcore.vectors.milvus_connection.WRITE_TIMEOUT", 0.2)
    before = hits(settings.home, encoder)
    for place, reason in (("http://127.0.0.1:9", "does not answer"), ("mongo", "none of these")):
        with pytest.raises(RagcoreError, match=reason):
            move_library(settings, vectors=place)
    assert Settings(home=settings.home) == settings
    assert hits(settings.home, encoder) == before


def test_an_index_that_differs_is_refused(
    catalog: Catalog, library: dict[str, int], settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    check = Stores.check

    def careless(self: Stores, collection_id: int, space: object) -> list[str]:
        store = self.get(collection_id, space)  # type: ignore[arg-type]
        store.remove(store.ids()[:1])
        return check(self, collection_id, space)  # type: ignore[arg-type]

    monkeypatch.setattr(Stores, "check", careless)
    with pytest.raises(RagcoreError, match="lacks 1 vectors"):
        move_library(settings, vectors="there.db")
    assert Settings(home=settings.home).vectors == ""
    monkeypatch.undo()
    there = settings.model_copy(update={"vectors": "there.db"})
    assert fill_indexes(there).counts == {"default/text": 9}
