"""The sample PDFs: a handbook with one section a page, and a paper in two columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image
from reportlab.lib import colors
from reportlab.lib.enums import TA_CENTER, TA_JUSTIFY
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import (
    BaseDocTemplate,
    CondPageBreak,
    Flowable,
    Frame,
    NextPageTemplate,
    PageBreak,
    PageTemplate,
    Paragraph,
    Spacer,
    Table,
    TableStyle,
)
from reportlab.platypus import Image as PdfImage

from sample_maker.source import Block, blocks

_WIDTH, _HEIGHT = A4
_BLUE = colors.HexColor("#17506e")
_BODY = ParagraphStyle("body", fontName="Helvetica", fontSize=12, leading=17.5, spaceAfter=8)
_H1 = ParagraphStyle(
    "h1", _BODY, fontName="Helvetica-Bold", fontSize=21, leading=26, textColor=_BLUE, spaceAfter=10
)
_H2 = ParagraphStyle(
    "h2", _BODY, fontName="Helvetica-Bold", fontSize=14, leading=18, spaceBefore=10
)
_CELL = ParagraphStyle("cell", _BODY, fontSize=10.5, leading=13, spaceAfter=0)
_PAPER = ParagraphStyle(
    "paper", fontName="Times-Roman", fontSize=11, leading=13.5, alignment=TA_JUSTIFY, spaceAfter=5
)
_PAPER_H2 = ParagraphStyle(
    "paper-h2", _PAPER, fontName="Times-Bold", fontSize=11, leading=14, spaceBefore=6, alignment=0
)
_PAPER_TITLE = ParagraphStyle(
    "paper-title", fontName="Times-Bold", fontSize=17, leading=21, alignment=TA_CENTER, spaceAfter=6
)
_PAPER_AUTHORS = ParagraphStyle("authors", _PAPER, alignment=TA_CENTER, fontSize=11)


class _Heading(Paragraph):  # type: ignore[misc]  # reportlab has no types
    """A heading that also enters the PDF's outline."""

    def __init__(self, text: str, style: ParagraphStyle, level: int, key: str) -> None:
        super().__init__(text, style)
        self._entry = (text, level, key)

    def draw(self) -> None:
        text, level, key = self._entry
        self.canv.bookmarkPage(key)
        self.canv.addOutlineEntry(text, key, level=level, closed=False)
        super().draw()


def handbook(source: Path, target: Path) -> None:
    """A title page with contents, then each section on a page of its own."""
    content = blocks(source)
    sections = [block.text for block in content if block.kind == "h1"]
    story = _title_page(sections)
    number = 0
    for at, block in enumerate(content):
        if block.kind == "h1":
            number += 1
            story += [PageBreak(), _Heading(f"{number} {block.text}", _H1, 0, f"s{at}")]
        elif block.kind == "h2":
            story += [CondPageBreak(25 * mm), _Heading(block.text, _H2, 1, f"s{at}")]
        elif block.kind == "table":
            story += [_table(block, _CELL, _WIDTH - 50 * mm), Spacer(1, 8)]
        else:
            story.append(Paragraph(block.text, _BODY))
    frame = Frame(25 * mm, 22 * mm, _WIDTH - 50 * mm, _HEIGHT - 47 * mm, 0, 0, 0, 0)
    _build(
        target,
        story,
        [PageTemplate("page", [frame], onPage=_handbook_frame)],
        title="Brightwater Instruments Staff Handbook",
        author="Brightwater Instruments, People team",
    )


