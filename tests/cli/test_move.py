"""`ragcore move`: to PostgreSQL and back, and what is refused."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from .conftest import Run


@pytest.fixture
def home(stocked: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the small library that may be changed."""
    own = tmp_path / "own"
    shutil.copytree(stocked, own)
    monkeypatch.setenv("RAGCORE_HOME", str(own))
    return own


def names(run: Run) -> list[str]:
    found = run(
        "search", "a bird that eats fish", "--collection", "notes", "--kind", "passages", "--json"
    )
    assert found.code == 0, found.err
    return [hit["id"] for hit in found.json["hits"]]


def test_there_and_back(run: Run, home: Path, postgres_url: str) -> None:
    before = names(run)
    moved = run("move", "--database", postgres_url, "--json")
    assert moved.code == 0, moved.err
    assert moved.json["left"] == [f"sqlite:///{home / 'catalogue.db'}"]
    assert moved.json["catalog"]["rows"]["passages"] == 3
    settings = home / "settings.toml"
    assert postgres_url in settings.read_text()
    assert settings.stat().st_mode & 0o077 == 0
    assert names(run) == before
    assert run("collections", "create", "later").code == 0
    back = run("move", "--database", "sqlite", "--json")
    assert back.code == 0, back.err
    assert back.json["database"] == f"sqlite:///{home / 'catalogue.db'}"
    assert back.json["catalog"]["text_sha256"] == moved.json["catalog"]["text_sha256"]
    assert names(run) == before
    assert "later" in run("collections").out
    assert len(list(home.glob("catalogue.db.before-*"))) >= 1, "the first one is kept"
    assert not list(home.glob("*.moving*"))


def test_what_is_refused(run: Run, home: Path, postgres_url: str) -> None:
    assert run("move").complaint.startswith("say where to")
    assert "already" in run("move", "--database", "sqlite").complaint
    assert run("move", "--database", postgres_url).code == 0
    (home / "settings.toml").unlink()
    again = run("move", "--database", postgres_url)
    assert (again.code, "holds a library already" in again.complaint) == (2, True)
