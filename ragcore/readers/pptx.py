"""Presentations (PPTX): a page a slide, with its tables, notes and images."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ragcore.errors import UnreadableFile
from ragcore.readers import container
from ragcore.readers.clean import PageBuilder, one_line
from ragcore.readers.contract import InputFile
from ragcore.readers.coverage import CoverageBuilder
from ragcore.readers.docx import properties_of
from ragcore.readers.images import describe_all
from ragcore.readers.options import ReadOptions
from ragcore.types import Page, ReadDocument

_MAX_DEPTH = 20
_MAX_CATEGORIES = 500


def read(file: InputFile, options: ReadOptions) -> ReadDocument:
    """Shapes are read from the top down; the slide's title is its heading and label."""
    import pptx

    container.check_members(file.path, options)
    try:
        presentation = pptx.Presentation(str(file.path))
        slides = list(presentation.slides)
    except Exception as error:
        raise UnreadableFile("the presentation is damaged") from error
    pages, embedded, coverage = [], [], CoverageBuilder()
    for number, slide in enumerate(slides, start=1):
        try:
            page, found = _read_slide(slide, number, coverage)
            coverage.read("page")
        except Exception as error:
            coverage.skip("page", f"the slide is damaged: {one_line(str(error))[:80]}", number)
            page, found = Page(number=number, text=""), []
        pages.append(page)
        embedded += [(data, number, caption) for data, caption in found]
    wanted = embedded if options.max_images else []
    images = describe_all(wanted, options=options, coverage=coverage)
    if not images and not any(page.text for page in pages):
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
        images=images,
        paged=True,
        metadata=properties_of(presentation.core_properties),
        coverage=coverage.done(),
    )


def _read_slide(
    slide: Any, number: int, coverage: CoverageBuilder
) -> tuple[Page, list[tuple[bytes, str]]]:
    builder = PageBuilder()
    images: list[tuple[bytes, str]] = []
    title = slide.shapes.title
    label = one_line(title.text_frame.text) if title is not None and title.has_text_frame else ""
    builder.heading(label, 1)
    skipped = None if title is None else title.shape_id
    shapes = sorted(slide.shapes, key=lambda shape: (shape.top or 0, shape.left or 0))
    for shape in _flat(shapes, 0):
        if shape.shape_id != skipped:
            _read_shape(shape, number, builder, images, coverage)
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


def _read_shape(
    shape: Any,
    number: int,
    builder: PageBuilder,
    images: list[tuple[bytes, str]],
    coverage: CoverageBuilder,
) -> None:
    if getattr(shape, "has_table", False) and shape.has_table:
        builder.rows([[cell.text for cell in row.cells] for row in shape.table.rows])
        coverage.read("table")
    elif getattr(shape, "has_chart", False) and shape.has_chart:
        _read_chart(shape.chart, number, builder, coverage)
    elif shape.shape_type in _objects():
        coverage.skip("attachment", "an embedded object, which is not read", number, count=1)
    elif not shape.has_text_frame and shape._element.xpath(".//*[local-name()='relIds']"):
        coverage.skip("image", "a diagram, whose text is not read", number, count=1)
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
        except Exception:
            why = "it is linked or missing: the file does not hold it"
            coverage.skip("image", why, number, count=1)


def _objects() -> frozenset[Any]:
    from pptx.enum.shapes import MSO_SHAPE_TYPE as KINDS

    return frozenset({KINDS.EMBEDDED_OLE_OBJECT, KINDS.LINKED_OLE_OBJECT})


def _read_chart(chart: Any, number: int, builder: PageBuilder, coverage: CoverageBuilder) -> None:
    if chart.has_title and chart.chart_title.has_text_frame:
        builder.add(chart.chart_title.text_frame.text)
    for plot in chart.plots:
        categories = list(plot.categories)
        if len(categories) > _MAX_CATEGORIES:
            why = f"only the first {_MAX_CATEGORIES} categories of a chart are kept"
            coverage.skip("table", why, number, count=1, partial=True)
        else:
            coverage.read("table")
        series = list(plot.series)
        rows = [["", *(one_line(str(s.name)) for s in series)]]
        for index, category in enumerate(categories[:_MAX_CATEGORIES]):
            values = [s.values[index] if index < len(s.values) else None for s in series]
            rows.append([str(category), *("" if v is None else f"{v:g}" for v in values)])
        builder.rows(rows)


def _alternative_text(shape: Any) -> str:
    described = shape._element.xpath(".//p:cNvPr/@descr")
    return str(described[0]) if described else ""
