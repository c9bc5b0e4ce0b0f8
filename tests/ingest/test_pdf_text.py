"""The text of PDFs: order, joined words, tables, running heads; the shared files' evidence."""

from __future__ import annotations

import json
import re
import unicodedata
from pathlib import Path

import pytest

from ragcore.errors import UnreadableFile
from ragcore.readers import ReadOptions, layout, read
from ragcore.readers.layout import Line

from .ingest_samples import PROSE


def line(text: str, left: float, top: float, width: float | None = None) -> Line:
    return Line(text, left, top, left + (width or 6 * len(text)), top + 12, size=10)


def canvas(path: Path) -> object:
    from reportlab.pdfgen.canvas import Canvas

    return Canvas(str(path), pagesize=(600, 800))


# --- layout -------------------------------------------------------------------


def test_columns_under_a_title_are_read_one_after_the_other() -> None:
    left = [line(f"left line number {n} of the text", 50, 100 + 15 * n) for n in range(10)]
    right = [line(f"right line number {n} of the text", 320, 100 + 15 * n) for n in range(10)]
    title = line("A title that runs across both of the columns", 150, 50)
    end = line("And a closing line that is as wide as the whole page", 50, 300, 500)
    mixed = [end, *(x for pair in zip(right, left, strict=True) for x in pair), title]
    assert layout.reading_order(mixed) == [title, *left, *right, end]


def test_a_table_is_read_row_by_row() -> None:
    rows = [("Port", "Depth"), ("Kiel", "11"), ("Emden", "9"), ("Bremen", "13")]
    cells = [
        line(text, 50 + 200 * column, 100 + 15 * number)
        for column in (0, 1)
        for number, row in enumerate(rows)
        for text in [row[column]]
    ]
    ordered = [x.text for x in layout.reading_order(cells)]
    assert ordered == ["Port\tDepth", "Kiel\t11", "Emden\t9", "Bremen\t13"]


@pytest.mark.parametrize(
    ("broken", "known", "whole"),
    [
        ("exam￾ple", set(), "example"),
        ("fine￾tuning", {"fine-tuning"}, "fine-tuning"),
        ("fine￾tuning", {"finetuning", "fine-tuning"}, "finetuning"),
        ("QED￾specific", set(), "QED-specific"),
        ("Linux￾Distributionen", set(), "Linux-Distributionen"),
        ("1990￾1995", set(), "1990-1995"),
        ("SHIP￾PING", set(), "SHIPPING"),
    ],
)
def test_broken_words_are_joined(broken: str, known: set[str], whole: str) -> None:
    assert layout.join_words(f"an {broken} here", known) == f"an {whole} here"


# --- files --------------------------------------------------------------------


def test_columns_drawn_line_by_line(tmp_path: Path) -> None:
    path = tmp_path / "rows.pdf"
    pen = canvas(path)
    words = PROSE.split()
    for number in range(30):
        y = 750 - 14 * number
        pen.drawString(50, y, f"L{number} " + " ".join(words[number : number + 6]))
        pen.drawString(330, y, f"R{number} " + " ".join(words[number : number + 6]))
    pen.save()
    text = read(path).pages[0].text
    marks = re.findall(r"\b[LR]\d+\b", text)
    assert marks == [f"L{n}" for n in range(30)] + [f"R{n}" for n in range(30)]


def test_lines_in_a_wild_order(tmp_path: Path) -> None:
    path = tmp_path / "wild.pdf"
    pen = canvas(path)
    for number in [7, 2, 9, 0, 4, 11, 1, 8, 3, 10, 6, 5]:
        pen.drawString(60, 700 - 14 * number, f"Line {number:02d} of a page that was drawn anyhow.")
    pen.save()
    found = re.findall(r"Line (\d\d)", read(path).pages[0].text)
    assert found == [f"{n:02d}" for n in range(12)]


def test_running_heads_and_page_numbers_go(tmp_path: Path) -> None:
    path = tmp_path / "book.pdf"
    pen = canvas(path)
    for number in range(1, 9):
        pen.drawString(60, 770, f"Chapter 2: Command line options {number}")
        pen.drawString(290, 30, str(number))
        for row in range(20):
            pen.drawString(60, 700 - 14 * row, f"Text {number}-{row} that stands on one page only.")
        pen.showPage()
    pen.save()
    document = read(path)
    for page in document.pages:
        assert page.text.startswith(f"Text {page.number}-0")
        assert page.text.endswith("one page only.")


def test_headings_by_size_and_outline(tmp_path: Path) -> None:
    path = tmp_path / "heads.pdf"
    pen = canvas(path)
    y = 760
    for size, text in [
        (24, "The Title"),
        (16, "First part"),
        (12, "Smaller part"),
        (9, PROSE[:90]),
    ]:
        pen.setFont("Helvetica", size)
        pen.drawString(60, y, text)
        y -= 40
    pen.setFont("Helvetica", 9)
    for row in range(30):
        pen.drawString(60, y - 12 * row, PROSE[:90])
    pen.save()
    document = read(path)
    assert document.title == "The Title"
    assert [(level, title) for _, level, title in document.pages[0].headings] == [
        (1, "The Title"),
        (2, "First part"),
        (3, "Smaller part"),
    ]


def test_page_labels(tmp_path: Path, samples: dict[str, Path]) -> None:
    import pypdf
    from pypdf.constants import PageLabelStyle

    writer = pypdf.PdfWriter(clone_from=samples[".pdf"])
    writer.set_page_label(0, 0, style=PageLabelStyle.LOWERCASE_ROMAN)
    writer.set_page_label(1, 1, style=PageLabelStyle.DECIMAL, start=1)
    path = tmp_path / "labels.pdf"
    writer.write(path)
    assert [page.label for page in read(path).pages] == ["i", "1"]


def test_an_empty_page_is_an_empty_page(tmp_path: Path) -> None:
    path = tmp_path / "blank.pdf"
    pen = canvas(path)
    pen.showPage()
    pen.save()
    document = read(path)
    assert [page.text for page in document.pages] == [""]
    assert document.warnings == ("no text was found in it",)


# --- the shared files -------------------------------------------------------------


def squeezed(text: str) -> str:
    return re.sub(r"\s+", "", unicodedata.normalize("NFKC", text)).lower()


@pytest.mark.shared
@pytest.mark.full
def test_shared_files_and_their_evidence(shared: Path) -> None:
    folder = shared / "data/text/pdf"
    documents = {}
    for entry in map(json.loads, (folder / "manifest.jsonl").read_text().splitlines()):
        path = folder / "files" / entry["file"]
        if entry["pages"] is None:
            with pytest.raises(UnreadableFile, match="cut off or damaged"):
                read(path)
            continue
        passwords = tuple(filter(None, [entry.get("user_password")]))
        if passwords:
            with pytest.raises(UnreadableFile, match="locked"):
                read(path)
        document = read(path, options=ReadOptions(passwords=passwords))
        assert len(document.pages) == entry["pages"]
        # pdftotext counts each dot of a table of contents' leaders as a word; ours shrink.
        words = sum(len(page.text.split()) for page in document.pages)
        assert words > 0.4 * entry["words_pdftotext"], entry["file"]
        documents[entry["file"]] = document
    missing = []
    for question in map(json.loads, (folder / "questions.jsonl").read_text().splitlines()):
        if question["evidence"]:
            pages = documents[question["doc"]].pages
            evidence = squeezed(question["evidence"])
            if not any(evidence in squeezed(pages[n - 1].text) for n in question["pages"]):
                missing.append(question["id"])
    assert len(missing) <= 1, missing
