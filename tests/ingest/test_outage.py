"""PostgreSQL is killed and started again while a library is read into it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ragcore.backup import backup
from ragcore.catalog import retry
from ragcore.doctor import examine
from ragcore.errors import DatabaseUnavailable, UsageError
from ragcore.library import Library
from ragcore.settings import Settings
from ragcore.weights import WeightStore

from ..postgres_server import PostgresServer, running_server

FILES = 150


@pytest.fixture(scope="module")
def mortal() -> Iterator[PostgresServer]:
    yield from running_server()


@pytest.fixture
def library(
    tmp_path: Path, starter_weights: WeightStore, mortal: PostgresServer
) -> Iterator[Library]:
    url = mortal.url(mortal.create())
    settings = Settings(home=tmp_path / "home", database_url=url, workers=1, ocr="off")
    with Library(settings) as opened:
        yield opened


def test_killed_in_mid_ingest_and_mid_query(
    library: Library, mortal: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retry, "_FIRST", 0.1)
    folder = tmp_path / "files"
    folder.mkdir()
    for n in range(FILES):
        (folder / f"{n}.txt").write_text(f"Pump {n} ran dry; valve {n} was closed. " * 40)
    reports = []
    ingest = threading.Thread(target=lambda: reports.append(library.ingest([folder])))
    ingest.start()
    deadline = time.monotonic() + 120
    while not library.collections() or not library.statistics().documents:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    mortal.kill()
    with pytest.raises(DatabaseUnavailable, match="does not answer"):
        library.search("a pump without water")
    mortal.start()
    assert library.search("a pump without water", cutoff=0).hits, "without being opened anew"
    ingest.join()
    (report,) = reports
    assert (report.added + report.updated, report.failed) == (FILES, [])
    counts = library.statistics()
    assert counts.documents == FILES
    assert counts.spaces[next(iter(counts.spaces))] == counts.passages
    assert examine(library).healthy
    assert library.ingest([folder]).unchanged == FILES
    with pytest.raises(UsageError, match="pg_dump"):
        backup(library.settings, tmp_path / "kept.tar")
