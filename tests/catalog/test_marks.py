"""What people say of images: stored, filtered, counted and kept, in both databases."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import select

from ragcore.catalog import Catalog, albums, filters, marks, permits
from ragcore.catalog.documents import remove_documents, store_document, touch_document
from ragcore.catalog.filters import Filter
from ragcore.catalog.image_groups import image_groups
from ragcore.catalog.marks import ImageMarks, mark, marks_of
from ragcore.catalog.models import Document, Image
from ragcore.errors import UsageError
from ragcore.types import ImageMetadata

from .conftest import Counter, make_document

RATED = {"bridge": 4, "reef": -1, "pole": None, "scan": None}


def photo(name: str, seed: int, **change: Any) -> Any:
    """An image file with one image and a passage: the text in it."""
    new = make_document(f"/photos/{name}.jpg", [f"written on {name}"], images=1, seed=seed)
    (image,) = new.document.images
    rating = RATED.get(name)
    about = None if rating is None else ImageMetadata(rating=rating)
    image = replace(image, metadata=about, **change)
    new.document = replace(new.document, images=(image,), media_type="image/jpeg")
    return new


def image_of(catalog: Catalog, name: str) -> int:
    with catalog.read() as session:
        query = select(Image.id).join(Document, Document.id == Image.document_id)
        return session.scalars(query.where(Document.name == f"{name}.jpg")).one()


@pytest.fixture
def photos(catalog: Catalog, collection: int) -> dict[str, int]:
    """Ids of the images by name."""
    with catalog.write() as session:
        for seed, name in enumerate(RATED):
            store_document(session, collection, photo(name, seed))
    return {name: image_of(catalog, name) for name in RATED}


def said(catalog: Catalog, image_id: int) -> ImageMarks:
    with catalog.read() as session:
        return marks_of(session, [image_id]).get(image_id, ImageMarks())


def test_only_what_is_given_changes(
    catalog: Catalog, collection: int, photos: dict[str, int]
) -> None:
    bridge, reef = photos["bridge"], photos["reef"]
    with catalog.write() as session:
        assert mark(session, collection, [bridge, reef, 10**6], favorite=True) == 2
        mark(session, collection, [bridge], rating=5, note=" by the lake\n", add_tags=["Sea", "k"])
        mark(session, collection, [bridge], add_tags=["SEA"], remove_tags=["K", "none"])
    assert said(catalog, bridge) == ImageMarks(True, 5, "by the lake", ("SEA",))
    assert said(catalog, reef) == ImageMarks(favorite=True)
    with catalog.write() as session:
        mark(session, collection, [bridge, reef], favorite=False, note="")
    assert said(catalog, bridge) == ImageMarks(rating=5, tags=("SEA",))
    with catalog.read() as session:
        assert marks_of(session, [reef]) == {}, "nothing is said of it any more"


def test_only_the_collections_own_images(
    catalog: Catalog, collection: int, photos: dict[str, int], row_counts: Counter
) -> None:
    other = catalog.create_collection("other").id
    before = row_counts()
    with catalog.write() as session:
        assert mark(session, other, list(photos.values()), favorite=True, add_tags=["x"]) == 0
        album = albums.create_album(session, other, "theirs")
        assert albums.add_images(session, album, list(photos.values())) == 0
    assert row_counts() == {**before, "albums": 1}
    with catalog.write() as session:
        mark(session, collection, [photos["pole"]], note="secret")
    with permits.within(permits.Permit(frozenset({other}), "admin")), catalog.read() as session:
        assert marks_of(session, list(photos.values())) == {}


@pytest.mark.parametrize(
    ("wrong", "result"),
    [
        ({"rating": 6}, "a rating is 0 to 5, or -1 for rejected, not 6"),
        ({"note": "x" * 10_001}, "a note has at most 10,000 characters, this one 10,001"),
        ({"add_tags": ["a,b"]}, "'a,b' is no tag"),
        ({"add_tags": ["  "]}, "'' is no tag"),
        ({"remove_tags": ["x" * 101]}, "is too long: at most 100 characters"),
    ],
)
def test_what_cannot_be_is_one_line(
    catalog: Catalog, collection: int, photos: dict[str, int], wrong: dict[str, Any], result: str
) -> None:
    with catalog.write() as session, pytest.raises(UsageError, match=result):
        mark(session, collection, [photos["pole"]], **wrong)


FILTERED = {
    "favorites": ({"favorite": "yes"}, "bridge scan"),
    "the others": ({"favorite": "no"}, "pole reef"),
    "a tag": ({"tag": "meer"}, "bridge reef"),
    "two tags": ({"tag": "Meer, Brücke"}, "bridge"),
    "an album": ({"album": "best of"}, "pole scan"),
    "no such album": ({"album": "best"}, ""),
    "a person's rating": ({"rating": "2"}, "bridge"),
    "not the file's": ({"rating": "4"}, ""),
    "at least": ({"rating>=": "2"}, "bridge scan"),
    "rejected": ({"rating": "-1"}, "reef"),
    "together": ({"favorite": "yes", "album": "Best of"}, "scan"),
}


@pytest.fixture
def marked(catalog: Catalog, collection: int, photos: dict[str, int]) -> dict[str, int]:
    with catalog.write() as session:
        mark(session, collection, [photos["bridge"], photos["scan"]], favorite=True)
        mark(session, collection, [photos["bridge"]], rating=2, add_tags=["Meer", "Brücke"])
        mark(session, collection, [photos["reef"]], add_tags=["Meer"])
        mark(session, collection, [photos["scan"]], rating=5)
        album = albums.create_album(session, collection, "Best of")
        albums.add_images(session, album, [photos["scan"], photos["pole"], photos["scan"]])
        albums.create_album(session, collection, "Empty")
    return photos


@pytest.mark.parametrize(("where", "right"), FILTERED.values(), ids=FILTERED)
def test_filters(
    catalog: Catalog, collection: int, marked: dict[str, int], where: Mapping[str, str], right: str
) -> None:
    with catalog.read() as session:
        found = filters.item_ids(session, Filter.of(where), collection, "image")
        texts = filters.item_ids(session, Filter.of(where), collection, "passage")
        names = {image: name for name, image in marked.items()}
        assert " ".join(sorted(names[int(one)] for one in found)) == right
        assert len(texts) == len(found), "the text in an image goes with it"


def test_counts_to_choose_from(catalog: Catalog, collection: int, marked: dict[str, int]) -> None:
    with catalog.read() as session:
        found = filters.facets(session, collection)
        assert filters.facets(session, collection + 1)["favorite"] == {}
    assert found["favorite"] == {"yes": 2, "no": 2}
    assert found["tag"] == {"Meer": 2, "Brücke": 1}
    assert found["album"] == {"Best of": 2}
    assert found["rating"] == {"-1": 1, "2": 1, "5": 1}


def test_albums_have_an_order(catalog: Catalog, collection: int, photos: dict[str, int]) -> None:
    a, b, c, d = photos.values()

    def groups() -> dict[str, tuple[int, ...]]:
        with catalog.read() as session:
            found = image_groups(session, collection, "album", Filter())
        return {one.name: one.ids for one in found}

    with catalog.write() as session:
        album = albums.create_album(session, collection, "  Best   of ")
        assert albums.add_images(session, album, [c, a, 10**6]) == 2
        assert albums.add_images(session, album, [a, d]) == 1
    assert groups() == {"Best of": (c, a, d), "": (b,)}
    with catalog.write() as session:
        album = albums.find_album(session, collection, "Best of")
        albums.move_images(session, album, [d, a], before=c)
    assert groups()["Best of"] == (d, a, c)
    with catalog.write() as session:
        album = albums.find_album(session, collection, "Best of")
        albums.move_images(session, album, [d], None)
        assert albums.remove_images(session, album, [a, b]) == 1
        albums.rename_album(session, album, "best of")  # only the case differs
        albums.add_images(session, albums.create_album(session, collection, "Also"), [c])
    assert groups() == {"Also": (c,), "best of": (c, d), "": (b, a)}
    with catalog.read() as session:
        also, best = albums.list_albums(session, collection)
        assert (also.name, also.images, also.cover) == ("Also", 1, c)
        assert (best.name, best.images, best.cover) == ("best of", 2, c)


def test_albums_that_cannot_be(catalog: Catalog, collection: int, photos: dict[str, int]) -> None:
    with catalog.write() as session:
        album = albums.create_album(session, collection, "Best")
        albums.add_images(session, album, [photos["pole"]])
        for name, result in (("BEST", "already an album 'Best'"), (" ", "needs a name")):
            with pytest.raises(UsageError, match=result):
                albums.create_album(session, collection, name)
        with pytest.raises(UsageError, match=r"no album named 'Worst' \(known: Best\)"):
            albums.find_album(session, collection, "Worst")
        with pytest.raises(UsageError, match="is not in the album 'Best'"):
            albums.move_images(session, album, [photos["reef"]], None)
        with pytest.raises(UsageError, match="before itself"):
            albums.move_images(session, album, [photos["pole"]], before=photos["pole"])


def everything(catalog: Catalog, collection: int, image_id: int) -> None:
    with catalog.write() as session:
        mark(session, collection, [image_id], favorite=True, rating=3, note="n", add_tags=["t"])
        album = albums.create_album(session, collection, "Best")
        albums.add_images(session, album, [image_id])


ALL = ImageMarks(True, 3, "n", ("t",), ("Best",))


def test_kept_when_the_file_is_read_again_and_moved(
    catalog: Catalog, collection: int, photos: dict[str, int]
) -> None:
    everything(catalog, collection, photos["pole"])
    with catalog.write() as session:
        store_document(session, collection, photo("pole", 2))
    again = image_of(catalog, "pole")
    assert again != photos["pole"]
    assert said(catalog, again) == ALL
    with catalog.write() as session:  # moved
        document = session.scalars(select(Image.document_id).where(Image.id == again)).one()
        touch_document(session, document, photo("north", 2).file)
    assert said(catalog, image_of(catalog, "north")) == ALL


def test_kept_when_the_image_is_edited(
    catalog: Catalog, collection: int, photos: dict[str, int]
) -> None:
    everything(catalog, collection, photos["pole"])
    with catalog.write() as session:
        store_document(session, collection, photo("pole", 2, pixels_sha256="f" * 64))
    assert said(catalog, image_of(catalog, "pole")) == ALL


def test_an_image_of_a_page_keeps_them_by_its_pixels_only(
    catalog: Catalog, collection: int
) -> None:
    def book(*pixels: str) -> Any:
        new = make_document("/book.pdf", ["x"], images=len(pixels))
        found = tuple(
            replace(one, page=1, pixels_sha256=shown)
            for one, shown in zip(new.document.images, pixels, strict=True)
        )
        new.document = replace(new.document, images=found)
        return new

    def ids() -> list[int]:
        with catalog.read() as session:
            return list(session.scalars(select(Image.id).order_by(Image.id)))

    with catalog.write() as session:
        store_document(session, collection, book("a" * 64, "b" * 64))
    everything(catalog, collection, ids()[1])
    with catalog.write() as session:
        store_document(session, collection, book("c" * 64, "a" * 64, "b" * 64))
    assert [said(catalog, one) for one in ids()] == [ImageMarks(), ImageMarks(), ALL]
    with catalog.write() as session:
        store_document(session, collection, book("c" * 64, "d" * 64))
    assert [said(catalog, one) for one in ids()] == [ImageMarks(), ImageMarks()]


def test_they_go_with_the_image(
    catalog: Catalog, collection: int, photos: dict[str, int], row_counts: Counter
) -> None:
    everything(catalog, collection, photos["pole"])
    with catalog.write() as session:
        document = session.scalars(
            select(Image.document_id).where(Image.id == photos["pole"])
        ).one()
        remove_documents(session, collection, [document])
    counts = row_counts()
    assert [counts[name] for name in ("image_marks", "image_tags", "album_images")] == [0, 0, 0]
    assert counts["albums"] == 1
    with catalog.write() as session:
        album = albums.find_album(session, collection, "Best")
        albums.delete_album(session, album)
    assert row_counts()["albums"] == 0


def test_the_most_tags() -> None:
    with pytest.raises(UsageError, match="at most 100 tags"):
        marks.check_tags([f"t{n}" for n in range(101)])
    assert marks.check_tags(["a  b", "a b"]) == ("a b",)
