"""Images at the boundary: whatever comes in, an upright RGB image or one clear line."""

from __future__ import annotations

import io
import json
import struct
import time
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from ragcore.errors import UnreadableFile
from ragcore.readers import ReadOptions, read
from ragcore.readers.coverage import CoverageBuilder
from ragcore.readers.images import (
    describe,
    describe_all,
    load,
    load_for_index,
    load_image,
    phash,
    pixels_sha256,
    thumbnail,
    turned,
)
from ragcore.types import PartCounts

from .ingest_samples import drawing, encoded


def hamming(left: bytes, right: bytes) -> int:
    """Differing bits between two `phash` values, mirrored or not: the smaller count."""
    one = int.from_bytes(left[:8], "big")
    return min(
        (one ^ int.from_bytes(right[start : start + 8], "big")).bit_count()
        for start in range(0, len(right) - 7, 8)
    )


def difference(one: Image.Image, other: Image.Image) -> float:
    assert one.size == other.size
    return float(np.abs(np.asarray(one, float) - np.asarray(other, float)).mean())


@pytest.mark.parametrize(
    ("kind", "limit"),
    [("PNG", 0), ("WEBP", 6), ("JPEG", 6), ("GIF", 12), ("TIFF", 0), ("BMP", 0), ("AVIF", 6)],
)
def test_formats(kind: str, limit: float) -> None:
    image = drawing()
    loaded = load_image(encoded(image, kind))
    assert loaded.mode == "RGB"
    assert difference(image, loaded) <= limit


def test_heic() -> None:
    import pillow_heif

    buffer = io.BytesIO()
    pillow_heif.from_pillow(drawing()).save(buffer, quality=90)
    assert difference(drawing(), load_image(buffer.getvalue())) < 6


@pytest.mark.parametrize("orientation", range(2, 9))
def test_orientation_is_undone(orientation: int) -> None:
    image = drawing()
    undo = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}[orientation]
    stored = image.transpose(Image.Transpose(undo))
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(stored, "PNG", exif=exif)
    loaded = load(data)
    assert difference(image, loaded.image) == 0
    assert (loaded.width, loaded.height) == image.size


def test_deep_and_odd_modes() -> None:
    gray = drawing().convert("L")
    wide = np.asarray(gray, dtype=np.uint16) * 257
    assert difference(gray.convert("RGB"), load_image(encoded(Image.fromarray(wide)))) < 1
    unit = np.asarray(gray, dtype=np.float32) / 255
    loaded = load_image(encoded(Image.fromarray(unit), "TIFF"))
    assert difference(gray.convert("RGB"), loaded) < 1
    cmyk = load_image(encoded(drawing().convert("CMYK"), "JPEG", quality=95))
    assert difference(drawing(), cmyk) < 8
    for mode in ("1", "P", "L", "LA"):
        assert load_image(encoded(drawing().convert(mode))).mode == "RGB"


def test_transparency_is_laid_on_white() -> None:
    image = drawing().convert("RGBA")
    image.putalpha(0)
    assert load_image(encoded(image)).getextrema() == ((255, 255),) * 3


def test_first_frame() -> None:
    frames = [drawing(seed=n) for n in range(3)]
    data = encoded(frames[0], "WEBP", save_all=True, append_images=frames[1:], lossless=True)
    assert difference(frames[0], load_image(data)) == 0


def header_only_png(width: int, height: int) -> bytes:
    def chunk(name: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        )

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", zlib.compress(b""))
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("size", [(30_000, 30_000), (15_000, 15_000), (2**31 - 1, 2**31 - 1)])
def test_bombs_are_refused_before_decoding(size: tuple[int, int]) -> None:
    begin = time.process_time()
    with pytest.raises(UnreadableFile, match="larger than 100 megapixels"):
        load_image(header_only_png(*size))
    assert time.process_time() - begin < 1


def test_limit_can_be_raised_and_lowered() -> None:
    data = encoded(Image.new("1", (15_000, 15_000)))
    assert load_image(data, max_megapixels=230).size == (15_000, 15_000)
    with pytest.raises(UnreadableFile, match="larger than 1 megapixels"):
        load_image(encoded(Image.new("L", (1100, 1000))), max_megapixels=1)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        (b"words only", "text, not an image"),
        (b"<svg></svg>", "save it as PNG"),
        (b"\xff\xd8\xff\xe0 cut", "damaged"),
        (encoded(drawing())[:-600], "cut off or damaged"),
        (encoded(drawing(), "JPEG")[:3000], "cut off or damaged"),
        (header_only_png(0, 0), "damaged|no pixels"),
    ],
)
def test_refusals(data: bytes, reason: str) -> None:
    with pytest.raises(UnreadableFile, match=reason):
        load_image(data)


