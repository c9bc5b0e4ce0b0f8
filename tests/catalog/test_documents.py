"""Storing, replacing and removing documents as units of work."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sqlalchemy import select

from ragcore.catalog import Catalog, FileState
from ragcore.catalog.documents import (
    known_files,
    remove_documents,
    store_document,
    store_documents,
    store_failure,
    touch_document,
)
from ragcore.catalog.embeddings import load_embeddings
from ragcore.catalog.models import Document, DocumentPage, Image, Passage

from .conftest import Counter, make_document


def test_document_is_stored_whole(catalog: Catalog, collection: int, text_space: int) -> None:
    new = make_document("/a.txt", ["first page", "second page"], text_space=text_space)
    with catalog.write() as session:
        document_id, is_new = store_document(session, collection, new)
    assert is_new
    with catalog.read() as session:
        row = session.get_one(Document, document_id)
        assert (row.title, row.state, row.page_count, row.passage_count) == ("a.txt", "ready", 2, 2)
        assert row.details == {"author": "Ada"}
        pages = session.scalars(select(DocumentPage).order_by(DocumentPage.number)).all()
        text = "\f".join(page.text for page in pages)
        for passage in session.scalars(select(Passage)):
            assert text[passage.start : passage.end] == passage.text
        assert [page.start for page in pages] == [0, len("first page") + 1]


def test_update_keeps_the_documents_id_and_nothing_else(
    catalog: Catalog, collection: int, text_space: int, image_space: int, row_counts: Counter
) -> None:
    spaces = {"text_space": text_space, "image_space": image_space}
    with catalog.write() as session:
        first, _ = store_document(
            session, collection, make_document("/a.txt", ["x", "y", "z"], images=2, **spaces)
        )
        old = set(session.scalars(select(Passage.id)))
    with catalog.write() as session:
        again, is_new = store_document(
            session, collection, make_document("/a.txt", ["new"], images=1, seed=5, **spaces)
        )
    assert (again, is_new) == (first, False)
    with catalog.read() as session:
        assert old.isdisjoint(session.scalars(select(Passage.id)))
    counts = row_counts()
    assert counts["documents"] == counts["passages"] == counts["images"] == counts["pages"] == 1
    assert counts["thumbnails"] == 1
    assert counts["embeddings"] == 2


def test_a_batch_is_stored_as_its_documents_one_by_one(
    catalog: Catalog, collection: int, text_space: int, image_space: int
) -> None:
    spaces = {"text_space": text_space, "image_space": image_space}
    old = make_document("/b.txt", ["old"], images=2, seed=9, **spaces)
    with catalog.write() as session:
        known, _ = store_document(session, collection, old)
    batch = [
        make_document("/a.txt", ["one", "two"], seed=1, **spaces),
        make_document("/b.txt", ["new", "newer"], images=1, seed=2, **spaces),
        make_document("/c.txt", [], images=2, seed=3, **spaces),
        make_document("/d.txt", ["last"], images=1, seed=4),  # embedded in no space
        make_document("/e.txt", ["end"], images=1, seed=5, **spaces),
    ]
    with catalog.write() as session:
        stored = store_documents(session, collection, batch)
    assert [is_new for _, is_new in stored] == [True, False, True, True, True]
    assert stored[1][0] == known
    with catalog.read() as session:
        for (document_id, _), new in zip(stored, batch, strict=True):
            assert session.get_one(Document, document_id).path == new.file.path
            for table, space, vectors in (
                (Passage, text_space, new.passage_vectors),
                (Image, image_space, new.image_vectors),
            ):
                rows = session.scalars(
                    select(table).where(table.document_id == document_id).order_by(table.ordinal)
                ).all()
                wanted = new.passages if table is Passage else new.document.images
                assert [row.text for row in rows] == [one.text for one in wanted]
                ids = np.array([row.id for row in rows], dtype=np.int64)
                found = dict(
                    pair
                    for part in load_embeddings(session, space, ids)
                    for pair in zip(part[0].tolist(), part[1], strict=True)
                )
                assert len(found) == len(vectors.get(space, ()))
                for row, vector in zip(rows, vectors.get(space, ()), strict=False):
                    np.testing.assert_allclose(found[row.id], vector, atol=1e-3)


def test_nothing_is_stored_when_the_unit_of_work_fails(
    catalog: Catalog, collection: int, text_space: int, row_counts: Counter
) -> None:
    before = row_counts()
    document = make_document("/a.txt", ["one", "two"], text_space=text_space)
    document.passage_vectors = {text_space: document.passage_vectors[text_space][:1]}
    with pytest.raises(ValueError, match="2 ids for 1 vectors"), catalog.write() as session:
        store_document(session, collection, document)
    assert row_counts() == before


def test_same_path_in_two_collections_is_two_documents(catalog: Catalog, collection: int) -> None:
    other = catalog.create_collection("other").id
    with catalog.write() as session:
        ids = {
            store_document(session, where, make_document("/a.txt", ["x"]))[0]
            for where in (collection, other)
        }
    assert len(ids) == 2
    assert catalog.document_counts() == {collection: 1, other: 1}


def test_removal_is_complete_and_within_the_collection(
    catalog: Catalog, collection: int, text_space: int, image_space: int, row_counts: Counter
) -> None:
    other = catalog.create_collection("other").id
    with catalog.write() as session:
        document, _ = store_document(
            session,
            collection,
            make_document(
                "/a.txt", ["x"], images=1, text_space=text_space, image_space=image_space
            ),
        )
    with catalog.write() as session:
        assert remove_documents(session, other, [document]) == 0
    assert row_counts()["passages"] == 1
    with catalog.write() as session:
        assert remove_documents(session, collection, [document, document, 999]) == 1
    counts = row_counts()
    for table in ("documents", "pages", "passages", "images", "thumbnails", "embeddings"):
        assert counts[table] == 0, table


def test_failure_of_a_new_file(catalog: Catalog, collection: int) -> None:
    file = FileState("/bad.pdf", "bad.pdf", 10, 20, "f" * 64)
    with catalog.write() as session:
        store_failure(session, collection, file, "it is broken")
    with catalog.read() as session:
        row = session.scalars(select(Document)).one()
        assert (row.state, row.error, row.size) == ("failed", "it is broken", 10)
        assert known_files(session, collection)["/bad.pdf"].state == "failed"


def test_failure_of_a_known_file_keeps_its_last_version(
    catalog: Catalog, collection: int, row_counts: Counter
) -> None:
    new = make_document("/a.txt", ["x", "y"])
    changed = replace(new.file, size=999, mtime_ns=5, sha256="e" * 64)
    with catalog.write() as session:
        store_document(session, collection, new)
    with catalog.write() as session:
        store_failure(session, collection, changed, "now it is broken")
    with catalog.read() as session:
        row = session.scalars(select(Document)).one()
        assert (row.state, row.error) == ("stale", "now it is broken")
        assert row.size == new.file.size, "a stale document must be read again next time"
    assert row_counts()["passages"] == 2
    with catalog.write() as session:
        store_document(session, collection, new)
    with catalog.read() as session:
        row = session.scalars(select(Document)).one()
        assert (row.state, row.error) == ("ready", "")


def test_renamed_file_keeps_its_content(
    catalog: Catalog, collection: int, image_space: int, row_counts: Counter
) -> None:
    new = make_document("/a.txt", ["x"], images=1, image_space=image_space)
    with catalog.write() as session:
        document, _ = store_document(session, collection, new)
    before = row_counts()
    with catalog.write() as session:
        touch_document(session, document, replace(new.file, path="/b/c.txt", name="c.txt"))
    assert row_counts() == before
    with catalog.read() as session:
        assert set(known_files(session, collection)) == {"/b/c.txt"}
        assert session.scalars(select(Image.name)).one() == "c.txt"
        # A title that was only the file's name follows it; hits must show the present name.
        assert session.get_one(Document, document).title == "c.txt"


def test_renaming_where_another_run_was_quicker(catalog: Catalog, collection: int) -> None:
    old, new = make_document("/old.txt", ["x"]), make_document("/new.txt", ["x"])
    with catalog.write() as session:
        lost, _ = store_document(session, collection, old)
        found, _ = store_document(session, collection, new)
    with catalog.write() as session:
        touch_document(session, lost, new.file)
        touch_document(session, 999, new.file)
    with catalog.read() as session:
        assert {known.id for known in known_files(session, collection).values()} == {found}


def test_ten_thousand_ids_are_removed_in_one_call(
    catalog: Catalog, collection: int, row_counts: Counter
) -> None:
    with catalog.write() as session:
        session.add_all(
            Document(collection_id=collection, path=f"/{n}", name=str(n)) for n in range(10_500)
        )
    with catalog.write() as session:
        ids = list(session.scalars(select(Document.id)))
        assert remove_documents(session, collection, ids) == 10_500
    assert row_counts()["documents"] == 0
