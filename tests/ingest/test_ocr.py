"""Text in scans and images: read in order, and not looked for where there is none."""

from __future__ import annotations

import io
import time
import zipfile
from pathlib import Path

import pytest
from PIL import Image, ImageDraw, ImageFont

from ragcore.ingest.text_view import _font
from ragcore.readers import ReadOptions, ocr
from ragcore.readers.text_gate import text_share

from .ingest_samples import drawing, sign

OPTIONS = ReadOptions()


def page(columns: list[list[str]], size: int = 26) -> Image.Image:
    image = Image.new("RGB", (700 * len(columns), 120 + 40 * max(map(len, columns))), "white")
    pen = ImageDraw.Draw(image)
    font = _font(size)
    assert isinstance(font, ImageFont.FreeTypeFont)
    for column, lines in enumerate(columns):
        for number, line in enumerate(lines):
            pen.text((60 + 700 * column, 60 + 40 * number), line, font=font, fill="black")
    return image


def test_a_sign_is_read() -> None:
    image = sign("Ferry at noon")
    assert text_share(image) > 0
    assert ocr.text_in_image(image, options=OPTIONS) == "Ferry at noon"
    assert ocr.text_in_image(image, options=ReadOptions(ocr="off")) == ""


def test_drawings_without_text_have_none() -> None:
    for seed in range(6):
        for ocr_mode in ("auto", "always"):
            options = ReadOptions(ocr=ocr_mode)
            assert ocr.text_in_image(drawing(640, 480, seed=seed), options=options) == ""


def test_umlauts_and_broken_words() -> None:
    lines = [
        "Das Frühstück ist für alle Gäste",
        "in der großen Halle, auch sonn-",
        "tags bis elf Uhr.",
    ]
    text = ocr.blocks_text(ocr.page_blocks(ocr.recognize(page([lines]))))
    assert " ".join(text.split()) == (
        "Das Frühstück ist für alle Gäste in der großen Halle, auch sonntags bis elf Uhr."
    )


def test_two_columns_are_read_in_order() -> None:
    left = [f"Left line {n} speaks of harbours" for n in range(6)]
    right = [f"Right line {n} speaks of pilots" for n in range(6)]
    text = ocr.blocks_text(ocr.page_blocks(ocr.recognize(page([left, right]))))
    places = [text.index(line[:11]) for line in [*left, *right]]
    assert places == sorted(places)


def test_small_images_are_enlarged_and_large_ones_reduced() -> None:
    small = sign("Pier 14", size=60).resize((213, 160))
    assert "Pier 14" in ocr.text_in_image(small, options=ReadOptions(ocr="always"))
    large = sign("Pier 14", size=60).resize((4000, 3000))
    [found] = ocr.recognize(large)
    assert found.text == "Pier 14"
    assert 150 < found.left < found.right < 2500  # in the large image's pixels


@pytest.mark.parametrize("size", [(1, 1), (15, 400), (16, 48), (20_000, 20), (3, 4000)])
def test_odd_sizes(size: tuple[int, int]) -> None:
    image = Image.new("RGB", size, "white")
    assert text_share(image) == 0.0
    assert ocr.text_in_image(image, options=ReadOptions(ocr="always")) == ""


def test_the_gate_is_cheap_and_lets_pages_through() -> None:
    lines = [f"Line {n} of a page that is full of words" for n in range(12)]
    assert text_share(page([lines])) > 0.04
    image = drawing(1024, 768)
    text_share(image)
    begin = time.process_time()
    for _ in range(10):
        text_share(image)
    assert (time.process_time() - begin) / 10 < 0.1


@pytest.mark.shared
def test_photographs_mostly_pass_unread(shared: Path) -> None:
    with zipfile.ZipFile(shared / "data/images/flickr8k/dev.zip") as archive:
        names = archive.namelist()[:200]
        photographs = [Image.open(io.BytesIO(archive.read(n))).convert("RGB") for n in names]
    passed = sum(text_share(photograph) > 0 for photograph in photographs)
    assert passed < 0.25 * len(photographs)
