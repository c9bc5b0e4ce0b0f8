"""The lexical index follows its tables through triggers, within the same transaction."""

from __future__ import annotations

import pytest
from sqlalchemy import text, update

from ragcore.catalog import Catalog
from ragcore.catalog.documents import remove_documents, store_document
from ragcore.catalog.lexical import check_lexical, rebuild_lexical, search_lexical
from ragcore.catalog.models import Image, Passage
from ragcore.errors import RagcoreError

from .conftest import make_document


@pytest.fixture
def document(catalog: Catalog, collection: int) -> int:
    texts = ["the river gauge drifts slowly", "expenses are claimed within thirty days"]
    with catalog.write() as session:
        return store_document(session, collection, make_document("/a.txt", texts, pictures=1))[0]


def found(catalog: Catalog, collection: int, words: str, table: str = "passages") -> int:
    with catalog.read() as session:
        return len(search_lexical(session, table, words, collection_id=collection, limit=10))


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
            session, "passages", "river OR heading", collection_id=collection, limit=10
        )
    assert [score for _, score in hits] == sorted((score for _, score in hits), reverse=True)
    assert len(hits) == 2


def test_text_in_pictures_is_found(catalog: Catalog, collection: int, document: int) -> None:
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


def test_lost_entries_are_noticed_and_mended(
    catalog: Catalog, collection: int, document: int
) -> None:
    with catalog.write() as session:
        session.execute(text("INSERT INTO passages_fts(passages_fts) VALUES('delete-all')"))
    assert found(catalog, collection, "gauge") == 0
    assert problems(catalog) != []
    with catalog.write() as session:
        rebuild_lexical(session)
    assert problems(catalog) == []
    assert found(catalog, collection, "gauge") == 1


def test_malformed_query_is_our_error(catalog: Catalog, collection: int, document: int) -> None:
    with catalog.read() as session, pytest.raises(RagcoreError, match="lexical search failed"):
        search_lexical(session, "passages", '"open', collection_id=collection, limit=1)
    with catalog.read() as session, pytest.raises(ValueError, match="no lexical index"):
        search_lexical(session, "documents", "x", collection_id=collection, limit=1)
