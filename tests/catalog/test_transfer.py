"""A catalog moved between SQLite and PostgreSQL: the same rows, ids and searches."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import delete, func, select, update

from ragcore.catalog import Catalog
from ragcore.catalog.conversations import Conversations
from ragcore.catalog.documents import remove_documents, store_document
from ragcore.catalog.lexical import QueryWords, check_lexical, search_lexical
from ragcore.catalog.models import Base, Document, Passage
from ragcore.catalog.transfer import copy_catalog
from ragcore.errors import Cancelled, RagcoreError, UsageError
from ragcore.types import CancelToken

from .conftest import make_document


@pytest.fixture
def full(catalog: Catalog, collection: int, text_space: int, image_space: int) -> Catalog:
    """A catalog with a bit of everything; the newest ids are gone again."""
    for n in range(5):
        document = make_document(
            f"/{n}.txt",
            [f"the river gauge number {n}", "Überfälle – ½ 家族"],
            images=2,
            text_space=text_space,
            image_space=image_space,
            seed=n,
        )
        with catalog.write() as session:
            last, _ = store_document(session, collection, document)
    with catalog.write() as session:
        remove_documents(session, collection, [last])
    Conversations(catalog).create("Ann", collection="papers", title="rivers")
    return catalog


@pytest.fixture
def other(full: Catalog, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Catalog]:
    """An empty catalog in the other kind of database."""
    if full.engine.dialect.name == "sqlite":
        opened = Catalog(request.getfixturevalue("postgres_url"))
    else:
        opened = Catalog(f"sqlite:///{tmp_path / 'other.db'}")
    yield opened
    opened.close()


def everything(catalog: Catalog) -> dict[str, list[tuple[object, ...]]]:
    with catalog.read() as session:
        return {
            table.name: [
                tuple(row)
                for row in session.execute(select(table).order_by(*table.primary_key.columns))
            ]
            for table in Base.metadata.sorted_tables
        }


def test_everything_comes_along(full: Catalog, other: Catalog, collection: int) -> None:
    before = everything(full)
    done = copy_catalog(full, other)
    assert everything(other) == before == everything(full)
    assert done.rows == {name: len(rows) for name, rows in before.items()}
    assert done.rows["passages"] == 8
    with other.write() as session:
        assert check_lexical(session) == []
        query = QueryWords(("gauges", "family", "überfall"))
        for catalog in (full, other):
            with catalog.read() as reading:
                hits = search_lexical(reading, "passages", query, limit=9)
            assert len(hits) == 8


def test_there_and_back_is_the_same(full: Catalog, other: Catalog, tmp_path: Path) -> None:
    third = Catalog(f"sqlite:///{tmp_path / 'third.db'}")
    there, back = copy_catalog(full, other), copy_catalog(other, third)
    assert (there.rows, there.text_sha256) == (back.rows, back.text_sha256)
    assert everything(third) == everything(full)
    third.close()


def test_ids_that_were_given_are_not_given_again(
    full: Catalog, other: Catalog, collection: int
) -> None:
    copy_catalog(full, other)
    new = make_document("/new.txt", ["new"], images=1)
    ids = []
    for catalog in (full, other):
        with catalog.write() as session:
            store_document(session, collection, new)
            ids.append(
                [session.scalar(select(func.max(table.id))) for table in (Document, Passage)]
            )
    assert ids[0] == ids[1]


def test_a_full_target_is_refused_and_left_as_it_is(full: Catalog, other: Catalog) -> None:
    other.create_collection("mine")
    before = everything(other)
    with pytest.raises(UsageError, match="holds a library already"):
        copy_catalog(full, other)
    with pytest.raises(UsageError, match="in already"):
        copy_catalog(full, full)
    assert everything(other) == before


def test_nothing_is_left_of_a_cancelled_or_wrong_copy(
    full: Catalog, other: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    cancel = CancelToken()
    with pytest.raises(Cancelled):
        copy_catalog(full, other, progress=lambda _: cancel.cancel(), cancel=cancel)
    from ragcore.catalog import transfer

    honest = transfer._copy

    def careless(old, new, table, reporter):  # type: ignore[no-untyped-def]
        digest = honest(old, new, table, reporter)
        if table.name == "passages":
            new.execute(update(Passage).where(Passage.id == 1).values(text="something else"))
        if table.name == "pages":
            new.execute(delete(table).where(table.c.number == 2))
        return digest

    monkeypatch.setattr(transfer, "_copy", careless)
    with pytest.raises(RagcoreError, match="differs from the original"):
        copy_catalog(full, other)
    assert not any(everything(other).values())
