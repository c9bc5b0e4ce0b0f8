"""A catalog with damaged pages: what can be read is named, and saved into a new home."""

from __future__ import annotations

import json
import os
import random
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import select

from ragcore.catalog import Catalog, integrity
from ragcore.catalog.documents import store_document
from ragcore.catalog.models import Document, Passage
from ragcore.errors import RagcoreError, UsageError
from ragcore.library import Library
from ragcore.maintenance.recover import recover
from ragcore.settings import Settings
from tests.catalog.conftest import DIMENSION, make_document

COUNT = 150
PAGE = 4096


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A home with 150 documents of three passages each, with vectors, an image and an upload."""
    settings = Settings(home=tmp_path / "home")
    with Library(settings) as library:
        row = library.create_collection("papers")
        space = library.admin.catalog.space_id("words", "text", DIMENSION)
        library.admin.catalog.use_space(row.id, space, "text")
        for number in range(COUNT):
            texts = [f"Paper {number}, part {part}: " + "words of it. " * 40 for part in range(3)]
            new = make_document(
                f"/papers/{number}.txt", texts, images=1, text_space=space, seed=number
            )
            with library.admin.catalog.write() as session:
                store_document(session, row.id, new)
    (settings.uploads / "1").mkdir(parents=True)
    (settings.uploads / "1" / "letter.txt").write_text("uploaded")
    (settings.home / "settings.toml").write_text('ocr = "off"\n')
    return settings


def passages(home: Path) -> dict[int, tuple[int, str]]:
    with closing(sqlite3.connect(home / "catalogue.db")) as database:
        rows = database.execute("SELECT id, document_id, text FROM passages").fetchall()
    return {number: (document, text) for number, document, text in rows}


def damage(home: Path, pages: list[int]) -> None:
    """Overwrite pages of the database with zeros."""
    with (home / "catalogue.db").open("r+b") as file:
        for page in pages:
            file.seek(page * PAGE)
            file.write(bytes(PAGE))


def pages_of(home: Path, table: str) -> list[int]:
    """Page numbers (from 0) of a table's leaves, wherever they are in the file."""
    with closing(sqlite3.connect(home / "catalogue.db")) as database:
        assert database.execute("PRAGMA page_size").fetchone()[0] == PAGE
    data = (home / "catalogue.db").read_bytes()
    mark = {"passages": b"HeadingPaper", "documents": b"/papers/"}[table]
    return [
        at for at in range(1, len(data) // PAGE)
        if mark in (page := data[at * PAGE : (at + 1) * PAGE]) and page[0] == 13
    ]  # fmt: skip


@pytest.mark.parametrize("table", ["passages", "documents"])
def test_what_can_be_read_is_saved(settings: Settings, tmp_path: Path, table: str) -> None:
    before = passages(settings.home)
    leaves = pages_of(settings.home, table)
    damage(settings.home, random.Random(4).sample(leaves, 3))
    original = (settings.home / "catalogue.db").read_bytes()
    with Library(settings) as library:
        diagnosis = library.admin.doctor()
    assert not diagnosis.healthy
    result = {one.subject: one.detail for one in diagnosis.findings}
    assert "can be read" in result["readable documents"]
    assert "ragcore recover" in result["readable"]
    found = recover(settings, tmp_path / "new")
    assert (settings.home / "catalogue.db").read_bytes() == original
    assert not found.whole
    assert found.lost[table] > 0
    assert 0 < found.rows["documents"] <= COUNT
    after = passages(tmp_path / "new")
    assert after
    assert all(before[number] == row for number, row in after.items())
    catalog = Catalog(f"sqlite:///{tmp_path / 'new' / 'catalogue.db'}")
    try:
        assert integrity.check_database(catalog) == []
        assert integrity.check_lexical(catalog) == []
        assert integrity.check_rows(catalog) == []
        with catalog.read() as session:
            documents = session.scalars(select(Document)).all()
            again = {row.path for row in documents if row.mtime_ns == -1}
            kept = {row.id for row in documents}
        assert again == set(found.documents)
        whole = {row.id for row in documents if row.path not in again}
        for document in whole:  # of these nothing is missing
            assert sum(1 for of, _ in after.values() if of == document) == 3
        assert {of for of, _ in after.values()} <= kept
    finally:
        catalog.close()
    assert (tmp_path / "new" / "uploads" / "1" / "letter.txt").read_text() == "uploaded"
    assert (tmp_path / "new" / "settings.toml").exists()


def test_searches_find_what_was_saved(settings: Settings, tmp_path: Path) -> None:
    damage(settings.home, pages_of(settings.home, "passages")[:2])
    recover(settings, tmp_path / "new")
    with Library(Settings(home=tmp_path / "new")) as library:
        row = library.admin.catalog.collection("papers")
        space = library.admin.catalog.active_space(row.id, "text")
        assert space is not None
        stored = library.admin.stores.get(row.id, space).count()
        with library.admin.catalog.read() as session:
            present = len(session.scalars(select(Passage.id)).all())
        assert stored == present < 3 * COUNT


def test_a_sound_library_is_copied_whole(settings: Settings, tmp_path: Path) -> None:
    found = recover(settings, tmp_path / "new")
    assert found.whole
    assert passages(tmp_path / "new") == passages(settings.home)


def test_the_command(settings: Settings, tmp_path: Path) -> None:
    damage(settings.home, pages_of(settings.home, "passages")[3:5])
    environment = {**os.environ, "RAGCORE_HOME": str(settings.home)}
    command = [sys.executable, "-m", "ragcore.cli.main", "recover", str(tmp_path / "new"), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    report = json.loads(done.stdout)
    assert report["lost"]["passages"] > 0
    assert report["documents"]
    again = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert again.returncode == 2
    assert "is not empty" in again.stderr


def test_what_cannot_be_recovered_is_said(settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="inside the damaged home"):
        recover(settings, settings.home / "new")
    (settings.home / "catalogue.db").write_bytes(b"this was a database once" * 400)
    with pytest.raises(RagcoreError, match="restore a backup"):
        recover(settings, tmp_path / "new")
