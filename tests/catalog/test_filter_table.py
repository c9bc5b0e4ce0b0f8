"""The table of filters: whatever takes or shows filters follows from it."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from pathlib import Path

import pytest

from ragcore.catalog import filters
from ragcore.catalog.filters import FILTERS, Filter, table
from ragcore.errors import UsageError

ROOT = Path(__file__).resolve().parents[2]


def test_every_key_takes_its_example() -> None:
    for field in FILTERS:
        for key, operator in field.keys.items():
            chosen = Filter.of({key: field.type.example})
            assert chosen == Filter(**{field.attribute(operator): field.type.example})
            assert dict(chosen) == {key: field.type.example}
    assert not Filter()


def test_every_field_can_be_looked_for_and_shown() -> None:
    by_name = {field.name: field for field in FILTERS}
    for field in FILTERS:
        if field.part_of:
            assert by_name[field.part_of].condition is not None
        else:
            assert field.condition is not None
        assert field.widget != "choice" or field.facet is not None, field.name


def test_typed_and_string_forms_are_the_same() -> None:
    import datetime as dt

    import ragcore

    typed = ragcore.Filter(
        type="pdf", modified_after=dt.date(2024, 1, 1), page=(3, 7), incomplete=False, size_min=10
    )
    where = {
        "type": "pdf", "modified>=": "2024-01-01", "size>=": "10", "page": "3-7",
        "incomplete": "no",
    }  # fmt: skip
    assert dict(typed) == where
    assert Filter.of(typed) is typed
    assert dict(Filter.of({**typed, "name": "x"})) == {**where, "name": "x"}
    with pytest.raises(UsageError, match="'3' is neither yes nor no"):
        ragcore.Filter(incomplete="3")
    with pytest.raises(TypeError):
        ragcore.Filter(color="red")  # type: ignore[call-arg]


def test_an_earlier_name_is_accepted_with_one_line(caplog: pytest.LogCaptureFixture) -> None:
    table._warn_renamed.cache_clear()
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            assert Filter.of({"date>=": "2024"}) == Filter(modified_after="2024")
    assert [record.getMessage() for record in caplog.records] == [
        "the filter 'date>=' is now 'modified>='; the old name will not be accepted by the next "
        "release"
    ]


def test_the_page_has_the_table() -> None:
    text = (ROOT / "docs" / "explanation" / "search.md").read_text("utf-8")
    assert filters.markdown_table() in text, filters.markdown_table()


ADDED = """    pages: int | str | None = entry(
        values.SIZE,
        "how many pages the document has",
        label="Length",
        condition=of_document(Document.page_count),
        widget="choice",
        facet=documents_by(Document.page_count),
    )
    pages_min: int | str | None = bound()
"""
# In a process whose table has one more entry: what takes and shows filters has it too.
LOOK = """
import importlib.util, json, sys
from importlib.machinery import ModuleSpec

class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == "ragcore.catalog.filters.table":
            return importlib.util.spec_from_file_location(name, sys.argv[1])

sys.meta_path.insert(0, Finder())
from click.testing import CliRunner
from sqlalchemy import create_engine
from sqlalchemy.orm import Session
from ragcore import Filter
from ragcore.api.schemas import SearchRequest
from ragcore.catalog import filters
from ragcore.catalog.models import Passage
from ragcore.cli.search import command
from ragcore.mcp.server import Where
from ragcore_app.components.filters import _keys
from pydantic import TypeAdapter

print(json.dumps({
    "help": "how many pages the document has" in CliRunner().invoke(command, ["--help"]).output,
    "http": "pages>=" in SearchRequest.model_json_schema()["properties"]["where"]["properties"],
    "mcp": "pages>=" in json.dumps(TypeAdapter(Where).json_schema()),
    "docs": "| `pages`, `pages>=` | `pages`, `pages_min` | how many" in filters.markdown_table(),
    "page": "pages" in list(_keys()),
    "typed": dict(Filter(pages_min=3)),
    "sql": str(filters.items(Filter.of({"pages>=": "3"}), 1, Passage)),
}))
"""


def test_one_entry_is_all_that_a_new_filter_takes(tmp_path: Path) -> None:
    source = Path(table.__file__).read_text("utf-8")
    marker = "    page: int | tuple"
    assert source.count(marker) == 1
    changed = tmp_path / "table.py"
    changed.write_text(source.replace(marker, ADDED + marker))
    done = subprocess.run(
        [sys.executable, "-c", LOOK, str(changed)], capture_output=True, text=True, check=True
    )
    found = json.loads(done.stdout)
    assert "documents.page_count >= " in found.pop("sql")
    assert found.pop("typed") == {"pages>=": "3"}
    assert found == dict.fromkeys(("help", "http", "mcp", "docs", "page"), True)
