"""All images of a collection in groups, in both databases."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace

import pytest
from sqlalchemy import select

from ragcore.catalog import Catalog, labels, permits
from ragcore.catalog.documents import store_document
from ragcore.catalog.filters import Filter
from ragcore.catalog.image_groups import GroupBy, image_groups
from ragcore.catalog.models import Image
from ragcore.errors import UsageError
from ragcore.types import ImageMetadata

from .conftest import make_document

TAKEN = {  # the documents' own time is November 2023
    "/a/one.jpg": ImageMetadata(taken_at=dt.datetime(2024, 5, 31, 23, 59), place="Bern, BE, CH"),
    "/a/two.jpg": ImageMetadata(taken_at=dt.datetime(2024, 5, 1), place="Aarau, AG, CH"),
    "/b/three.jpg": ImageMetadata(taken_at=dt.datetime(2020, 1, 1)),
    "/b/four.pdf": None,
}


@pytest.fixture
def images(catalog: Catalog, collection: int) -> dict[int, str]:
    """Names of the images' files by id."""
    with catalog.write() as session:
        for seed, (path, about) in enumerate(TAKEN.items()):
            new = make_document(path, ["x"], images=1, seed=seed)
            (image,) = new.document.images
            new.document = replace(new.document, images=(replace(image, metadata=about),))
            store_document(session, collection, new)
    with catalog.write() as session:
        ids = session.scalars(select(Image.id).order_by(Image.id)).all()
        result = [(ids[0], "cat", 0.9), (ids[1], "dog", 0.6)]
        labels.store_predicted(session, collection, "pets", "pets 1", "image", result)
        labels.store_predicted(
            session, collection, "size", "size 1", "image", [(ids[0], "large", 0.95)]
        )
    return dict(zip(ids, (path.rpartition("/")[2] for path in TAKEN), strict=True))


@pytest.mark.parametrize(
    ("by", "right"),
    [
        ("month", {"2024-05": "one two", "2023-11": "four", "2020-01": "three"}),
        ("folder", {"/a": "one two", "/b": "four three"}),
        ("place", {"Aarau, AG, CH": "two", "Bern, BE, CH": "one", "": "four three"}),
        ("label", {"dog": "two", "large": "one", "": "four three"}),
    ],
)
def test_groups(
    catalog: Catalog, collection: int, images: dict[int, str], by: GroupBy, right: dict[str, str]
) -> None:
    with catalog.read() as session:
        found = image_groups(session, collection, by, Filter())
    shown = {one.name: " ".join(name.partition(".")[0] for name in one.names) for one in found}
    assert list(shown.items()) == list(right.items())
    assert [images[one] for group in found for one in group.ids] == [
        name for group in found for name in group.names
    ]


def test_filters_narrow_the_groups(
    catalog: Catalog, collection: int, images: dict[int, str]
) -> None:
    with catalog.read() as session:
        found = image_groups(session, collection, "place", Filter(taken="2024", name="*.jpg"))
        assert image_groups(session, collection, "month", Filter(camera="none")) == []
    assert [(one.name, one.names) for one in found] == [
        ("Aarau, AG, CH", ("two.jpg",)), ("Bern, BE, CH", ("one.jpg",)),
    ]  # fmt: skip


def test_readers_see_no_folders(catalog: Catalog, collection: int, images: dict[int, str]) -> None:
    permit = permits.Permit(frozenset({collection}), "read", key_id=None)
    with permits.within(permit), catalog.read() as session:
        (only,) = image_groups(session, collection, "folder", Filter())
    assert only.name == ""
    assert len(only.ids) == len(TAKEN)


def test_an_unknown_group_is_one_line(catalog: Catalog, collection: int) -> None:
    with catalog.read() as session, pytest.raises(UsageError, match="grouped by month, folder"):
        image_groups(session, collection, "colour", Filter())  # type: ignore[arg-type]
