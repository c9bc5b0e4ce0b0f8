"""Tables as text: CSV and TSV."""

from __future__ import annotations

import csv
import io

from ragcore.errors import UnreadableFile
from ragcore.readers.clean import PageBuilder, decode
from ragcore.readers.contract import InputFile
from ragcore.readers.coverage import CoverageBuilder
from ragcore.readers.options import ReadOptions
from ragcore.readers.spreadsheet import add_rows
from ragcore.types import ReadDocument

_FIELD_LIMIT = 10_000_000


def read(file: InputFile, options: ReadOptions) -> ReadDocument:
    """A line a row, cells separated by " | "."""
    text = decode(file.read_bytes()).replace("\0", "")
    if not text.strip():
        raise UnreadableFile("the file holds no text")
    csv.field_size_limit(_FIELD_LIMIT)
    builder = PageBuilder()
    source = io.StringIO(text, newline="")
    reader = csv.reader(source, delimiter=_delimiter(text, file.suffix))
    try:
        cut = add_rows(builder, reader, options.max_characters)
    except csv.Error as error:
        if not len(builder):
            raise UnreadableFile(f"not a table: {error}") from error
        cut = [f"reading stopped at line {reader.line_num}: {error}"]
    coverage = CoverageBuilder()
    coverage.read("sheet", 0 if cut else 1)
    for why in cut:
        coverage.skip("sheet", why, partial=True)
    return ReadDocument(
        media_type=file.media_type,
        title="",
        pages=(builder.page(1),),
        coverage=coverage.done(),
    )


def _delimiter(text: str, suffix: str) -> str:
    """The separator that gives the most lines the same number of fields."""
    if suffix == ".tsv":
        return "\t"
    lines = [line for line in text[:20_000].splitlines() if line.strip()][:50]

    def steady(mark: str) -> tuple[int, int]:
        counts = [line.count(mark) for line in lines]
        usual = max(set(counts), key=counts.count)
        return (counts.count(usual) if usual else 0, usual)

    return max([",", ";", "\t", "|"], key=steady)
