"""`where`: each field, alone and together, and what it refuses."""

from __future__ import annotations

import datetime as dt

import pytest

from ragcore.catalog.filters import Filter
from ragcore.errors import UsageError
from ragcore.search import SearchEngine
from ragcore.types import SearchQuery

ALL = {"rules.pdf": 3, "IT guide.md": 2, "wing.txt": 2, "cells.html": 2}


@pytest.mark.usefixtures("library")
@pytest.mark.parametrize(
    ("where", "right"),
    [
        ({"type": "pdf"}, {"rules.pdf": 3}),
        ({"type": "text/html"}, {"cells.html": 2}),
        ({"type": "markdown"}, {"IT guide.md": 2}),
        ({"type": ".TXT"}, {"wing.txt": 2}),
        ({"type": "image"}, {}),
        ({"path": "/docs/science"}, {"wing.txt": 2, "cells.html": 2}),
        ({"path": "/docs/science/"}, {"wing.txt": 2, "cells.html": 2}),
        ({"path": "/docs/sci"}, {}),
        ({"path": "science"}, {"wing.txt": 2, "cells.html": 2}),
        ({"path": "handbook/rules.pdf"}, {"rules.pdf": 3}),
        ({"path": "/"}, ALL),
        ({"path": "/docs/*.txt"}, {"wing.txt": 2}),
        ({"path": "handbook/*"}, {"rules.pdf": 3, "IT guide.md": 2}),
        ({"path": "/docs/*/[w-z]ing.???"}, {"wing.txt": 2}),
        ({"path": "/docs/science/%"}, {}),
        ({"document": "rules.pdf"}, {"rules.pdf": 3}),
        ({"document": "IT GUIDE.md"}, {"IT guide.md": 2}),
        ({"document": "guide"}, {}),
        ({"document": "999999"}, {}),
        ({"name": "guide"}, {"IT guide.md": 2}),
        ({"name": "W*.TXT"}, {"wing.txt": 2}),
        ({"name": "[!w]*"}, {k: v for k, v in ALL.items() if k != "wing.txt"}),
        ({"modified": "2023"}, {"wing.txt": 2}),
        ({"date": "2023"}, {"wing.txt": 2}),
        ({"date>=": "2022-06-15", "date<=": "2023-06-15"}, {"IT guide.md": 2, "wing.txt": 2}),
        ({"modified": "2022-06..2023-06-15"}, {"IT guide.md": 2, "wing.txt": 2}),
        ({"modified": "2022..2022-06-14"}, {}),
        (Filter(modified_after=dt.date(2022, 6, 16), modified_before="2023"), {"wing.txt": 2}),
        (Filter(type="pdf", page=(2, 9)), {"rules.pdf": 2}),
        (Filter(document="wing.txt", incomplete=True, size_max="9kB"), {"wing.txt": 2}),
        ({"modified": "2023-06"}, {"wing.txt": 2}),
        ({"modified": "2023-06-15"}, {"wing.txt": 2}),
        ({"modified": "2023-06-16"}, {}),
        (
            {"modified>=": "2022-06-15", "modified<=": "2023-06-15"},
            {"IT guide.md": 2, "wing.txt": 2},
        ),
        ({"modified>=": "2022-06-16", "modified<=": "2023"}, {"wing.txt": 2}),
        ({"size>=": "3000"}, {"wing.txt": 2, "cells.html": 2}),
        ({"size<=": "1 kB"}, {"rules.pdf": 3}),
        ({"size>=": "2k", "size<=": "0.003MB"}, {"IT guide.md": 2, "wing.txt": 2}),
        ({"page": "3"}, {"rules.pdf": 1}),
        ({"page": "2-9"}, {"rules.pdf": 2, "IT guide.md": 1, "wing.txt": 1, "cells.html": 1}),
        ({"label": "p-3"}, {"rules.pdf": 1}),
        ({"incomplete": "yes"}, {"wing.txt": 2}),
        ({"incomplete": "No"}, {k: v for k, v in ALL.items() if k != "wing.txt"}),
        ({"type": "pdf", "page": "1", "path": "handbook"}, {"rules.pdf": 1}),
        ({"type": "pdf", "path": "science"}, {}),
    ],
)
def test_fields(engine: SearchEngine, where: dict[str, str], right: dict[str, int]) -> None:
    query = SearchQuery(text="the wing", kind="passages", where=where, k=50, cutoff=0)
    found: dict[str, int] = {}
    for hit in engine.search(query).hits:
        found[hit.document] = found.get(hit.document, 0) + 1
    assert found == right


@pytest.mark.usefixtures("library")
def test_filter_comes_before_the_k_best(engine: SearchEngine) -> None:
    """The best of what is allowed, though everything else is better."""
    query = SearchQuery(
        text="wing flutter lift", kind="passages", where={"type": "pdf"}, k=1, cutoff=0
    )
    assert engine.search(query).hits[0].document == "rules.pdf"


@pytest.mark.parametrize(
    ("where", "said"),
    [
        ({"author": "x"}, "unknown filter 'author'; known are type, path"),
        ({"type": " "}, "needs a value"),
        ({"modified": "yesterday"}, "write YYYY, YYYY-MM or YYYY-MM-DD"),
        ({"modified>=": "2023-13"}, "not a date"),
        ({"modified<=": "0000"}, "not a date"),
        ({"modified<=": "2023-02-30"}, "not a date"),
        ({"size>=": "big"}, "not a size"),
        ({"size<=": "-3"}, "not a size"),
        ({"page": "0"}, "not a page"),
        ({"page": "7-3"}, "not a page"),
        ({"page": "iv"}, "not a page"),
        ({"modified": "2024..2023"}, "ends before it begins"),
        ({"incomplete": "maybe"}, "'maybe' is neither yes nor no"),
        ({"label_confidence": "2"}, "number from 0 to 1"),
        ({"date": "2023", "modified": "2022"}, "'modified' is given twice"),
    ],
)
def test_refused(where: dict[str, str], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        Filter.of(where)
