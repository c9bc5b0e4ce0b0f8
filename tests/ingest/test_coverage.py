"""What was read of a file is reported as read, and nothing else is."""

from __future__ import annotations

import io
import random
import zipfile
from collections.abc import Callable
from email.message import EmailMessage
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText
from pathlib import Path

import pytest

from ragcore.errors import UnreadableFile
from ragcore.readers import ReadOptions, ocr, read
from ragcore.readers.mail import MAX_DEPTH
from ragcore.types import Coverage, Page, PartCounts, ReadDocument, SkippedParts

from .ingest_samples import PROSE, drawing, encoded, write_docx, write_pdf, write_scan, write_xlsx

NO_OCR = ReadOptions(ocr="off")


def coverage_of(path: Path, options: ReadOptions = NO_OCR) -> Coverage:
    """The file's coverage; each thing skipped is a warning, and the counts add up."""
    document = read(path, options=options)
    found = document.coverage
    assert found is not None
    assert {str(one) for one in found.skipped} <= set(document.warnings)
    for counts in (found.pages, found.sheets, found.tables, found.images, found.attachments):
        assert counts.found == counts.read + counts.partial + counts.skipped + counts.ignored
        assert counts.ocr <= counts.read + counts.partial
    if not found.skipped:
        assert not any(
            counts.partial or counts.skipped
            for counts in (found.pages, found.sheets, found.tables, found.images)
        )
    return found


def lines(coverage: Coverage) -> list[str]:
    return [str(one) for one in coverage.skipped]


@pytest.mark.parametrize(
    ("suffix", "right"),
    [
        (".pdf", {"pages": (2, 2), "tables": (1, 1), "images": (1, 1)}),
        (".docx", {"pages": (1, 1), "tables": (1, 1), "images": (1, 1)}),
        (".pptx", {"pages": (2, 2), "tables": (1, 1), "images": (1, 1)}),
        (".xlsx", {"sheets": (2, 2)}),
        (".csv", {"sheets": (1, 1)}),
        (".epub", {"pages": (2, 2), "images": (1, 1)}),
        (".eml", {"pages": (2, 2), "images": (1, 1), "attachments": (2, 2)}),
        (".html", {"pages": (1, 1), "tables": (1, 1)}),
        (".md", {"pages": (1, 1), "tables": (1, 1)}),
        (".txt", {"pages": (1, 1)}),
        (".jpg", {"images": (1, 1)}),
        (".odt", {"pages": (1, 1), "tables": (1, 1), "images": (1, 1)}),
        (".rtf", {"pages": (1, 1), "images": (1, 1)}),
        (".ipynb", {"pages": (1, 1), "tables": (1, 1), "images": (1, 1)}),
        (".tex", {"pages": (1, 1)}),
        (".py", {"pages": (1, 1)}),
        (".srt", {"pages": (1, 1)}),
        (".mbox", {"pages": (3, 3), "attachments": (1, 1)}),
        (".msg", {"pages": (3, 3), "images": (1, 1), "attachments": (3, 3)}),
        (".zip", {"pages": (2, 2), "sheets": (1, 1), "images": (1, 1), "attachments": (5, 5)}),
    ],
)
def test_sound_files_are_complete(
    samples: dict[str, Path], suffix: str, right: dict[str, tuple[int, int]]
) -> None:
    found = coverage_of(samples[suffix])
    assert lines(found) == []
    counts = {
        kind: (one.found, one.read)
        for kind in ("pages", "sheets", "tables", "images", "attachments")
        if (one := getattr(found, kind)).found
    }
    assert counts == right


# --- PDF ---------------------------------------------------------------------------


def hybrid_pdf(folder: Path) -> Path:
    """Page 1 and 3 have text, page 2 is a scan, page 4 is blank."""
    import pypdf

    writer = pypdf.PdfWriter(clone_from=write_pdf(folder / "text.pdf"))
    writer.insert_page(pypdf.PdfReader(write_scan(folder / "scan.pdf")).pages[0], 1)
    writer.add_blank_page()
    path = folder / "hybrid.pdf"
    writer.write(path)
    return path