def test_large_jpegs_are_decoded_smaller() -> None:
    data = encoded(drawing(4000, 3200), "JPEG")
    loaded = load_for_index(data)
    assert (loaded.width, loaded.height) == (4000, 3200)
    assert loaded.image.size == (4000 // 2, 3200 // 2)
    image = describe(loaded)
    assert image.pixels is not None
    assert min(image.pixels.shape[:2]) == 448
    with Image.open(io.BytesIO(image.thumbnail)) as small:
        assert max(small.size) == 320
        assert small.format == "WEBP"


def test_long_strips() -> None:
    image = describe(load(encoded(Image.new("RGB", (20_000, 20), "red"))))
    assert (image.width, image.height) == (20_000, 20)
    with Image.open(io.BytesIO(image.thumbnail)) as small:
        assert small.size == (320, 1)


def test_equal_pixels_have_equal_hashes_whatever_the_container() -> None:
    one, other = encoded(drawing(), "PNG"), encoded(drawing(), "TIFF")
    assert pixels_sha256(load_image(one)) == pixels_sha256(load_image(other))
    assert pixels_sha256(drawing()) != pixels_sha256(drawing(seed=1))


def test_perceptual_hash_distinguishes_copies() -> None:
    original = drawing(600, 450)
    value = phash(original)
    small = load_image(encoded(original.resize((150, 112)), "JPEG", quality=30))
    assert hamming(value, phash(small)) <= 6
    assert hamming(value, phash(original.transpose(Image.Transpose.FLIP_LEFT_RIGHT))) <= 2
    others = [hamming(value, phash(drawing(600, 450, seed=n))) for n in range(1, 20)]
    assert min(others) > 12


@given(seed=st.integers(0, 1000), turn=st.integers(0, 3))
@settings(max_examples=30, deadline=None)
def test_turned_hashes_are_those_of_turned_images(seed: int, turn: int) -> None:
    image = drawing(256, 256, seed=seed)
    rotated = image.rotate(90 * turn)  # counter-clockwise
    every = turned(phash(image))
    assert min(hamming(value, phash(rotated)) for value in every) <= 2


def test_hash_of_blank_images_is_the_same() -> None:
    assert phash(Image.new("RGB", (50, 50), "white"))[:8] == bytes(8)


def test_images_of_a_document() -> None:
    good, twin = encoded(drawing()), encoded(drawing(), "TIFF")
    items = [
        (good, 1, "first"),
        (good, 2, "again"),
        (twin, 3, "the same pixels"),
        (encoded(drawing(20, 20)), 3, "an icon"),
        (encoded(Image.new("RGB", (400, 300), "white")), 3, "blank"),
        (good[:2000], 4, "cut"),
        (encoded(drawing(seed=1)), 5, "second"),
        (encoded(drawing(seed=2)), 6, "third"),
    ]
    coverage = CoverageBuilder()
    options = ReadOptions(ocr="off", max_images=2)
    kept = describe_all(iter(items), options=options, coverage=coverage)
    assert [(p.page, p.caption) for p in kept] == [(1, "first"), (5, "second")]
    assert kept[0].data == good
    done = coverage.done()
    assert done.images == PartCounts(found=8, read=2, skipped=2, ignored=4)
    assert [(one.where, one.count) for one in done.skipped] == [("4", 1), ("6", 1)]
    assert "only the first 2" in done.skipped[1].why


def test_thumbnail_keeps_small_images() -> None:
    with Image.open(io.BytesIO(thumbnail(drawing(100, 60)))) as small:
        assert small.size == (100, 60)


@pytest.mark.shared
def test_bad_inputs_end_as_expected(shared: Path, tmp_path: Path) -> None:
    folder = shared / "data/images/bad_inputs"
    with zipfile.ZipFile(folder / "bad_inputs.zip") as archive:
        archive.extractall(tmp_path)
    control = load_image(tmp_path / "good_reference.jpg")
    count = 0
    for line in (folder / "expected.jsonl").read_text().splitlines():
        case = json.loads(line)
        expect, begin = case["expect"], time.perf_counter()
        try:
            document = read(tmp_path / case["file"])
        except UnreadableFile as error:
            if expect.startswith("ok,") or expect == "ok" or "\n" in str(error):
                pytest.fail(f"{case['file']}: {error}")
        else:
            assert expect not in {"error", "refused"}, case["file"]
            [image] = document.images
            assert image.thumbnail
            if "same picture" in expect:
                loaded = load_image(tmp_path / case["file"])
                target = control.convert("L").convert("RGB") if "grey" in expect else control
                assert difference(target, loaded) < 3, case["file"]
            if "not all black" in expect:
                assert image.pixels is not None
                assert image.pixels.mean() > 20
            if "background" in expect or "blank" in expect:
                assert image.pixels is not None
                assert image.pixels[0, 0].min() > 200
        assert time.perf_counter() - begin < 10, case["file"]
        count += 1
    assert count == 52
