"""Workbooks (XLSX): a page a sheet."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator
from typing import Any

from ragcore.errors import UnreadableFile
from ragcore.ingest.readers import container
from ragcore.ingest.readers.clean import PageBuilder, one_line
from ragcore.ingest.readers.contract import InputFile
from ragcore.ingest.readers.docx import properties_of
from ragcore.ingest.readers.options import ReadOptions
from ragcore.types import Page, ReadDocument

MAX_COLUMNS = 500
_MAX_EMPTY_ROWS = 2000  # in a row: what follows is formatting, not content


def read(file: InputFile, options: ReadOptions) -> ReadDocument:
    """A line a row, cells separated by " | "; formulas by their last stored values."""
    import openpyxl

    container.check(file.path, options)
    try:
        workbook = openpyxl.load_workbook(
            file.path, read_only=True, data_only=True, keep_links=False
        )
    except Exception as error:
        raise UnreadableFile("the workbook is damaged") from error
    pages: list[Page] = []
    warnings: list[str] = []
    try:
        left = options.max_characters
        for number, sheet in enumerate(workbook.worksheets, start=1):
            builder = PageBuilder()
            builder.heading(sheet.title, 1)
            try:
                add_rows(builder, _sheet_rows(sheet), left, warnings)
            except Exception as error:
                warnings.append(f"sheet {number} is damaged: {one_line(str(error))[:80]}")
            left -= len(builder)
            pages.append(builder.page(number, label=sheet.title[:50]))
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
        warnings=tuple(dict.fromkeys(warnings)),
    )


def _sheet_rows(sheet: Any) -> Iterator[list[str]]:
    # A stated size of a million empty cells is common: sheets are read as they come.
    sheet.reset_dimensions()
    empty = 0
    for row in sheet.iter_rows(values_only=True):
        cells = [_cell(value) for value in row[:MAX_COLUMNS]]
        if any(cells):
            empty = 0
            yield cells
        else:
            empty += 1
            if empty > _MAX_EMPTY_ROWS:
                return


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


def add_rows(
    builder: PageBuilder, rows: Iterable[list[str]], limit: int, warnings: list[str]
) -> None:
    """Add rows as lines, at most `limit` characters of them; a warning says if some were left."""

    def within() -> Iterator[list[str]]:
        kept = 0
        for row in rows:
            kept += sum(map(len, row)) + 3 * len(row)
            if kept > limit:
                warnings.append("only the first rows were kept: the table is very large")
                return
            yield row

    builder.rows(within())
