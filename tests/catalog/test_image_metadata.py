"""How images were taken: stored, filtered and counted in both databases, and read again."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import func, select, update

from ragcore.catalog import Catalog, filters, image_metadata
from ragcore.catalog.documents import store_document
from ragcore.catalog.filters import Filter
from ragcore.catalog.models import Document, Image, ImageKeyword, ImageMetadataRow
from ragcore.types import ImageMetadata

from .conftest import make_document

PHOTOS = {
    "bridge": ImageMetadata(
        taken_at=dt.datetime(2024, 5, 1, 0, 30), utc_offset=120, taken_from="exif",
        camera="Canon EOS R6", lens="RF 24-70mm", focal_length=50.0, exposure=0.008, aperture=2.8,
        iso=400, latitude=47.0505, longitude=8.3064, place="Luzern, Lucerne, CH", rating=4,
        keywords=("Bridge", "K\xc4SE"), caption="the bridge", orientation=6,
    ),
    "reef": ImageMetadata(
        taken_at=dt.datetime(2023, 12, 31, 23, 59), taken_from="name", camera="Pixel 8",
        latitude=-18.0, longitude=-179.9, rating=-1, keywords=("bridge", "sea"),
    ),
    "pole": ImageMetadata(
        taken_at=dt.datetime(1956, 1, 2), taken_from="sidecar", latitude=89.9, longitude=-60.0,
    ),
    "scan": ImageMetadata(camera="50%_off", rating=1),
    "bare": None,
}  # fmt: skip


@pytest.fixture
def photos(catalog: Catalog, collection: int, text_space: int, image_space: int) -> dict[str, int]:
    """Ids of the images by name. Each file has one image, and a passage: the text in it."""
    ids = {}
    for seed, (name, about) in enumerate(PHOTOS.items()):
        new = make_document(
            f"/photos/{name}.jpg", [f"written on {name}"], images=1, seed=seed,
            text_space=text_space, image_space=image_space,
        )  # fmt: skip
        (image,) = new.document.images
        image = replace(image, metadata=about)
        new.document = replace(new.document, images=(image,), media_type="image/jpeg")
        with catalog.write() as session:
            document_id, _ = store_document(session, collection, new)
            ids[name] = session.scalars(
                select(Image.id).where(Image.document_id == document_id)
            ).one()
    return ids


def test_what_is_stored_is_read_back(catalog: Catalog, photos: dict[str, int]) -> None:
    with catalog.read() as session:
        found = image_metadata.metadata_of(session, list(photos.values()))
    assert found == {photos[name]: about for name, about in PHOTOS.items() if about is not None}


FOUND: list[tuple[Mapping[str, str], str]] = [
    ({"taken": "2024"}, "bridge"),
    ({"taken": "2024-05-01"}, "bridge"),  # by the clock there, not by UTC
    ({"taken": "2024-04-30"}, ""),
    ({"taken>=": "2023-12-31"}, "bridge reef"),
    ({"taken<=": "2023"}, "pole reef"),
    ({"taken": "1950..2023-12"}, "pole reef"),
    (Filter(taken_after=dt.date(2023, 1, 1), taken_before=dt.date(2024, 1, 1)), "reef"),
    ({"camera": "canon"}, "bridge"),
    ({"camera": "%"}, "scan"),
    ({"lens": "24-70"}, "bridge"),
    ({"place": "lucerne"}, "bridge"),
    ({"place": "CH"}, "bridge"),
    ({"rating": "4"}, "bridge"),
    ({"rating>=": "1"}, "bridge scan"),
    ({"rating<=": "3"}, "reef scan"),
    (Filter(rating=-1), "reef"),
    ({"keyword": "bridge"}, "bridge reef"),
    ({"keyword": "bridge, sea"}, "reef"),
    ({"keyword": "bri"}, ""),
    (Filter(keyword=("K\xc4SE", "BRIDGE")), "bridge"),
    ({"near": "47.05,8.3,5"}, "bridge"),
    ({"near": "47.05,8.3,0.1"}, ""),
    ({"near": "-18,179.9,30"}, "reef"),  # over the date line
    ({"near": "89.9,120,30"}, "pole"),  # over the pole
    (Filter(near=(0.0, 0.0, 20_100.0)), "bridge pole reef"),
    ({"camera": "Canon", "path": "/photos"}, "bridge"),
    ({"camera": "Canon", "name": "reef"}, ""),
]


def test_filters(catalog: Catalog, collection: int, photos: dict[str, int]) -> None:
    names = {image_id: name for name, image_id in photos.items()}
    with catalog.read() as session:
        for where, right in FOUND:
            chosen = Filter.of(where)
            found = filters.item_ids(session, chosen, collection, "image").tolist()
            passages = filters.item_ids(session, chosen, collection, "passage")
            documents = filters.documents_in(session, chosen, collection)
            assert sorted(names[one] for one in found) == right.split(), where
            assert len(passages) == len(found), "the text in an image goes with it"
            assert sorted(one.name.removesuffix(".jpg") for one in documents) == right.split()
        both = Filter(near=(47.05, 8.3, 5), rating_min=4, name="bridge", page=(1, 9))
        # an image file has no page; what is written in it stands on page 1
        assert not len(filters.item_ids(session, both, collection, "image"))
        assert len(filters.item_ids(session, both, collection, "passage")) == 1


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("near", "47,8"), ("near", "91,0,5"), ("near", "47,8,-1"), ("near", "nan,0,1"),
        ("near", "0,0,inf"), ("rating", "6"), ("rating", "4.5"), ("keyword", ", ,"),
        ("taken", "1.5.2024"),
    ],
)  # fmt: skip
def test_bad_values_are_one_line(key: str, value: str) -> None:
    from ragcore.errors import UsageError

    with pytest.raises(UsageError, match="write "):
        Filter.of({key: value})


def test_facets_count_images(catalog: Catalog, collection: int, photos: dict[str, int]) -> None:
    with catalog.read() as session:
        facets = filters.facets(session, collection)
    assert facets["camera"] == {"50%_off": 1, "Canon EOS R6": 1, "Pixel 8": 1}
    assert facets["lens"] == {"RF 24-70mm": 1}
    assert facets["place"] == {"Luzern, Lucerne, CH": 1}
    assert facets["rating"] == {"-1": 1, "1": 1, "4": 1}
    assert facets["taken"] == {"1956": 1, "2023": 1, "2024": 1}
    assert facets["keyword"] == {"Bridge": 1, "K\xc4SE": 1, "bridge": 1, "sea": 1}


def test_metadata_goes_with_its_image(
    catalog: Catalog, collection: int, photos: dict[str, int]
) -> None:
    new = make_document("/photos/bridge.jpg", ["again"], images=1, seed=77)
    with catalog.write() as session:
        store_document(session, collection, new)
    with catalog.read() as session:
        assert image_metadata.metadata_of(session, [photos["bridge"]]) == {}
        for table in (ImageMetadataRow, ImageKeyword):
            here = table.image_id == photos["bridge"]
            assert session.scalar(select(func.count()).select_from(table).where(here)) == 0


def test_reading_again_changes_what_is_other(
    catalog: Catalog, collection: int, photos: dict[str, int]
) -> None:
    again: dict[int, Any] = {photos[name]: about for name, about in PHOTOS.items()}
    again[photos["bare"]] = ImageMetadata(rating=5, caption="a caption", keywords=("b", "a"))
    again[photos["scan"]] = replace(PHOTOS["scan"], caption="of the scan")  # type: ignore[type-var]
    again[photos["reef"]] = replace(PHOTOS["reef"], caption="of the reef")  # type: ignore[type-var]
    again[999_999] = ImageMetadata(rating=5)
    with catalog.write() as session:
        for name, (caption, by) in {"scan": ("mine", ""), "reef": ("a model's", "a model")}.items():
            here = Image.id == photos[name]
            session.execute(update(Image).where(here).values(caption=caption, caption_by=by))
    with catalog.write() as session:
        assert image_metadata.refresh(session, collection, again) == 3
    with catalog.write() as session:
        assert image_metadata.refresh(session, collection, again) == 0
    with catalog.read() as session:
        captions = {
            name: (caption, by)
            for name, caption, by in session.execute(
                select(Document.name, Image.caption, Image.caption_by).join(Image)
            )
        }
        found = filters.item_ids(session, Filter(keyword="a", rating=5), collection, "image")
    assert found.tolist() == [photos["bare"]]
    assert captions["bare.jpg"] == ("a caption", "")
    assert captions["scan.jpg"] == ("mine", ""), "what a person wrote stays"
    assert captions["reef.jpg"] == ("of the reef", ""), "a model's gives way"


def test_image_files_are_those_without_a_page(
    catalog: Catalog, collection: int, photos: dict[str, int]
) -> None:
    with catalog.write() as session:
        new = make_document("/report.pdf", ["text"], images=2, seed=50)
        store_document(session, collection, new)
    with catalog.read() as session:
        files = image_metadata.image_files(session, collection)
    assert [(one.image_id, one.file.name) for one in files] == [
        (photos[name], f"{name}.jpg") for name in PHOTOS
    ]
