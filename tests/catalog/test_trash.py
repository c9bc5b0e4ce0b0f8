"""The trash: nothing finds what is in it, and what is put back is as it was, in both databases."""

from __future__ import annotations

import datetime as dt

import pytest
from sqlalchemy import select, update

from ragcore.catalog import Catalog, browse, filters, labels, trash
from ragcore.catalog.documents import store_document
from ragcore.catalog.embeddings import changes_since, embedding_ids, last_change
from ragcore.catalog.filters import Filter
from ragcore.catalog.integrity import check_rows
from ragcore.catalog.lexical import QueryWords, check_lexical, search_lexical
from ragcore.catalog.marks import mark, marks_of
from ragcore.catalog.models import Base, Document, Image
from ragcore.catalog.models import TrashEntry as TrashRow
from ragcore.errors import UsageError

from .conftest import Counter, make_document


@pytest.fixture
def documents(catalog: Catalog, collection: int, text_space: int, image_space: int) -> list[int]:
    ids = []
    for n in range(3):
        new = make_document(
            f"/{n}.txt", [f"the river gauge number {n}"], images=2, seed=n,
            text_space=text_space, image_space=image_space,
        )  # fmt: skip
        with catalog.write() as session:
            ids.append(store_document(session, collection, new)[0])
    with catalog.write() as session:
        images = session.scalars(select(Image.id)).all()
        mark(session, collection, images, favorite=True, add_tags=["x"])
        labels.give_label(session, collection, "c", "image", images, "yes")
        labels.store_predicted(
            session, collection, "c", "c 1", "image", [(one, "yes", 0.9) for one in images]
        )
    return ids


def found(catalog: Catalog, collection: int, text_space: int) -> dict[str, object]:
    """What anything that looks at a collection sees."""
    with catalog.read() as session:
        words = QueryWords(("gauge", "sign"))
        return {
            "documents": browse.list_documents(session, collection)[1],
            "lexical": len(
                search_lexical(session, "passages", words, limit=9, collection_id=collection)
            ),
            "signs": len(
                search_lexical(session, "images", words, limit=9, collection_id=collection)
            ),
            "vectors": len(embedding_ids(session, collection, text_space)),
            "favorites": len(filters.item_ids(session, Filter(favorite=True), collection, "image")),
            "counts": browse.statistics(session, collection).images,
            "labels": labels.label_counts(session, collection),
            "given": len(labels.given_labels(session, collection, "c")),
        }


def everything(catalog: Catalog) -> dict[str, list[tuple[object, ...]]]:
    with catalog.read() as session:
        return {
            table.name: [
                tuple(row)
                for row in session.execute(select(table).order_by(*table.primary_key.columns))
            ]
            for table in Base.metadata.sorted_tables
            if table.name not in ("changes", "collections")
        }


def test_nothing_finds_it_and_all_comes_back(
    catalog: Catalog, collection: int, documents: list[int], text_space: int
) -> None:
    before, rows = found(catalog, collection, text_space), everything(catalog)
    with catalog.write() as session:
        seq = last_change(session, collection, text_space)
        images = session.scalars(select(Image.id).where(Image.document_id == documents[0])).all()
        assert trash.put_into_trash(session, collection, [documents[0], 10**6]) == 1
    assert found(catalog, collection, text_space) == {
        "documents": 2, "lexical": 2, "signs": 4, "vectors": 2, "favorites": 4, "counts": 4,
        "labels": {"yes": 4}, "given": 4,
    }  # fmt: skip
    assert [one.name for one in catalog.collections()] == ["papers"]
    with pytest.raises(UsageError, match="no collection"):
        catalog.collection(f"/trash of {collection}")
    with catalog.read() as session:
        for look in (
            lambda: browse.get_document(session, documents[0]),
            lambda: browse.get_image(session, images[0]),
        ):
            with pytest.raises(UsageError, match="there is no"):
                look()
        assert marks_of(session, images) == {}
        assert browse.thumbnails(session, images) == {}
        (one,) = trash.list_trash(session, collection)
        assert (one.id, one.path, one.images, one.passages) == (documents[0], "/0.txt", 2, 1)
        _, added, gone = changes_since(session, collection, text_space, seq)
        assert (len(added), len(gone)) == (0, 1), "the index follows"
    assert check_rows(catalog) == []
    with catalog.write() as session:
        assert check_lexical(session) == []
        assert trash.restore(session, collection, documents) == (1, [])
        _, added, gone = changes_since(session, collection, text_space, seq)
        assert (len(added), len(gone)) == (1, 0)
    assert found(catalog, collection, text_space) == before
    assert everything(catalog) == rows
    with catalog.write() as session:
        assert check_lexical(session) == []


def test_a_new_version_takes_the_older_ones_place(
    catalog: Catalog, collection: int, documents: list[int]
) -> None:
    with catalog.write() as session:
        trash.put_into_trash(session, collection, [documents[0]])
        again, is_new = store_document(session, collection, make_document("/0.txt", ["new"]))
        assert is_new
        assert trash.restore(session, collection, [documents[0]]) == (0, ["/0.txt"])
        trash.put_into_trash(session, collection, [again])
        assert [one.id for one in trash.list_trash(session, collection)] == [again]


def test_it_is_emptied(
    catalog: Catalog, collection: int, documents: list[int], row_counts: Counter
) -> None:
    long_ago = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
    with catalog.write() as session:
        trash.put_into_trash(session, collection, documents[:2])
        session.execute(
            update(TrashRow).where(TrashRow.document_id == documents[0]).values(trashed_at=long_ago)
        )
    with catalog.write() as session:
        day = long_ago + dt.timedelta(days=1)
        assert trash.empty_trash(session, collection, before=day) == ["/0.txt"]
        assert trash.empty_trash(session, collection, document_ids=[documents[2]]) == []
        assert trash.empty_trash(session, collection) == ["/1.txt"]
    with catalog.read() as session:
        assert session.scalars(select(Document.id)).all() == [documents[2]]
    counts = row_counts()
    assert (counts["passages"], counts["images"], counts["embeddings"]) == (1, 2, 3)


def test_it_goes_with_its_collection(
    catalog: Catalog, collection: int, documents: list[int], row_counts: Counter
) -> None:
    with catalog.write() as session:
        trash.put_into_trash(session, collection, documents[:1])
    catalog.delete_collection("papers")
    counts = row_counts()
    assert {name for name, count in counts.items() if count} <= {"spaces"}
