"""Pages as images: quotes are found where they stand, and marked there."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ragcore.errors import UnreadableFile, UsageError
from ragcore.ingest.page_view import draw_boxes, find_boxes, page_boxes, page_image, render_page
from ragcore.ingest.split import page_starts, split
from ragcore.ingest.text_view import text_image
from ragcore.readers import read
from ragcore.types import Box, ReadDocument

from .ingest_samples import PROSE, encoded, sign, write_pdf, write_scan


@dataclass
class Row:
    """A catalog's page, as far as the view asks."""

    number: int
    start: int
    ocr: bool
    text: str


@dataclass
class Entry:
    """A catalog's document, as far as the view asks."""

    path: str
    media_type: str


def row(document: ReadDocument, number: int) -> Row:
    page = document.pages[number - 1]
    return Row(number, page_starts(document.pages)[number - 1], page.ocr, page.text)


def opened(png: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(png))
    assert image.format == "PNG"
    return image.convert("RGB")


def yellow(image: Image.Image) -> np.ndarray:
    """Where the image is marked: paper turned yellow."""
    pixels = np.asarray(image, dtype=int)
    return (pixels[:, :, 0] > 200) & (pixels[:, :, 1] > 180) & (pixels[:, :, 2] < 180)


def test_a_pdf_page_is_drawn_at_the_given_width(samples: dict[str, Path]) -> None:
    image = opened(render_page(samples[".pdf"], 1, width=700))
    assert image.width == 700
    assert 1.3 < image.height / image.width < 1.5
    assert np.asarray(image).min() < 60  # there are letters


def test_a_quote_over_two_lines_has_two_boxes(samples: dict[str, Path]) -> None:
    document = read(samples[".pdf"])
    quote = "Ships that arrive before dawn wait at the outer buoy until a pilot comes aboard."
    boxes = find_boxes(samples[".pdf"], 1, quote)
    assert len(boxes) >= 2
    for box in boxes:
        assert 0 <= box.left < box.right <= 1
        assert 0 <= box.top < box.bottom <= 1
        assert box.right <= 0.55  # the left column
    tops = [box.top for box in boxes]
    assert tops == sorted(tops)
    assert quote in document.pages[0].text


def test_the_nearest_of_several_places_is_taken(samples: dict[str, Path]) -> None:
    document = read(samples[".pdf"])
    page = row(document, 1)
    quote = "In winter the wait is shorter"
    places = [i for i in range(len(page.text)) if page.text.startswith(quote, i)]
    assert len(places) == 6
    entry = Entry(str(samples[".pdf"]), "application/pdf")
    found = [page_boxes(entry, page, (at, at + len(quote))) for at in places]
    assert len({(boxes[0].left, boxes[0].top) for boxes in found}) == 6
    assert found[0][0].left < 0.5 < found[-1][0].left


def test_every_passage_of_a_pdf_is_found(samples: dict[str, Path]) -> None:
    document = read(samples[".pdf"])
    entry = Entry(str(samples[".pdf"]), "application/pdf")
    for passage in split(document):
        assert page_boxes(entry, row(document, passage.page), (passage.start, passage.end))


def test_table_row_and_unknown_words(samples: dict[str, Path]) -> None:
    assert find_boxes(samples[".pdf"], 2, "Hamburg 15.1 240")
    assert find_boxes(samples[".pdf"], 2, "no such words in the file at all") == []
    assert find_boxes(samples[".pdf"], 2, " … ") == []


def test_the_marked_place_is_where_the_words_are(samples: dict[str, Path]) -> None:
    document = read(samples[".pdf"])
    page = row(document, 2)
    at = page.start + page.text.index("Bremen")
    entry = Entry(str(samples[".pdf"]), "application/pdf")
    image = opened(page_image(entry, page, span=(at, at + 6), width=900))
    [box] = page_boxes(entry, page, (at, at + 6))
    down, across = np.nonzero(yellow(image))
    assert abs(across.mean() / image.width - (box.left + box.right) / 2) < 0.02
    assert abs(down.mean() / image.height - (box.top + box.bottom) / 2) < 0.02
    assert not yellow(opened(page_image(entry, page, width=900))).any()


