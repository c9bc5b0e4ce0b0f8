"""The sample DOCX."""

from __future__ import annotations

import datetime as dt
import zipfile
from io import BytesIO
from pathlib import Path

from docx import Document

from sample_maker.source import blocks

_WHEN = dt.datetime(2026, 6, 9, 12, 0, tzinfo=dt.UTC)


def docx(source: Path, target: Path) -> None:
    """A Word document with real heading styles and a table."""
    document = Document()
    document.core_properties.author = "Jonas Feld"
    document.core_properties.title = "Minutes of the planning meeting, third quarter"
    document.core_properties.created = document.core_properties.modified = _WHEN
    for block in blocks(source):
        if block.kind == "h1":
            document.add_heading(block.text, 0)
        elif block.kind == "h2":
            document.add_heading(block.text, 1)
        elif block.kind == "table":
            table = document.add_table(0, len(block.rows[0]), style="Table Grid")
            for row in block.rows:
                for cell, text in zip(table.add_row().cells, row, strict=True):
                    cell.text = text
        else:
            document.add_paragraph(block.text)
    raw = BytesIO()
    document.save(raw)
    target.write_bytes(_without_dates(raw.getvalue()))


def _without_dates(data: bytes) -> bytes:
    """The same ZIP with every member dated 1980, so that two runs give the same bytes."""
    result = BytesIO()
    with zipfile.ZipFile(BytesIO(data)) as old, zipfile.ZipFile(result, "w") as new:
        for name in old.namelist():
            member = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            new.writestr(member, old.read(name), zipfile.ZIP_DEFLATED, 9)
    return result.getvalue()