def test_a_scanned_page_is_not_read_without_recognition(tmp_path: Path) -> None:
    path = hybrid_pdf(tmp_path)
    found = coverage_of(path)
    assert found.pages == PartCounts(found=4, read=3, skipped=1)
    assert lines(found) == [
        "1 page not read (2): its text is an image, and text recognition is off (setting ocr)"
    ]
    if ocr.missing_modules("ocr"):
        pytest.skip("text recognition is not installed")
    found = coverage_of(path, ReadOptions())
    assert found.pages == PartCounts(found=4, read=4, ocr=1)
    assert not found.skipped


def test_recognition_that_does_not_start_reads_no_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ocr, "_engine", None)
    monkeypatch.setattr(ocr, "missing_modules", lambda _extra: ["rapidocr"])
    found = coverage_of(hybrid_pdf(tmp_path), ReadOptions())
    assert (found.pages.read, found.pages.skipped) == (3, 1)
    assert found.skipped[0].where == "2"
    assert "not installed" in found.skipped[0].why


def test_pages_beyond_the_limit_are_skipped(tmp_path: Path) -> None:
    found = coverage_of(hybrid_pdf(tmp_path), ReadOptions(ocr="off", max_pages=1))
    assert found.pages == PartCounts(found=4, read=1, skipped=3)
    assert lines(found) == ["3 pages not read (2-4): only the first 1 of 4 pages are read"]


def test_no_cut_of_a_pdf_is_complete(tmp_path: Path) -> None:
    """However a PDF is cut off: it is refused, or incomplete, and blank pages are not "read".

    Two pages were appended to the file, which opens without them, or with some of their objects.
    """
    import pypdf
    from reportlab.pdfgen.canvas import Canvas

    first, whole = tmp_path / "first.pdf", tmp_path / "whole.pdf"
    canvas = Canvas(str(first), pageCompression=0)
    for number in range(1, 5):
        canvas.drawString(72, 700, f"Page number {number} tells of harbor {number} and its pilots.")
        canvas.showPage()
    canvas.save()
    writer = pypdf.PdfWriter(str(first), incremental=True)
    for page in pypdf.PdfReader(first).pages[:2]:
        writer.add_page(page)
    writer.write(whole)
    data = whole.read_bytes()
    assert coverage_of(whole).pages == PartCounts(found=6, read=6)
    opened = 0
    for size in range(200, len(data) - 6, 97):
        path = tmp_path / "cut.pdf"
        path.write_bytes(data[:size])
        try:
            found = coverage_of(path)
        except UnreadableFile:
            continue
        opened += 1
        earlier_version = b" obj" not in data[:size].rpartition(b"%%EOF")[2]
        assert found.skipped or earlier_version, size
        texts = [page for page in read(path, options=NO_OCR).pages if page.text]
        assert found.pages.read <= len(texts), size
    assert opened > 3  # of the cuts, some can be opened


def test_a_page_whose_content_is_damaged_is_not_read(tmp_path: Path) -> None:
    import pypdf
    from reportlab.pdfgen.canvas import Canvas

    plain = tmp_path / "plain.pdf"
    canvas = Canvas(str(plain), pageCompression=0)
    for number in range(3):
        canvas.drawString(72, 700, f"Page {number}: {PROSE[:60]}")
        canvas.showPage()
    canvas.save()
    writer = pypdf.PdfWriter(clone_from=plain)
    for page in writer.pages:
        page.compress_content_streams()
    sound = tmp_path / "sound.pdf"
    writer.write(sound)
    assert not coverage_of(sound).skipped
    data = bytearray(sound.read_bytes())
    at = data.index(b"stream", data.index(b"/FlateDecode")) + 10
    data[at : at + 20] = bytes(20)
    path = tmp_path / "damaged.pdf"
    path.write_bytes(data)
    found = coverage_of(path)
    assert found.pages.read == 2
    assert any("streams of the file are damaged" in one.why for one in found.skipped)