def test_turned_and_cropped_pages(samples: dict[str, Path], tmp_path: Path) -> None:
    import pypdf

    for turn in (90, 180, 270):
        writer = pypdf.PdfWriter(clone_from=samples[".pdf"])
        for page in writer.pages:
            page.cropbox.lower_left = (20, 30)
            page.rotate(turn)
        path = tmp_path / f"turned{turn}.pdf"
        writer.write(path)
        [box] = find_boxes(path, 2, "Hamburg")
        [upright] = find_boxes(samples[".pdf"], 2, "Hamburg")
        if turn == 180:
            assert box.top > 0.5 > upright.top
        else:
            assert box.bottom - box.top > box.right - box.left
        image = opened(render_page(path, 2, boxes=[box]))
        area = image.crop(
            (
                round(box.left * image.width),
                round(box.top * image.height),
                round(box.right * image.width),
                round(box.bottom * image.height),
            )
        )
        assert np.asarray(area.convert("L")).min() < 100  # the word lies in its box
        words = sorted(read(path).pages[1].text.split())
        assert words == sorted(read(samples[".pdf"]).pages[1].text.split())


def test_quotes_on_scans_are_found_by_recognition(tmp_path: Path) -> None:
    path = write_scan(tmp_path / "scan.pdf")
    document = read(path)
    page = row(document, 1)
    at = page.text.index("outer buoy")
    boxes = page_boxes(Entry(str(path), "application/pdf"), page, (at, at + 10))
    assert len(boxes) in {1, 2}
    assert all(box.right - box.left < 0.4 for box in boxes)


def test_images_are_shown_with_the_words_in_them(tmp_path: Path) -> None:
    path = tmp_path / "sign.png"
    path.write_bytes(encoded(sign("Ferry at noon")))
    entry = Entry(str(path), "image/png")
    assert opened(page_image(entry, None, width=320)).size == (320, 240)
    page = Row(1, 0, True, "Ferry at noon")
    [box] = page_boxes(entry, page, (0, 5))
    assert 0.05 < box.left < box.right < 0.3
    assert 0.35 < box.top < box.bottom < 0.55


def test_other_documents_are_shown_as_text(samples: dict[str, Path]) -> None:
    document = read(samples[".txt"])
    page = row(document, 1)
    entry = Entry(str(samples[".txt"]), "text/plain")
    at = page.text.index("pilot")
    image = opened(page_image(entry, page, span=(at, at + 5), width=600))
    assert image.width == 600
    marked = yellow(image)
    assert marked.any()
    assert marked.sum() < 0.02 * marked.size
    assert page_boxes(entry, page, (at, at + 5)) == []


def test_text_images_of_long_and_odd_texts_stay_small() -> None:
    long = "x" * 500_000 + "\n" + PROSE * 4000
    at = long.index("pilot", 600_000)
    image = opened(text_image(long, span=(at, at + 5), width=800))
    assert image.height < 2500
    assert yellow(image).any()
    assert opened(text_image("", width=300)).width == 300
    assert opened(text_image("日本語 émoji 😀\ttab\n\n\n", width=300)).width == 300


def test_draw_boxes() -> None:
    png = encoded(Image.new("RGB", (200, 100), "white"))
    assert draw_boxes(png, []) == png
    image = opened(draw_boxes(png, [Box(0.25, 0.5, 0.75, 0.9)]))
    assert yellow(image)[70, 100]
    assert not yellow(image)[20, 100]
    dark = encoded(Image.new("RGB", (200, 100), "black"))
    assert yellow(opened(draw_boxes(dark, [Box(0.25, 0.5, 0.75, 0.9)]))).any()


def test_refusals(samples: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no page 3: the document has 2"):
        render_page(samples[".pdf"], 3)
    with pytest.raises(UnreadableFile, match="not there any more"):
        render_page(tmp_path / "gone.pdf", 1)
    locked = write_pdf(tmp_path / "locked.pdf", password="sesame")
    with pytest.raises(UnreadableFile, match="locked"):
        render_page(locked, 1)
    assert opened(render_page(locked, 1, password="sesame", width=100)).width == 100
    with pytest.raises(UsageError, match="width"):
        page_image(Entry(str(locked), "application/pdf"), None, width=10_000)


@pytest.mark.shared
def test_evidence_of_the_shared_questions_is_found(shared: Path) -> None:
    folder = shared / "data/text/pdf"
    for line in (folder / "questions.jsonl").read_text().splitlines():
        question = json.loads(line)
        if question["evidence"] and question["kind"] != "scan":
            path = folder / "files" / question["doc"]
            boxes = find_boxes(path, question["pages"][0], question["evidence"])
            assert 1 <= len(boxes) <= 4, question["id"]
