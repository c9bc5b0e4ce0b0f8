"""Lists, facets, counts."""

from __future__ import annotations

import pytest

from ragcore.catalog import Catalog, FileState, browse, filters
from ragcore.catalog.documents import store_document, store_failure
from ragcore.catalog.models import Image
from ragcore.errors import UsageError

from .conftest import make_document


@pytest.fixture
def stocked(catalog: Catalog, collection: int, text_space: int, image_space: int) -> int:
    spaces = {"text_space": text_space, "image_space": image_space}
    with catalog.write() as session:
        for number, name in enumerate(("b", "a", "c")):
            document = make_document(
                f"/notes/{name}.txt", ["x"] * (number + 1), images=number, seed=number, **spaces
            )
            store_document(session, collection, document)
        store_failure(session, collection, FileState("/bad.pdf", "bad.pdf", 7, 8), "broken")
    return collection


def names(catalog: Catalog, collection: int, **how: object) -> tuple[list[str], int]:
    with catalog.read() as session:
        rows, total = browse.list_documents(session, collection, **how)  # type: ignore[arg-type]
        return [row.name for row in rows], total


def test_documents_are_listed_in_pages(catalog: Catalog, stocked: int) -> None:
    assert names(catalog, stocked) == (["a.txt", "b.txt", "bad.pdf", "c.txt"], 4)
    assert names(catalog, stocked, limit=1, offset=1) == (["b.txt"], 4)
    assert names(catalog, stocked, order="pages", limit=1)[0] == ["c.txt"]
    assert names(catalog, stocked, state="failed") == (["bad.pdf"], 1)
    assert names(catalog, stocked, search="NOTES/") == (["a.txt", "b.txt", "c.txt"], 3)
    assert names(catalog, stocked, search="%") == ([], 0), "a search is no pattern"
    with pytest.raises(UsageError, match="ordered by name"):
        names(catalog, stocked, order="colour")


def test_documents_and_images_that_meet_filters(catalog: Catalog, stocked: int) -> None:
    def met(**given: str) -> list[str]:
        where = filters.documents_with(filters.Filter(**given), stocked)
        return names(catalog, stocked, where=where)[0]

    assert met(name="b") == ["b.txt", "bad.pdf"]
    assert met(name="b", type="text/plain") == ["b.txt"]
    assert met(page="3") == ["c.txt"], "of the three, the only one with a passage there"
    assert met(page="3", name="b") == []
    with catalog.read() as session:
        ids = filters.items(filters.Filter(name="c"), stocked, Image)
        assert {one.path for one in browse.list_images(session, stocked, ids=ids)} == {
            "/notes/c.txt"
        }
        assert len(browse.list_images(session, stocked)) == 3


def test_statistics_count_everything(catalog: Catalog, stocked: int) -> None:
    with catalog.read() as session:
        counts = browse.statistics(session, stocked)
        facets = filters.facets(session, stocked)
        years = browse.years(session, stocked)
        folders = browse.folders(session, stocked)
    assert (counts.documents, counts.pages, counts.passages, counts.images) == (3, 6, 6, 3)
    assert counts.states == {"ready": 3, "failed": 1}
    assert counts.spaces == {"words@1": 6, "images@1": 3}
    assert (facets["type"], facets["incomplete"]) == ({"text/plain": 3}, {"no": 3})
    assert facets["path"] == folders
    assert years == {"2023": 3}
    assert folders == {"/": 1, "/notes": 3}


def test_statistics_of_an_empty_collection(catalog: Catalog, collection: int) -> None:
    with catalog.read() as session:
        counts = browse.statistics(session, collection)
    assert (counts.documents, counts.bytes, counts.types) == (0, 0, {})


def test_pages_images_and_thumbnails(catalog: Catalog, stocked: int) -> None:
    with catalog.read() as session:
        document = browse.list_documents(session, stocked, search="c.txt")[0][0]
        assert [page.number for page in browse.document_pages(session, document.id)] == [1, 2, 3]
        assert browse.get_page(session, document.id, 2).text == "x"
        with pytest.raises(UsageError, match="has no page 9: it has 3"):
            browse.get_page(session, document.id, 9)
        images = browse.list_images(session, stocked, document_id=document.id)
        assert len(images) == 2
        assert browse.thumbnail(session, images[0].id) == b"webp"
        assert set(browse.thumbnails(session, [images[0].id, 999])) == {images[0].id}
        assert browse.get_image(session, images[1].id).text == "sign number 1"


@pytest.mark.parametrize("look", [browse.get_document, browse.get_image, browse.thumbnail])
def test_what_is_not_there_is_a_usage_error(catalog: Catalog, look: object) -> None:
    with catalog.read() as session, pytest.raises(UsageError, match="there is no"):
        look(session, 999)  # type: ignore[operator]