def test_attached_files_form_fields_and_notes_are_reported(tmp_path: Path) -> None:
    import pypdf
    from pypdf.annotations import FreeText
    from reportlab.pdfgen.canvas import Canvas

    form = tmp_path / "form.pdf"
    canvas = Canvas(str(form))
    canvas.drawString(72, 700, f"An empty form. {PROSE[:60]}")
    canvas.acroForm.textfield(name="who", value="", x=72, y=600)
    canvas.showPage()
    canvas.drawString(72, 700, f"A filled form. {PROSE[:60]}")
    canvas.acroForm.textfield(name="pilot", value="Ada", x=72, y=600)
    canvas.save()
    assert lines(coverage_of(form)) == [
        "text not read (2): filled form fields and notes of a PDF are not read"
    ]
    writer = pypdf.PdfWriter(clone_from=form)
    writer.add_annotation(0, FreeText(text="Mind the tide", rect=(50, 300, 200, 350)))
    writer.add_attachment("tides.csv", b"day,time")
    path = tmp_path / "portfolio.pdf"
    writer.write(path)
    found = coverage_of(path)
    assert found.attachments == PartCounts(found=1, skipped=1)
    assert [(one.part, one.where) for one in found.skipped] == [
        ("text", "1-2"),
        ("attachment", "tides.csv"),
    ]


# --- Office ------------------------------------------------------------------------


