"""Altered copies of drawn scenes (a fixed seed each, full of corners) against other scenes."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageEnhance, ImageOps

from ragcore.readers.images import phash, turned
from ragcore.search.near_duplicates import ImageCandidate, SameImage, alike_by_hash, hash_distance


def scene(seed: int) -> Image.Image:
    """An image full of corners and shades, different for every seed."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 255, (12, 16, 3), dtype=np.uint8)
    image = Image.fromarray(coarse).resize((480, 360), Image.Resampling.BICUBIC)
    pen = ImageDraw.Draw(image)
    for _ in range(60):
        x, y = int(rng.integers(0, 460)), int(rng.integers(0, 340))
        w, h = (int(v) for v in rng.integers(6, 70, 2))
        color = tuple(int(v) for v in rng.integers(0, 255, 3))
        (pen.ellipse if rng.random() < 0.5 else pen.rectangle)((x, y, x + w, y + h), fill=color)
    return image


def thumbnail(image: Image.Image) -> bytes:
    small = image.copy()
    small.thumbnail((320, 320))
    buffer = io.BytesIO()
    small.save(buffer, "WEBP", quality=80)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def candidates() -> list[ImageCandidate]:
    # equal cosines: only the images themselves distinguish them
    return [ImageCandidate(seed, 0.8, thumbnail(scene(seed))) for seed in range(8)]


def low_quality(image: Image.Image) -> Image.Image:
    buffer = io.BytesIO()
    image.resize((200, 150)).save(buffer, "JPEG", quality=20)
    return Image.open(buffer)


def banner(image: Image.Image) -> Image.Image:
    copy = image.copy()
    ImageDraw.Draw(copy).rectangle((0, 250, 480, 330), fill="white")
    return copy


def pale(image: Image.Image) -> Image.Image:
    return ImageEnhance.Color(ImageEnhance.Brightness(image).enhance(1.4)).enhance(0.3)


def combined(image: Image.Image) -> Image.Image:
    return ImageOps.mirror(banner(image).crop((40, 40, 440, 320)))


CHANGES = {
    "none": lambda image: image,
    "crop": lambda image: image.crop((60, 50, 400, 310)),
    "mirror": ImageOps.mirror,
    "quarter turn": lambda image: image.rotate(90, expand=True),
    "turned a little": lambda image: image.rotate(12),
    "colour": pale,
    "low quality": low_quality,
    "banner": banner,
    "crop, mirror and banner": combined,
}


@pytest.mark.parametrize("change", CHANGES)
def test_an_altered_copy_is_first_and_verified(
    change: str, candidates: list[ImageCandidate]
) -> None:
    best, *rest = SameImage().rank(CHANGES[change](scene(5)), candidates)
    assert best.id == 5
    assert best.verified
    assert best.score > 0.5
    assert not any(match.verified for match in rest)
    assert all(match.score < 0.5 for match in rest)


def test_the_very_image_comes_before_its_altered_copies() -> None:
    image = scene(5)
    hashes = turned(phash(image))
    kept = [("crop", 0.97), ("low quality", 0.97), ("mirror", 0.98), ("none", 1.0)]
    copies = [
        ImageCandidate(n, cosine, thumbnail(CHANGES[change](image)), phash(CHANGES[change](image)))
        for n, (change, cosine) in enumerate(kept)
    ]
    found = SameImage().rank(image, copies, hashes=hashes)
    assert [kept[match.id][0] for match in found[:2]] == ["none", "mirror"]
    assert found[0].score == 1.0
    assert all(match.verified for match in found)


def test_nothing_is_verified_for_an_image_that_is_not_there(
    candidates: list[ImageCandidate],
) -> None:
    matches = SameImage().rank(scene(99), candidates)
    assert len(matches) == len(candidates)
    assert not any(match.verified for match in matches)


def test_flat_images_match_only_by_their_hash() -> None:
    gray = Image.new("RGB", (64, 64), "gray")
    other = ImageCandidate(1, 0.99, thumbnail(gray), b"\x12" * 16)
    assert not SameImage().rank(gray, [other])[0].verified
    assert SameImage().rank(gray, [other], hashes=[b"\x12" * 16])[0].verified
    assert not SameImage().rank(gray, [other], hashes=[b"\x9e" * 16])[0].verified


def test_broken_thumbnails_and_empty_lists() -> None:
    assert SameImage().rank(scene(1), []) == []
    (match,) = SameImage().rank(scene(1), [ImageCandidate(7, 0.4, b"not an image")])
    assert match.id == 7
    assert not match.verified


def test_hash_distance_takes_the_nearer_side() -> None:
    assert hash_distance(b"\xff" * 8, b"\x00" * 8 + b"\xff" * 8) == 0
    assert hash_distance(b"\x0f" * 8, b"\x00" * 7 + b"\x01") == 31
    assert hash_distance(b"", b"\xff" * 16) == 64


@pytest.mark.shared
@pytest.mark.full
def test_originals_of_shared_copies(shared) -> None:
    """Of 24 altered copies, against their originals and unrelated photographs."""
    from ragcore.evals.image_sets import read_copies

    data = read_copies(shared / "data/images/near_duplicates")
    places = sorted({data.originals[q] for q in range(0, 800, 33)})
    stored = [
        ImageCandidate(i, 0.8, thumbnail(source.open(file)))
        for i in places
        for source, file in [data.gallery[i]]
    ]
    found = []
    for query in range(0, 800, 33):
        best = SameImage().rank(data.source.open(data.queries[query]), stored)[0]
        found.append(best.id == data.originals[query])
    assert np.mean(found) >= 0.9


@pytest.mark.parametrize("turn", [0, 90, 180, 270])
@pytest.mark.parametrize("mirrored", [False, True])
def test_hashes_suggest_turned_and_mirrored_copies(turn: int, mirrored: bool) -> None:
    stored = [phash(scene(seed)) for seed in range(8)]
    copy = scene(5).rotate(turn, expand=True)
    own = phash(ImageOps.mirror(copy) if mirrored else copy)
    assert alike_by_hash(turned(own), [b"", bytes(16), *stored])[0] == 7


def test_blank_images_are_suggested_for_nothing() -> None:
    blank = phash(Image.new("RGB", (64, 64), "white"))
    assert alike_by_hash(turned(blank), [phash(scene(1)), blank]) == []
    assert alike_by_hash((), [phash(scene(1))]) == []
