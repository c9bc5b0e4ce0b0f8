"""The lexical index follows its tables through triggers, within the same transaction."""

from __future__ import annotations

import pytest
from sqlalchemy import text, update

from ragcore.catalog import Catalog
from ragcore.catalog.documents import remove_documents, store_document
from ragcore.catalog.lexical import (
    QueryWords,
    check_lexical,
    rebuild_lexical,
    search_lexical,
)
from ragcore.catalog.models import Image, Passage

from .conftest import make_document


@pytest.fixture
def document(catalog: Catalog, collection: int) -> int:
    texts = ["the river gauge drifts slowly", "expenses are claimed within thirty days"]
    with catalog.write() as session:
        return store_document(session, collection, make_document("/a.txt", texts, images=1))[0]


def found(catalog: Catalog, collection: int, words: str, table: str = "passages") -> int:
    with catalog.read() as session:
        query = QueryWords(tuple(words.split()))
        return len(search_lexical(session, table, query, collection_id=collection, limit=10))


def problems(catalog: Catalog) -> list[str]:
    with catalog.write() as session:
        return check_lexical(session)


def test_stored_text_is_found(catalog: Catalog, collection: int, document: int) -> None:
    assert found(catalog, collection, "gauge") == 1
    assert found(catalog, collection, "gauges") == 1, "words are stemmed"
    assert found(catalog, collection, "heading") == 2, "headings count too"
    assert found(catalog, collection, "zebra") == 0
    assert found(catalog, collection, "") == 0
    assert problems(catalog) == []


def test_better_matches_come_first(catalog: Catalog, collection: int, document: int) -> None:
    with catalog.read() as session:
        hits = search_lexical(
            session,
            "passages",
            QueryWords(("river", "heading")),
            collection_id=collection,
            limit=10,
        )
    assert [score for _, score in hits] == sorted((score for _, score in hits), reverse=True)
    assert len(hits) == 2


def test_text_in_images_is_found(catalog: Catalog, collection: int, document: int) -> None:
    assert found(catalog, collection, "sign", "images") == 1
    with catalog.write() as session:
        session.execute(update(Image).values(caption="a heron at dawn"))
    assert found(catalog, collection, "heron", "images") == 1
    assert problems(catalog) == []


def test_changed_text_changes_the_index(catalog: Catalog, collection: int, document: int) -> None:
    with catalog.write() as session:
        session.execute(update(Passage).where(Passage.ordinal == 0).values(text="a zebra"))
    assert found(catalog, collection, "gauge") == 0
    assert found(catalog, collection, "zebra") == 1
    assert problems(catalog) == []


def test_removed_text_is_not_found(catalog: Catalog, collection: int, document: int) -> None:
    with catalog.write() as session:
        remove_documents(session, collection, [document])
    assert found(catalog, collection, "gauge") == 0
    assert problems(catalog) == []


def test_cascade_reaches_the_index(catalog: Catalog, collection: int, document: int) -> None:
    catalog.delete_collection("papers")
    assert found(catalog, collection, "gauge") == 0
    assert problems(catalog) == []


def test_rolled_back_text_is_not_found(catalog: Catalog, collection: int) -> None:
    def stumble() -> None:
        with catalog.write() as session:
            store_document(session, collection, make_document("/b.txt", ["aardvark"]))
            raise RuntimeError("the machine stumbles")

    with pytest.raises(RuntimeError):
        stumble()
    assert found(catalog, collection, "aardvark") == 0
    assert problems(catalog) == []


def test_collections_do_not_see_each_other(
    catalog: Catalog, collection: int, document: int
) -> None:
    other = catalog.create_collection("other").id
    assert found(catalog, other, "gauge") == 0
    assert found(catalog, collection * 10, "gauge") == 0, "a scope is no prefix of another"


def test_lost_entries_are_noticed_and_repaired(
    catalog: Catalog, collection: int, document: int
) -> None:
    lose = "DELETE FROM passages_fts"
    if catalog.engine.dialect.name == "sqlite":
        lose = "INSERT INTO passages_fts(passages_fts) VALUES('delete-all')"
    with catalog.write() as session:
        session.execute(text(lose))
    assert found(catalog, collection, "gauge") == 0
    assert problems(catalog) != []
    with catalog.write() as session:
        rebuild_lexical(session)
    assert problems(catalog) == []
    assert found(catalog, collection, "gauge") == 1


@pytest.mark.parametrize("words", ['"open', "a' | b:*", "(", "*", "\\", "x NEAR y", "\0", "ß-é"])
def test_nothing_in_a_word_is_syntax(
    catalog: Catalog, collection: int, document: int, words: str
) -> None:
    with catalog.read() as session:
        query = QueryWords((words, "gauge"), (words,))
        hits = search_lexical(session, "passages", query, collection_id=collection, limit=9)
        assert len(hits) == 1
        with pytest.raises(ValueError, match="no lexical index"):
            search_lexical(session, "documents", query, limit=1)
