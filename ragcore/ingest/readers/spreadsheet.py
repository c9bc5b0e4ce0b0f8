"""Tables: workbooks (XLSX), a page a sheet, and CSV or TSV text."""

from __future__ import annotations

import csv
import datetime as dt
import io
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from ragcore.errors import UnreadableFile
from ragcore.ingest.readers import container
from ragcore.ingest.readers.clean import PageBuilder, decode, one_line
from ragcore.ingest.readers.docx import properties_of
from ragcore.ingest.readers.options import ReadOptions
from ragcore.ingest.readers.sniff import FileType
from ragcore.types import Page, ReadDocument

_MAX_COLUMNS = 500
_MAX_EMPTY_ROWS = 2000  # in a row: what follows is formatting, not content
_FIELD_LIMIT = 10_000_000


def read(path: Path, file_type: FileType, options: ReadOptions) -> ReadDocument:
    """A line a row, cells separated by " | "; formulas by their last stored values."""
    if file_type.kind == "csv":
        return _read_csv(path, file_type, options)
    import openpyxl

    container.check(path, options)
    try:
        workbook = openpyxl.load_workbook(path, read_only=True, data_only=True, keep_links=False)
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
                _add_rows(builder, _sheet_rows(sheet), left, warnings)
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
        media_type=file_type.media_type,
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
        cells = [_cell(value) for value in row[:_MAX_COLUMNS]]
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


def _add_rows(
    builder: PageBuilder, rows: Iterable[list[str]], limit: int, warnings: list[str]
) -> None:
    def within() -> Iterator[list[str]]:
        kept = 0
        for row in rows:
            kept += sum(map(len, row)) + 3 * len(row)
            if kept > limit:
                warnings.append("only the first rows were kept: the table is very large")
                return
            yield row

    builder.rows(within())


def _read_csv(path: Path, file_type: FileType, options: ReadOptions) -> ReadDocument:
    text = decode(path.read_bytes()).replace("\0", "")
    if not text.strip():
        raise UnreadableFile("the file holds no text")
    csv.field_size_limit(_FIELD_LIMIT)
    builder = PageBuilder()
    warnings: list[str] = []
    source = io.StringIO(text, newline="")
    reader = csv.reader(source, delimiter=_delimiter(text, path))
    try:
        _add_rows(builder, (row[:_MAX_COLUMNS] for row in reader), options.max_characters, warnings)
    except csv.Error as error:
        if not len(builder):
            raise UnreadableFile(f"not a table: {error}") from error
        warnings.append(f"reading stopped at line {reader.line_num}: {error}")
    return ReadDocument(
        media_type=file_type.media_type,
        title="",
        pages=(builder.page(1),),
        warnings=tuple(warnings),
    )


def _delimiter(text: str, path: Path) -> str:
    """The separator that gives the most lines the same number of fields."""
    if path.suffix.lower() == ".tsv":
        return "\t"
    lines = [line for line in text[:20_000].splitlines() if line.strip()][:50]

    def steady(mark: str) -> tuple[int, int]:
        counts = [line.count(mark) for line in lines]
        usual = max(set(counts), key=counts.count)
        return (counts.count(usual) if usual else 0, usual)

    return max([",", ";", "\t", "|"], key=steady)
