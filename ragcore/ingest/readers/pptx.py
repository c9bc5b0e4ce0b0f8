"""Presentations (PPTX): a page a slide, with its tables, notes and pictures."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ragcore.errors import UnreadableFile
from ragcore.ingest.pictures import describe_all
from ragcore.ingest.readers import container
from ragcore.ingest.readers.clean import PageBuilder, one_line
from ragcore.ingest.readers.contract import InputFile
from ragcore.ingest.readers.docx import properties_of
from ragcore.ingest.readers.options import ReadOptions
from ragcore.types import Page, ReadDocument

_MAX_DEPTH = 20


def read(file: InputFile, options: ReadOptions) -> ReadDocument:
    """Shapes are read from the top down; the slide's title is its heading and label."""
    import pptx

    container.check(file.path, options)
    try:
        presentation = pptx.Presentation(str(file.path))
        slides = list(presentation.slides)
    except Exception as error:
        raise UnreadableFile("the presentation is damaged") from error
    pages, images, problems = [], [], []
    for number, slide in enumerate(slides, start=1):
        try:
            page, found = _read_slide(slide, number)
        except Exception as error:
            problems.append(f"slide {number} could not be read: {one_line(str(error))[:80]}")
            page, found = Page(number=number, text=""), []
        pages.append(page)
        images += [(data, number, caption) for data, caption in found]
    pictures, warnings = describe_all(images if options.max_pictures else [], options=options)
    if not pictures and not any(page.text for page in pages):
        raise UnreadableFile("the presentation holds no text")
    title = one_line(presentation.core_properties.title or "")
    if title.lower() in {"powerpoint presentation", "powerpoint-präsentation"}:
        title = ""
    if not title:
        title = next((page.headings[0][2] for page in pages if page.headings), "")
    return ReadDocument(
        media_type=file.media_type,
        title=title[:300],
        pages=tuple(pages),
        pictures=pictures,
        paged=True,
        metadata=properties_of(presentation.core_properties),
        warnings=(*problems, *warnings),
    )


def _read_slide(slide: Any, number: int) -> tuple[Page, list[tuple[bytes, str]]]:
    builder = PageBuilder()
    images: list[tuple[bytes, str]] = []
    title = slide.shapes.title
    label = one_line(title.text_frame.text) if title is not None and title.has_text_frame else ""
    builder.heading(label, 1)
    skipped = None if title is None else title.shape_id
    shapes = sorted(slide.shapes, key=lambda shape: (shape.top or 0, shape.left or 0))
    for shape in _flat(shapes, 0):
        if shape.shape_id != skipped:
            _read_shape(shape, builder, images)
    if slide.has_notes_slide and slide.notes_slide.notes_text_frame is not None:
        notes = slide.notes_slide.notes_text_frame.text.strip()
        if notes:
            builder.add(f"Notes: {notes}")
    return builder.page(number, label=label[:50] or None), images


def _flat(shapes: Any, depth: int) -> Iterator[Any]:
    for shape in shapes:
        if hasattr(shape, "shapes") and depth < _MAX_DEPTH:
            yield from _flat(shape.shapes, depth + 1)
        else:
            yield shape


def _read_shape(shape: Any, builder: PageBuilder, images: list[tuple[bytes, str]]) -> None:
    if getattr(shape, "has_table", False) and shape.has_table:
        builder.rows([[cell.text for cell in row.cells] for row in shape.table.rows])
    elif getattr(shape, "has_chart", False) and shape.has_chart:
        _read_chart(shape.chart, builder)
    elif shape.has_text_frame:
        lines = []
        for paragraph in shape.text_frame.paragraphs:
            text = one_line("".join(run.text for run in paragraph.runs) or paragraph.text)
            if text:
                lines.append("  " * (paragraph.level or 0) + text)
        builder.add("\n".join(lines))
    if hasattr(shape, "image"):
        try:
            images.append((shape.image.blob, one_line(_alternative_text(shape))[:300]))
        except Exception:  # linked pictures have no bytes here
            return


def _read_chart(chart: Any, builder: PageBuilder) -> None:
    if chart.has_title and chart.chart_title.has_text_frame:
        builder.add(chart.chart_title.text_frame.text)
    for plot in chart.plots:
        series = list(plot.series)
        rows = [["", *(one_line(str(s.name)) for s in series)]]
        for index, category in enumerate(list(plot.categories)[:500]):
            values = [s.values[index] if index < len(s.values) else None for s in series]
            rows.append([str(category), *("" if v is None else f"{v:g}" for v in values)])
        builder.rows(rows)


def _alternative_text(shape: Any) -> str:
    described = shape._element.xpath(".//p:cNvPr/@descr")
    return str(described[0]) if described else ""