def paper(source: Path, target: Path, images: Mapping[str, Image.Image]) -> None:
    """A title across the page, then two columns."""
    content = blocks(source)
    column = (_WIDTH - 40 * mm - 7 * mm) / 2
    story: list[Flowable] = [
        _Heading(content[0].text, _PAPER_TITLE, 0, "title"),
        Paragraph(content[1].text, _PAPER_AUTHORS),
        NextPageTemplate("later"),
    ]
    for at, block in enumerate(content[2:]):
        if block.kind == "h2":
            story.append(_Heading(block.text, _PAPER_H2, 1, f"s{at}"))
        elif block.kind == "table":
            cell = ParagraphStyle("paper-cell", _PAPER, fontSize=8.5, leading=10, alignment=0)
            story += [_table(block, cell, column), Spacer(1, 6)]
        elif block.kind == "image":
            story.append(_image(images[block.text], column))
        else:
            story.append(Paragraph(block.text, _PAPER))
    top = _HEIGHT - 20 * mm
    head = 24 * mm

    def columns(height: float) -> list[Frame]:
        left, right = 20 * mm, 27 * mm + column
        return [
            Frame(x, 20 * mm, column, height - 20 * mm, 0, 0, 0, 0, id=f"c{x}")
            for x in (left, right)
        ]

    title = Frame(20 * mm, top - head, _WIDTH - 40 * mm, head, 0, 0, 0, 0, id="title")
    _build(
        target,
        story,
        [
            PageTemplate("first", [title, *columns(top - head - 4 * mm)], onPage=_paper_frame),
            PageTemplate("later", columns(top), onPage=_paper_frame),
        ],
        title=content[0].text,
        author="Ada Lindqvist; Tomasz Berger",
    )


def _title_page(sections: Sequence[str]) -> list[Flowable]:
    large = ParagraphStyle("title", _H1, fontSize=30, leading=36, spaceBefore=60 * mm)
    story: list[Flowable] = [
        Spacer(1, 45 * mm),
        Paragraph("Brightwater Instruments", _H2),
        Paragraph("Staff Handbook", large),
        Paragraph("Edition of 1 January 2026", _BODY),
        Spacer(1, 20 * mm),
        Paragraph("Contents", _H2),
    ]
    rows = [[str(n), name, str(n + 1)] for n, name in enumerate(sections, 1)]
    contents = Table(rows, [10 * mm, 110 * mm, 15 * mm], hAlign="LEFT")
    contents.setStyle(TableStyle([("FONT", (0, 0), (-1, -1), "Helvetica", 10.5)]))
    return [*story, contents]


def _table(block: Block, style: ParagraphStyle, width: float) -> Table:
    rows = [[Paragraph(cell, style) for cell in row] for row in block.rows]
    rest = len(block.rows[0]) - 1
    table = Table(rows, [width * 0.4, *[width * 0.6 / rest] * rest])
    table.setStyle(
        TableStyle(
            [
                ("GRID", (0, 0), (-1, -1), 0.4, colors.grey),
                ("BACKGROUND", (0, 0), (-1, 0), colors.HexColor("#e3edf2")),
                ("VALIGN", (0, 0), (-1, -1), "MIDDLE"),
                ("TOPPADDING", (0, 0), (-1, -1), 2.5),
                ("BOTTOMPADDING", (0, 0), (-1, -1), 2.5),
            ]
        )
    )
    return table


def _image(image: Image.Image, width: float) -> PdfImage:
    data = BytesIO()
    image.save(data, "PNG")
    data.seek(0)
    return PdfImage(data, width, width * image.height / image.width)


def _handbook_frame(canvas: Canvas, document: Any) -> None:
    canvas.setFont("Helvetica", 8.5)
    canvas.setFillColor(colors.grey)
    if document.page > 1:
        canvas.drawString(25 * mm, _HEIGHT - 15 * mm, "Brightwater Instruments · Staff Handbook")
        canvas.drawRightString(_WIDTH - 25 * mm, 12 * mm, f"Page {document.page}")


def _paper_frame(canvas: Canvas, document: Any) -> None:
    canvas.setFont("Times-Roman", 9)
    canvas.drawCentredString(_WIDTH / 2, 10 * mm, str(document.page))


def _build(
    target: Path,
    story: list[Flowable],
    templates: list[PageTemplate],
    *,
    title: str,
    author: str,
) -> None:
    document = BaseDocTemplate(
        str(target), pagesize=A4, pageTemplates=templates, title=title, author=author, invariant=1
    )
    document.build(story)
