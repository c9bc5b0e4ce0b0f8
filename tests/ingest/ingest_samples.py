"""Real files of every type, made on the spot by the libraries that people's files come from."""

from __future__ import annotations

import io
import random
import zipfile
from collections.abc import Callable
from email.message import EmailMessage
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from ragcore.ingest.text_view import _font
from ragcore.types import IngestReport

from .format_samples import (
    write_code,
    write_latex,
    write_mbox,
    write_msg,
    write_notebook,
    write_odt,
    write_rtf,
    write_srt,
    write_zip,
)

PROSE = (
    "The harbour office opens at eight in the morning. Ships that arrive before dawn wait at the "
    "outer buoy until a pilot comes aboard. Dr. Meyer, who has kept the records since 1987, says "
    "that no ship ever waited longer than 3.5 hours. In winter the wait is shorter, because fewer "
    "ships sail. "
)


def drawing(width: int = 320, height: int = 240, seed: int = 0) -> Image.Image:
    """An image with enough going on to be distinguished from others."""
    chance = random.Random(seed)
    image = Image.new("RGB", (width, height), (200, 220, 240))
    pen = ImageDraw.Draw(image)
    for _ in range(14):
        x, y = chance.randrange(width), chance.randrange(height)
        size = chance.randrange(10, 90)
        color = tuple(chance.randrange(256) for _ in range(3))
        if chance.random() < 0.5:
            pen.ellipse((x, y, x + size, y + size), fill=color)
        else:
            pen.rectangle((x, y, x + size, y + size // 2), fill=color)
    return image


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def sign(text: str, size: int = 40) -> Image.Image:
    """A drawing with `text` written on it."""
    image = drawing(640, 480, seed=3)
    pen = ImageDraw.Draw(image)
    font = _font(size)
    assert isinstance(font, ImageFont.FreeTypeFont)
    left, top, right, bottom = font.getbbox(text)
    pen.rectangle((40, 180, 70 + right - left, 210 + bottom - top), fill="white")
    pen.text((55, 190), text, font=font, fill="black")
    return image


def write_pdf(path: Path, *, password: str = "") -> Path:
    """Two pages: headings, prose in two columns, a table, a list, an image with a caption."""
    from reportlab.lib import colors
    from reportlab.lib.pagesizes import A4
    from reportlab.lib.styles import getSampleStyleSheet
    from reportlab.platypus import (
        BalancedColumns,
        ListFlowable,
        PageBreak,
        Paragraph,
        SimpleDocTemplate,
        Table,
    )
    from reportlab.platypus import (
        Image as Figure,
    )

    styles = getSampleStyleSheet()
    body, head = styles["BodyText"], styles["Heading1"]
    columns = [Paragraph(f"Alpha {n}. {PROSE}", body) for n in range(6)]
    table = Table(
        [["Port", "Depth", "Pilots"], ["Hamburg", "15.1", "240"], ["Bremen", "12.8", "55"]],
        style=[("GRID", (0, 0), (-1, -1), 0.5, colors.black)],
        colWidths=[140, 100, 100],
    )
    figure = Figure(io.BytesIO(encoded(drawing())), 200, 150)
    story = [
        Paragraph("Harbour rules", styles["Title"]),
        Paragraph("Arrival", head),
        BalancedColumns(columns, nCols=2),
        PageBreak(),
        Paragraph("Ports and depths", head),
        table,
        Paragraph("What to bring", head),
        ListFlowable([Paragraph(x, body) for x in ("a chart", "a lamp", "a flag")]),
        figure,
        Paragraph("Figure 1: The view from the pilot station", body),
    ]
    options = {}
    if password:
        from reportlab.lib.pdfencrypt import StandardEncryption

        options["encrypt"] = StandardEncryption(password, strength=128)
    document = SimpleDocTemplate(
        str(path), pagesize=A4, title="Harbour rules", author="The harbour office", **options
    )
    document.build(story)
    return path


def write_scan(path: Path, text: str = PROSE) -> Path:
    """A PDF page that is an image of `text`."""
    from reportlab.pdfgen.canvas import Canvas

    image = Image.new("L", (1240, 600), 250)
    pen = ImageDraw.Draw(image)
    words, line, y = text.split(), "", 60
    for word in [*words, ""]:
        if len(line) > 60 or not word:
            pen.text((80, y), line, font=_font(30), fill=20)
            line, y = "", y + 48
        line += word + " "
    canvas = Canvas(str(path), pagesize=(595, 288))
    from reportlab.lib.utils import ImageReader

    canvas.drawImage(ImageReader(image), 0, 0, 595, 288)
    canvas.save()
    return path


def write_docx(path: Path) -> Path:
    import docx

    document = docx.Document()
    document.core_properties.title = "Harbour notes"
    document.core_properties.author = "Ada Pilot"
    document.add_heading("Arrival", level=1)
    document.add_paragraph(PROSE)
    document.add_heading("At night", level=2)
    document.add_paragraph("Show a white light.", style="List Bullet")
    document.add_paragraph("Sound the horn twice.", style="List Bullet")
    table = document.add_table(rows=2, cols=2)
    for cell, text in zip(
        [c for row in table.rows for c in row.cells], ["Port", "Depth", "Kiel", "11"], strict=True
    ):
        cell.text = text
    document.add_picture(io.BytesIO(encoded(drawing(seed=5))))
    document.save(str(path))
    return path


def write_pptx(path: Path) -> Path:
    import pptx
    from pptx.util import Inches

    show = pptx.Presentation()
    first = show.slides.add_slide(show.slide_layouts[1])
    first.shapes.title.text = "Pilots wanted"
    first.placeholders[1].text_frame.text = "Twelve posts are open"
    first.notes_slide.notes_text_frame.text = "Mention the pay rise"
    second = show.slides.add_slide(show.slide_layouts[5])
    second.shapes.title.text = "Numbers"
    table = second.shapes.add_table(2, 2, Inches(1), Inches(2), Inches(4), Inches(1)).table
    table.cell(0, 0).text, table.cell(0, 1).text = "Year", "Ships"
    table.cell(1, 0).text, table.cell(1, 1).text = "2024", "8123"
    second.shapes.add_picture(io.BytesIO(encoded(drawing(seed=6))), Inches(5), Inches(4))
    show.save(str(path))
    return path


def write_xlsx(path: Path) -> Path:
    import datetime as dt

    import openpyxl

    book = openpyxl.Workbook()
    sheet = book.active
    sheet.title = "Ships"
    sheet.append(["Name", "Arrived", "Tons"])
    sheet.append(["Aurora", dt.datetime(2024, 5, 1), 5400.5])
    sheet.append(["Bore", dt.datetime(2024, 5, 2), 900])
    book.create_sheet("Crew").append(["Captain", "Ilse Brandt"])
    book.save(path)
    return path


def write_epub(path: Path) -> Path:
    package = """<?xml version="1.0"?><package xmlns="http://www.idpf.org/2007/opf" version="3.0">
    <metadata xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:title>The Long Voyage</dc:title>
    <dc:creator>I. Brandt</dc:creator><dc:language>en</dc:language></metadata>
    <manifest><item id="b" href="two.xhtml" media-type="application/xhtml+xml"/>
    <item id="a" href="one.xhtml" media-type="application/xhtml+xml"/>
    <item id="p" href="map.png" media-type="image/png"/></manifest>
    <spine><itemref idref="a"/><itemref idref="b"/></spine></package>"""
    container = """<?xml version="1.0"?><container version="1.0"
    xmlns="urn:oasis:names:tc:opendocument:xmlns:container"><rootfiles>
    <rootfile full-path="OEBPS/content.opf" media-type="application/oebps-package+xml"/>
    </rootfiles></container>"""
    with zipfile.ZipFile(path, "w") as book:
        book.writestr("mimetype", "application/epub+zip")
        book.writestr("META-INF/container.xml", container)
        book.writestr("OEBPS/content.opf", package)
        book.writestr(
            "OEBPS/one.xhtml", f"<html><body><h1>Leaving</h1><p>{PROSE}</p></body></html>"
        )
        book.writestr(
            "OEBPS/two.xhtml",
            '<html><body><h1>Storm</h1><p>It blew.</p><img src="map.png" alt="A map"/>'
            "</body></html>",
        )
        book.writestr("OEBPS/map.png", encoded(drawing(seed=7)))
    return path


def write_eml(path: Path) -> Path:
    message = EmailMessage()
    message["Subject"] = "Grüße vom Hafen"
    message["From"] = "Ada Pilot <ada@harbour.example>"
    message["To"] = "office@harbour.example"
    message["Date"] = "Wed, 01 May 2024 08:30:00 +0200"
    message.set_content("The pilot comes at nine.\n")
    message.add_alternative("<p>The pilot comes at <b>nine</b>.</p>", subtype="html")
    message.add_attachment("Berth 4 is closed.\n", filename="berths.txt")
    message.add_attachment(
        encoded(drawing(seed=8)), maintype="image", subtype="png", filename="berth.png"
    )
    path.write_bytes(message.as_bytes())
    return path


def write_html(path: Path) -> Path:
    path.write_text(
        "<!doctype html><html lang='en'><head><title>Tides</title><style>p{color:red}</style>"
        "<script>var hidden = 'secretword';</script></head><body><nav>Home</nav>"
        f"<h1>High water</h1><p>{PROSE}</p><h2>Table</h2><table><tr><th>Day</th><th>Time</th></tr>"
        "<tr><td>Monday</td><td>06:12</td></tr></table><ul><li>one</li><li>two</li></ul>"
        "<p style='display:none'>invisible ink</p><!-- a comment --></body></html>",
        encoding="utf-8",
    )
    return path


def write_markdown(path: Path) -> Path:
    path.write_text(
        "---\ntitle: Knots\nauthor: Ada Pilot\n---\n# Bowline\n\nA **loop** that holds.\n\n"
        "## Steps\n\n1. make a loop\n2. pull it\n\n| knot | use |\n|---|---|\n| reef | sails |\n\n"
        "```python\nprint('knot')\n```\n",
        encoding="utf-8",
    )
    return path


def write_csv(path: Path) -> Path:
    path.write_text("Name;Tons\nAurora;5400\nBore;900\n", encoding="latin-1")
    return path


def write_text(path: Path) -> Path:
    path.write_text(f"Harbour diary\n\n{PROSE}\n\nAll quiet.\n", encoding="utf-8")
    return path


def write_jpeg(path: Path) -> Path:
    path.write_bytes(encoded(drawing(), "JPEG", quality=90))
    return path


WRITERS: dict[str, Callable[[Path], Path]] = {
    ".pdf": write_pdf,
    ".docx": write_docx,
    ".pptx": write_pptx,
    ".xlsx": write_xlsx,
    ".csv": write_csv,
    ".epub": write_epub,
    ".eml": write_eml,
    ".html": write_html,
    ".md": write_markdown,
    ".txt": write_text,
    ".jpg": write_jpeg,
    ".odt": write_odt,
    ".rtf": write_rtf,
    ".ipynb": write_notebook,
    ".tex": write_latex,
    ".py": write_code,
    ".srt": write_srt,
    ".mbox": write_mbox,
    ".msg": write_msg,
    ".zip": write_zip,
}


def outcome(report: IngestReport) -> tuple[int, int, int, int, int, int]:
    """(added, updated, unchanged, renamed, removed, failed)"""
    return (
        report.added,
        report.updated,
        report.unchanged,
        report.renamed,
        report.removed,
        len(report.failed),
    )
