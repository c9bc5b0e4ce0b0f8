"""The site of docs/: its navigation has every page, it is built without a warning, and it loads
nothing from elsewhere.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from ragcore.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts"))

import docs_reference  # noqa: E402


class _Configuration(yaml.SafeLoader):
    """Reads mkdocs.yml, whose tags name functions of its extensions."""


_Configuration.add_multi_constructor("tag:yaml.org,2002:python/", lambda *_: None)


def configuration() -> dict[str, Any]:
    found: dict[str, Any] = yaml.load((ROOT / "mkdocs.yml").read_text("utf-8"), _Configuration)
    return found


def pages(entries: list[Any]) -> Iterator[str]:
    for entry in entries:
        value = next(iter(entry.values())) if isinstance(entry, dict) else entry
        if isinstance(value, list):
            yield from pages(value)
        else:
            yield value


def test_the_navigation_has_every_page_once() -> None:
    named = list(pages(configuration()["nav"]))
    there = [path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")]
    project = {name for name in named if name.startswith("project/")}
    assert len(named) == len(set(named))
    assert set(named) - project == set(there)


def test_every_marker_has_its_generator() -> None:
    markers = {
        marker
        for path in (ROOT / "docs").rglob("*.md")
        for marker in re.findall(r"^<!-- generated: ([\w-]+) -->$", path.read_text("utf-8"), re.M)
    }
    assert markers == set(docs_reference.GENERATED)


def test_every_setting_is_in_its_table() -> None:
    rows = re.findall(
        r"^\| `(\w+)` \| `RAGCORE_(\w+)` \| (.+) \| (.+) \|$", docs_reference.settings(), re.M
    )
    assert [row[0] for row in rows] == list(Settings.model_fields)
    for name, variable, default, meaning in rows:
        assert variable == name.upper()
        assert meaning == str(Settings.model_fields[name].description).replace("|", "\\|")
        value = Settings.model_fields[name].default
        if isinstance(value, str | int) and name not in docs_reference.COMPUTED_DEFAULTS:
            assert default == (f"`{value}`" if value != "" else "empty"), name


@pytest.mark.full
def test_the_site_loads_nothing_from_elsewhere(site: Path) -> None:
    loaded = [
        (path.name, tag)
        for path in site.rglob("*.html")
        for tag in re.findall(r"<(?:script|link|img|iframe)\b[^>]*>", path.read_text("utf-8"))
        if re.search(r'(?:src|href)="(?:https?:)?//', tag)
    ]
    assert loaded == []
    for path in [*site.rglob("*.css")]:
        assert not re.search(r"url\([\"']?(?:https?:)?//", path.read_text("utf-8")), path


@pytest.mark.full
def test_the_site_has_what_is_generated(site: Path) -> None:
    text = "\n".join(path.read_text("utf-8") for path in site.rglob("*.html"))
    assert "<!-- generated:" not in text
    for expected in ("ragcore keys end-session", "RAGCORE_READER_MEMORY_MB", "/api/v1/collections"):
        assert expected in text
