"""The page on testing names every file that has tests of the full tier, and no other."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[1]
PAGE = (TESTS.parent / "docs" / "reference" / "testing.md").read_text("utf-8")


def test_files_of_the_full_tier_are_listed() -> None:
    listed = set(re.findall(r"^\| `(tests/[\w/]+\.py)` \|", PAGE, re.M))
    marked = {
        path.relative_to(TESTS.parent).as_posix()
        for path in TESTS.rglob("test_*.py")
        if re.search(r"\bmark\.(full|shared)\b", path.read_text("utf-8"))
        and path != Path(__file__).resolve()
    }
    assert listed == marked


def test_markers_and_groups_are_those_of_the_configuration(pytestconfig: pytest.Config) -> None:
    known = {line.partition(":")[0] for line in pytestconfig.getini("markers")}
    for name in ("full", "shared", "starter_models", "reader_processes"):
        assert f"`{name}`" in PAGE
        assert name in known