def rewritten(source: Path, target: Path, change: Callable[[str, bytes], bytes | None]) -> Path:
    """A zip container with members changed, or left out where `change` gives None."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            data = change(name, old.read(name))
            if data is not None:
                new.writestr(name, data)
    return target


def test_hidden_missing_and_broken_sheets(tmp_path: Path) -> None:
    import openpyxl
    from openpyxl.chart import BarChart, Reference
    from openpyxl.drawing.image import Image as Drawing

    book = openpyxl.load_workbook(write_xlsx(tmp_path / "book.xlsx"))
    hidden = book.create_sheet("Secret")
    hidden.append(["buried", "treasure"])
    hidden.sheet_state = "veryHidden"
    broken = book.create_sheet("Broken")
    for number in range(50):
        broken.append([f"row {number}", number])
    book.create_sheet("Lost").append(["never", "seen"])
    chart = BarChart()
    chart.add_data(Reference(broken, min_col=2, min_row=1, max_row=50))
    book.create_chartsheet("Image").add_chart(chart)
    book["Ships"].add_image(Drawing(io.BytesIO(encoded(drawing()))))
    book.save(tmp_path / "all.xlsx")

    def change(name: str, data: bytes) -> bytes | None:
        if name == "xl/worksheets/sheet4.xml":
            return data[: len(data) // 2]
        return None if name == "xl/worksheets/sheet5.xml" else data

    path = rewritten(tmp_path / "all.xlsx", tmp_path / "hurt.xlsx", change)
    found = coverage_of(path)
    assert found.sheets == PartCounts(found=6, read=3, partial=1, skipped=2)
    said = "\n".join(lines(found))
    assert "1 sheet read in part (Broken): it is damaged" in said
    assert "1 sheet not read (Lost): its data is missing in the file" in said
    assert "1 sheet not read (Image): a sheet that is one chart is not read" in said
    assert "1 image not read" in said
    assert any("buried | treasure" in page.text for page in read(path).pages)


def test_tables_beyond_the_limits(tmp_path: Path) -> None:
    wide = tmp_path / "wide.csv"
    wide.write_text(",".join(f"c{n}" for n in range(600)) + "\n")
    assert lines(coverage_of(wide)) == ["1 sheet read in part: only the first 500 columns are kept"]
    long = tmp_path / "long.csv"
    long.write_text("a,b\n" * 1000)
    found = coverage_of(long, ReadOptions(ocr="off", max_characters=100))
    assert found.sheets == PartCounts(found=1, partial=1)


def test_docx_with_images(tmp_path: Path) -> None:
    import docx

    document = docx.Document(str(write_docx(tmp_path / "a.docx")))
    document.add_picture(io.BytesIO(encoded(drawing(30, 30))))  # decoration
    document.add_picture(io.BytesIO(encoded(drawing(seed=11))))
    document.save(str(tmp_path / "b.docx"))
    images: list[str] = []

    def change(name: str, data: bytes) -> bytes | None:
        if name.startswith("word/media/"):
            images.append(name)
            return data[: len(data) // 2] if name.endswith("3.png") else data
        return data

    found = coverage_of(rewritten(tmp_path / "b.docx", tmp_path / "c.docx", change))
    assert len(images) == 3
    assert found.images == PartCounts(found=3, read=1, skipped=1, ignored=1)
    assert "1 image not read (1): the image is cut off or damaged" in lines(found)[0]


def test_a_vector_drawing_in_a_document_is_not_read(tmp_path: Path) -> None:
    def change(name: str, data: bytes) -> bytes:
        types = b'<Default Extension="emf" ContentType="image/x-emf"/></Types>'
        return data.replace(b"image1.png", b"image1.emf").replace(b"</Types>", types)

    path = rewritten(write_docx(tmp_path / "a.docx"), tmp_path / "b.docx", change)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("word/media/image1.emf", b"\1\0\0\0" + bytes(200))
    found = coverage_of(path)
    assert found.images == PartCounts(found=1, skipped=1)
    assert "vector drawing" in found.skipped[0].why


def test_a_chapter_that_is_missing_or_damaged(samples: dict[str, Path], tmp_path: Path) -> None:
    path = rewritten(
        samples[".epub"],
        tmp_path / "gap.epub",
        lambda name, data: None if name.endswith(("two.xhtml", "map.png")) else data,
    )
    found = coverage_of(path)
    assert found.pages == PartCounts(found=2, read=1, skipped=1)
    assert lines(found) == ["1 page not read (two.xhtml): the chapter's file is missing"]
    data = bytearray(samples[".epub"].read_bytes())
    at = data.index(b"It blew.")
    data[at] ^= 1
    hurt = tmp_path / "hurt.epub"
    hurt.write_bytes(data)
    found = coverage_of(hurt)
    assert (found.pages.read, found.pages.skipped) == (1, 1)


def test_pages_of_a_tiff_file(tmp_path: Path) -> None:
    path = tmp_path / "fax.tiff"
    pages = [drawing(seed=n) for n in range(3)]
    pages[0].save(path, save_all=True, append_images=pages[1:])
    found = coverage_of(path)
    assert found.pages == PartCounts(found=3, read=1, skipped=2)
    assert found.skipped[0].where == "2-3"


def test_text_beyond_the_limit(tmp_path: Path) -> None:
    path = tmp_path / "long.txt"
    path.write_text("\f".join(f"Page {n} has words." for n in range(5)))
    found = coverage_of(path, ReadOptions(max_characters=30))
    assert found.pages == PartCounts(found=5, read=1, partial=1, skipped=3)


# --- e-mail ------------------------------------------------------------------------


def message(subject: str, text: str = "Words of the message.") -> EmailMessage:
    made = EmailMessage()
    made["Subject"], made["From"], made["To"] = subject, "ada@example.org", "bo@example.org"
    made.set_content(text + "\n")
    return made


def saved(made: EmailMessage | MIMEMultipart, path: Path) -> Path:
    path.write_bytes(made.as_bytes())
    return path


def texts(path: Path, options: ReadOptions = NO_OCR) -> str:
    return "\n".join(page.text for page in read(path, options=options).pages)


def test_all_attachments_up_to_the_limit(tmp_path: Path) -> None:
    made = message("Many")
    for number in range(60):
        made.add_attachment(f"Berth {number} is free.\n", filename=f"berth{number}.txt")
    path = saved(made, tmp_path / "many.eml")
    found = coverage_of(path)
    assert found.attachments == PartCounts(found=60, read=60)
    assert "Berth 59 is free." in texts(path)
    found = coverage_of(path, ReadOptions(max_attachments=58))
    assert found.attachments == PartCounts(found=60, read=58, skipped=2)
    assert lines(found) == [
        "2 attachments not read (berth58.txt, berth59.txt): only the first 58 attachments are "
        "read (setting max_attachments)"
    ]


def test_attachments_without_a_suffix_are_known_by_content(
    tmp_path: Path, samples: dict[str, Path]
) -> None:
    made = message("Nameless")
    for kind in (".pdf", ".docx", ".txt", ".jpg"):
        data = samples[kind].read_bytes()
        made.add_attachment(data, "application", "octet-stream", filename=f"file{kind[1:]}")
    made.add_attachment(random.Random(1).randbytes(900), "application", "octet-stream")
    path = saved(made, tmp_path / "nameless.eml")
    found = coverage_of(path)
    assert found.attachments == PartCounts(found=5, read=4, skipped=1)
    assert [(one.part, one.where) for one in found.skipped] == [("attachment", "unnamed")]
    text = texts(path)
    for words in ("Ports and depths", "Show a white light", "Harbour diary"):
        assert words in text


def test_forwarded_messages_are_read_to_their_depth(tmp_path: Path) -> None:
    inner = message("Level 7", "Words of level 7.")
    for level in range(6, -1, -1):
        outer = message(f"Level {level}", f"Words of level {level}.")
        outer.add_attachment(inner)
        inner = outer
    path = saved(inner, tmp_path / "nested.eml")
    document = read(path)
    text = texts(path)
    assert f"Words of level {MAX_DEPTH}." in text
    assert f"Words of level {MAX_DEPTH + 1}." not in text
    assert [page.number for page in document.pages] == list(range(1, MAX_DEPTH + 2))
    found = coverage_of(path)
    assert found.attachments == PartCounts(found=MAX_DEPTH + 1, read=MAX_DEPTH, skipped=1)
    assert f"depth of {MAX_DEPTH}" in lines(found)[0]


def test_an_attached_eml_file_and_inline_parts(tmp_path: Path) -> None:
    made = message("Outer")
    inner = message("Inner", "The tide turns at six.").as_bytes()
    made.add_attachment(inner, "application", "octet-stream", filename="note.eml")
    path = saved(made, tmp_path / "outer.eml")
    assert "The tide turns at six." in texts(path)
    related = MIMEMultipart("mixed")
    related["Subject"], related["From"] = "Footer", "ada@example.org"
    related.attach(MIMEText("The body."))
    related.attach(MIMEText("The footer of the list."))
    path = saved(related, tmp_path / "footer.eml")
    assert "The footer of the list." in texts(path)
    assert not coverage_of(path).skipped


def test_images_inside_the_text_of_a_message(tmp_path: Path) -> None:
    made = message("Shown inside")
    made.add_alternative("<p>See <img src='cid:one'></p>", subtype="html")
    html = made.get_payload()[1]
    html.add_related(encoded(drawing(seed=21)), "image", "png", cid="<one>")
    path = saved(made, tmp_path / "inline.eml")
    assert coverage_of(path).images == PartCounts(found=1, read=1)


def test_an_attachment_that_is_not_whole(tmp_path: Path) -> None:
    made = message("Hybrid")
    data = hybrid_pdf(tmp_path).read_bytes()
    made.add_attachment(data, "application", "pdf", filename="report.pdf")
    made.add_attachment(b"PK\3\4" + bytes(300), "application", "zip", filename="pack.zip")
    found = coverage_of(saved(made, tmp_path / "hybrid.eml"))
    assert found.attachments == PartCounts(found=2, partial=1, skipped=1)
    assert found.pages == PartCounts(found=5, read=4, skipped=1)
    assert any(one.where == "report.pdf: page 2" for one in found.skipped)


def test_no_cut_of_a_message_is_complete(tmp_path: Path) -> None:
    made = message("Cut")
    made.add_attachment("Berth 4 is closed.\n" * 40, filename="berths.txt")
    inner = message("Inside")
    inner.add_attachment(encoded(drawing(seed=3)), "image", "png", filename="berth.png")
    made.add_attachment(inner)
    data = made.as_bytes()
    whole = tmp_path / "whole.eml"
    whole.write_bytes(data)
    assert not coverage_of(whole).skipped
    for share in range(30, 99, 4):
        path = tmp_path / f"cut{share}.eml"
        path.write_bytes(data[: len(data) * share // 100])
        assert coverage_of(path).skipped, share


# --- readers of others -------------------------------------------------------------


def test_a_reader_without_a_report_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.txt"
    path.write_text("Words.")
    made = ReadDocument("text/plain", "", (Page(1, "Words."),), warnings=("page 2: is odd",))
    monkeypatch.setattr("ragcore.readers.text.read", lambda *_: made)
    found = read(path).coverage
    assert found is not None
    assert found.pages == PartCounts(found=1, read=1)
    assert found.skipped == (SkippedParts("text", 1, "", "page 2: is odd", partial=True),)
