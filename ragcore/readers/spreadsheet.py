"""Workbooks (XLSX): a page a sheet."""

from __future__ import annotations

import datetime as dt
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from ragcore.errors import UnreadableFile
from ragcore.readers import container
from ragcore.readers.clean import PageBuilder, one_line
from ragcore.readers.contract import InputFile
from ragcore.readers.coverage import CoverageBuilder
from ragcore.readers.docx import properties_of
from ragcore.readers.options import ReadOptions
from ragcore.types import Page, ReadDocument

MAX_COLUMNS = 500
_MAX_EMPTY_ROWS = 100_000  # in a row
_RASTER = (".png", ".jpg", ".jpeg", ".gif", ".bmp", ".tif", ".tiff", ".webp", ".emf", ".wmf")


def read(file: InputFile, options: ReadOptions) -> ReadDocument:
    """A line a row, cells separated by " | "; formulas by their last stored values."""
    import openpyxl

    container.check_members(file.path, options)
    try:
        workbook = openpyxl.load_workbook(
            file.path, read_only=True, data_only=True, keep_links=False
        )
    except Exception as error:
        raise UnreadableFile("the workbook is damaged") from error
    pages: list[Page] = []
    coverage = CoverageBuilder()
    try:
        left = options.max_characters
        for number, sheet in enumerate(workbook.worksheets, start=1):
            builder = PageBuilder()
            builder.heading(sheet.title, 1)
            _read_sheet(sheet, builder, max(0, left), coverage)
            left -= len(builder)
            pages.append(builder.page(number, label=sheet.title[:50]))
        _count_the_rest(file.path, workbook, coverage)
        properties = workbook.properties
    finally:
        workbook.close()
    if not any(len(page.text) > len(page.label or "") for page in pages):
        raise UnreadableFile("the workbook holds no text")
    return ReadDocument(
        media_type=file.media_type,
        title=one_line(properties.title or "")[:300],
        pages=tuple(pages),
        paged=True,
        metadata=properties_of(properties),
        coverage=coverage.done(),
    )


def _read_sheet(sheet: Any, builder: PageBuilder, limit: int, coverage: CoverageBuilder) -> None:
    title = len(builder)
    try:
        problems = add_rows(builder, _sheet_rows(sheet), limit)
    except Exception as error:
        problems = [f"it is damaged: {one_line(str(error))[:80]}"]
    if problems:
        partial = len(builder) > title
        coverage.skip("sheet", "; ".join(problems), sheet.title, partial=partial)
    else:
        coverage.read("sheet")


def _count_the_rest(path: Path, workbook: Any, coverage: CoverageBuilder) -> None:
    """Sheets that the workbook lists and the file does not hold, chart sheets, and images."""
    from defusedxml.ElementTree import fromstring

    for chart in workbook.chartsheets:
        coverage.skip("sheet", "a sheet that is one chart is not read", chart.title)
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        listing = next((name for name in names if name.endswith("workbook.xml")), "")
        tree = fromstring(archive.read(listing)) if listing else ()
    listed = [e.get("name", "") for part in tree if part.tag.endswith("}sheets") for e in part]
    for name in listed:
        if name not in workbook.sheetnames:
            coverage.skip("sheet", "its data is missing in the file", name)
    images = [name for name in names if "/media/" in name and name.lower().endswith(_RASTER)]
    for name in images:
        coverage.skip("image", "images in workbooks are not read", name.rsplit("/", 1)[-1])


def _sheet_rows(sheet: Any) -> Iterator[list[str]]:
    # A stated size of a million empty cells is common: sheets are read as they come.
    sheet.reset_dimensions()
    empty = 0
    for row in sheet.iter_rows(values_only=True):
        cells = [_cell(value) for value in row]
        if any(cells):
            empty = 0
            yield cells
        else:
            empty += 1
            if empty > _MAX_EMPTY_ROWS:
                raise ValueError(f"reading stopped after {_MAX_EMPTY_ROWS:,} empty rows")


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if isinstance(value, float):
        return f"{value:.12g}"
    if isinstance(value, dt.datetime):
        midnight = (value.hour, value.minute, value.second) == (0, 0, 0)
        return value.date().isoformat() if midnight else value.isoformat(" ", "seconds")
    return one_line(str(value))


def add_rows(builder: PageBuilder, rows: Iterable[list[str]], limit: int) -> list[str]:
    """Add rows as lines, at most `limit` characters of them and 500 cells of each.

    Return what was left out, one reason each.
    """
    problems: dict[str, None] = {}

    def within() -> Iterator[list[str]]:
        characters = 0
        for row in rows:
            if any(row[MAX_COLUMNS:]):
                problems[f"only the first {MAX_COLUMNS} columns are kept"] = None
            row = row[:MAX_COLUMNS]
            characters += sum(map(len, row)) + 3 * len(row)
            if characters > limit:
                problems["only the first rows are kept: the table is very large"] = None
                return
            yield row

    builder.rows(within())
    return list(problems)
