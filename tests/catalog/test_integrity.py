"""What the doctor finds wrong with a catalog itself, and repairs."""

from __future__ import annotations

from sqlalchemy import insert, select, text

from ragcore.catalog import Catalog, integrity
from ragcore.catalog.documents import store_document
from ragcore.catalog.models import Collection, Conversation, Document

from .conftest import make_document


def test_a_sound_catalog(catalog: Catalog, collection: int, text_space: int) -> None:
    with catalog.write() as session:
        store_document(session, collection, make_document("/a", ["x"], text_space=text_space))
    assert integrity.check_database(catalog) == []
    assert integrity.check_lexical(catalog) == []
    assert integrity.check_rows(catalog) == []


def test_wrong_counts_are_put_right(catalog: Catalog, collection: int) -> None:
    with catalog.write() as session:
        store_document(session, collection, make_document("/a", ["x", "y"]))
        session.execute(text("UPDATE documents SET passage_count = 9"))
    assert integrity.check_rows(catalog) == ["1 documents count their passages wrongly"]
    integrity.repair_rows(catalog)
    assert integrity.check_rows(catalog) == []
    with catalog.read() as session:
        assert session.scalar(select(Document.passage_count)) == 2


def test_numbers_after_rows_that_were_put_in_by_hand(catalog: Catalog) -> None:
    taken = {"id": 7, "owner": "Ann", "collection": "papers"}
    with catalog.write() as session:
        session.execute(insert(Conversation), [taken])
    behind = integrity.check_rows(catalog)
    if catalog.engine.dialect.name == "sqlite":
        assert behind == [], "SQLite notes the number itself"
    else:
        assert behind == ["numbers of conversations would be given a second time"]
    integrity.repair_rows(catalog)
    assert integrity.check_rows(catalog) == []
    with catalog.write() as session:
        row = Conversation(owner="Ann", collection="papers")
        session.add(row)
        session.flush()
        assert row.id == 8
        assert session.scalar(select(Collection.id)) is None
