"""Patterns and statements of a search: matched in linear time, each under a time limit."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from sqlalchemy import text

from ragcore.catalog import Catalog, FileState
from ragcore.catalog.documents import store_failure
from ragcore.catalog.filters import Filter, item_ids
from ragcore.catalog.filters.globs import MAX_GLOB, MAX_WILDCARDS
from ragcore.catalog.filters.table import MAX_VALUE
from ragcore.errors import SearchTimeout, UsageError

LONG_PATH = "/" + "a" * 900 + "/" + "ab" * 400 + ".txt"
# Millions of rows from nothing, counted.
ENDLESS = (
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000000000) "
    "SELECT count(*) FROM n"
)


@pytest.mark.parametrize("name", ["path", "name"])
@pytest.mark.parametrize(
    "value", ["*?" * 14 + "\u2603", "*" * (MAX_WILDCARDS + 1), "[a]" * 9, "*" + "x" * MAX_GLOB]
)
def test_globs_have_a_limit(name: str, value: str) -> None:
    with pytest.raises(UsageError, match="a glob has at most"):
        Filter.of({name: value})


@pytest.mark.parametrize("name", ["path", "name", "type", "label", "classifier"])
def test_values_have_a_limit(name: str) -> None:
    with pytest.raises(UsageError, match="at most"):
        Filter.of({name: "x" * (MAX_VALUE + 1)})


@pytest.mark.parametrize(
    "glob", ["/*a*a*a*a*a*a*a\u2603", "/" + "*?" * 4 + "\u2603", "/*[ab]*[ab]*[ab]*[ab]\u2603"]
)
def test_the_hardest_glob_is_quick_on_the_longest_paths(database_url: str, glob: str) -> None:
    catalog = Catalog(database_url, search_timeout=60)
    row = catalog.create_collection("c")
    with catalog.write() as session:
        for number in range(300):
            path = f"{LONG_PATH}{number}"
            store_failure(session, row.id, FileState(path, f"{number}", 1, 1), "not read")
    began = time.monotonic()
    with catalog.search() as session:
        assert not len(item_ids(session, Filter(path=glob), row.id, "passage"))
        found = session.execute(
            text("SELECT count(*) FROM documents WHERE path LIKE :path"), {"path": f"{LONG_PATH}%"}
        ).scalar()
    assert found == 300
    assert time.monotonic() - began < 10
    catalog.close()


def test_a_statement_of_a_search_is_given_up(database_url: str) -> None:
    catalog = Catalog(database_url, search_timeout=0.3)
    for opened in (catalog.search, catalog.search_engine.connect):
        began = time.monotonic()
        with pytest.raises(SearchTimeout, match="search_timeout"), opened() as session:  # type: ignore[operator]
            session.execute(text(ENDLESS)).all()
        assert time.monotonic() - began < 10
    with catalog.search() as session:  # the connection is as good as before
        assert session.execute(text("SELECT 1")).scalar() == 1
    catalog.close()


def test_other_work_has_no_such_limit(tmp_path: Path) -> None:
    catalog = Catalog(f"sqlite:///{tmp_path / 'c.db'}", search_timeout=0.001)
    with pytest.raises(SearchTimeout), catalog.search() as session:
        session.execute(text(ENDLESS.replace("1000000000", "1000000"))).all()
    with catalog.read() as session:
        assert session.execute(text(ENDLESS.replace("1000000000", "300000"))).scalar() == 300_000
    catalog.close()
