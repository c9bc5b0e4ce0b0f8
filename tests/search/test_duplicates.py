"""Groups of like images and equal files; decisions that are remembered."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow

from ragcore.catalog import Catalog
from ragcore.catalog.models import Collection, Document, Image
from ragcore.errors import UsageError
from ragcore.readers.images import phash, pixels_sha256
from ragcore.search.duplicates import DuplicateFinder


def image(seed: int) -> Pillow.Image:
    """An image of soft blobs: like nothing else."""
    small = np.random.default_rng(seed).integers(0, 255, (6, 6, 3), dtype=np.uint8)
    return Pillow.fromarray(small).resize((160, 160), Pillow.Resampling.BICUBIC)


def reencoded(image: Pillow.Image) -> Pillow.Image:
    buffer = io.BytesIO()
    image.resize((120, 120)).save(buffer, "JPEG", quality=40)
    return Pillow.open(buffer).convert("RGB")


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    catalog = Catalog(f"sqlite:///{tmp_path / 'c.db'}")
    catalog.create_collection("photos")
    return catalog


def add(catalog: Catalog, images: list[Pillow.Image], sha256: str = "") -> list[int]:
    collection = catalog.collection("photos").id
    ids = []
    with catalog.write() as session:
        for number, image in enumerate(images):
            document = Document(
                collection_id=collection,
                path=f"/photos/{len(ids)}-{number}-{image.size}.png",
                name=f"{number}.png",
                media_type="image/png",
                sha256=sha256,
            )
            session.add(document)
            session.flush()
            row = Image(
                document_id=document.id,
                collection_id=collection,
                ordinal=0,
                page=None,
                width=image.width,
                height=image.height,
                pixels_sha256=pixels_sha256(image),
                phash=phash(image),
            )
            session.add(row)
            session.flush()
            ids.append(row.id)
    return ids


def test_identical_and_similar_are_found_and_others_left(catalog: Catalog) -> None:
    one, two, three, four = (image(seed) for seed in range(4))
    mirrored = two.transpose(Pillow.Transpose.FLIP_LEFT_RIGHT)
    plain = [Pillow.new("RGB", (99, 99), color) for color in ("white", "#fdfdfd", "black")]
    ids = add(catalog, [one, two, one, mirrored, three, reencoded(three), four, *plain])
    groups = DuplicateFinder(catalog).images("photos")
    assert {group.image_ids for group in groups} == {
        (ids[0], ids[2]),
        (ids[1], ids[3]),
        (ids[4], ids[5]),
    }
    assert groups[0].identical
    assert groups[0].image_ids == (ids[0], ids[2])
    assert not groups[1].identical


def test_decisions_are_remembered_and_taken_back(catalog: Catalog) -> None:
    one, two = image(1), image(2)
    ids = add(catalog, [one, reencoded(one), two, two])
    duplicates = DuplicateFinder(catalog)
    duplicates.decide(ids[:2], "different")
    duplicates.decide([ids[3], ids[2]], "duplicate")
    assert not duplicates.images("photos")
    assert not DuplicateFinder(catalog).images("photos"), "another session sees them too"
    assert duplicates.forget("photos") == 2
    assert len(duplicates.images("photos")) == 2


def test_a_new_copy_opens_a_decided_group_again(catalog: Catalog) -> None:
    one = image(1)
    ids = add(catalog, [one, one])
    duplicates = DuplicateFinder(catalog)
    duplicates.decide(ids, "duplicate")
    third = add(catalog, [reencoded(one)])
    (group,) = duplicates.images("photos")
    assert group.image_ids == (*ids, *third)


def test_wrong_decisions(catalog: Catalog) -> None:
    with pytest.raises(UsageError, match="two images"):
        DuplicateFinder(catalog).decide([1, 1], "duplicate")
    with pytest.raises(UsageError, match="'duplicate' or 'different'"):
        DuplicateFinder(catalog).decide([1, 2], "perhaps")  # type: ignore[arg-type]


def test_equal_files(catalog: Catalog) -> None:
    collection = catalog.collection("photos").id
    with catalog.write() as session:
        for number, sha256 in enumerate(["a", "a", "b"]):
            session.add(
                Document(
                    collection_id=collection,
                    path=f"/docs/{number}.txt",
                    name=f"{number}.txt",
                    media_type="text/plain",
                    sha256=sha256,
                )
            )
    duplicates = DuplicateFinder(catalog)
    (group,) = duplicates.files("photos")
    assert group.paths == ("/docs/0.txt", "/docs/1.txt")
    duplicates.keep_files("photos", group.sha256)
    assert not duplicates.files("photos")
    with catalog.read() as session:
        row = session.get_one(Collection, collection)
        assert row.settings["kept_copies"] == ["a"]


def test_five_thousand_images_take_seconds(catalog: Catalog) -> None:
    """A copy is found among many; time grows with the square, so this is the size that counts."""
    from time import perf_counter

    rng = np.random.default_rng(0)
    hashes = [rng.bytes(16) for _ in range(5000)]
    hashes[4999] = hashes[17]
    from ragcore.search.duplicates import _near

    started = perf_counter()
    pairs = list(_near(np.arange(5000), hashes, 6))
    assert (17, 4999, 0) in pairs
    assert perf_counter() - started < 10


def test_the_one_to_keep_is_explained(catalog: Catalog) -> None:
    """Pixels come first, then the file's size, its date, its name."""
    import datetime as dt

    one = image(1)
    large = one.resize((320, 320), Pillow.Resampling.BICUBIC)
    ids = add(catalog, [one, large, one, one])
    day = dt.datetime(2024, 5, 2, tzinfo=dt.UTC)

    def kept(of: list[int], **files: list[object]) -> tuple[int, str]:
        with catalog.write() as session:
            for n, image_id in enumerate(ids):
                document = session.get_one(Document, session.get_one(Image, image_id).document_id)
                document.size, document.modified_at = 10, day
                document.path = f"/{'zyxw'[n]}.png"
                for name, values in files.items():
                    setattr(document, name, values[n])
        if large_too := ids[1] in of:
            (group,) = DuplicateFinder(catalog).images("photos")
        else:
            with catalog.write() as session:
                row = session.get_one(Image, ids[1])
                row.phash, row.pixels_sha256 = b"", "other"
            (group,) = DuplicateFinder(catalog).images("photos")
        assert large_too == (ids[1] in group.image_ids)
        assert group.keep is not None
        return group.keep, group.reason

    assert kept(ids) == (ids[1], "it has the most pixels")
    rest = [ids[0], ids[2], ids[3]]
    sizes: list[object] = [10, 99, 11, 10]
    of_size = (ids[2], "of those with as many pixels, its file is the largest")
    assert kept(rest, size=sizes) == of_size
    earlier: list[object] = [day, day, day, day - dt.timedelta(days=1)]
    assert kept(rest, modified_at=earlier) == (ids[3], "of equal sizes, it has the earliest date")
    assert kept(rest) == (ids[3], "all else being equal, its name comes first")
