"""kill -9 at random moments of uploads, ingest, re-embedding, moves, backups and restores: nothing
is lost, nothing is there twice, no file is left half-written.

KILLS sets how many there are (12: two of each kind of work).
"""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from ragcore.files import remove_strays, strays, strays_here
from ragcore.library import Library
from ragcore.maintenance.backup import backup, restore
from ragcore.settings import Settings

from .killed_child import KINDS, content

pytestmark = [pytest.mark.full, pytest.mark.reader_processes]

KILLS = int(os.environ.get("KILLS", "12"))
FILES = 40  # that each round of an ingest adds
LONGEST = {"upload": 2.0, "ingest": 2.5, "reembed": 0.6, "move": 1.0, "backup": 1.0, "restore": 1.0}


@dataclass
class Bench:
    """The folders of a run, and what was acknowledged so far."""

    root: Path
    profiles: tuple[str, str]
    stored: list[Path] = field(default_factory=list)
    hit: Counter[str] = field(default_factory=Counter)  # kills that came before the work's end
    files: int = 0

    @property
    def home(self) -> Path:
        return self.root / "home"

    @property
    def restored(self) -> Path:
        return self.root / "restored" / "home"

    def folder(self, name: str) -> Path:
        made = self.root / name
        made.mkdir(parents=True, exist_ok=True)
        return made

    def settings(self, home: Path, profile: int = 0) -> Settings:
        return Settings(home=home, ocr="off", workers=1, profile=self.profiles[profile])

    def add_files(self) -> None:
        notes = self.folder("notes")
        for number in range(self.files, self.files + FILES):
            (notes / f"note-{number}.txt").write_text(f"Note {number} of the heron. " * 150)
        self.files += FILES


@pytest.fixture
def bench(tmp_path: Path, tiny_profile: Path) -> Bench:
    """A library of some notes, and a second profile whose text model is another space."""
    text = tiny_profile.parent / "text"
    shutil.copytree(text, tmp_path / "text2")
    profile = tiny_profile.read_text()
    other = tmp_path / "other.toml"
    other.write_text(profile.replace(f"local:{text}", f"local:{tmp_path / 'text2'}"))
    assert other.read_text() != profile
    made = Bench(tmp_path, (str(tiny_profile), str(other)))
    made.add_files()
    with Library(made.settings(made.home)) as library:
        library.create_collection("uploads")
        library.ingest([made.folder("notes")], collection="notes")
    backup(made.settings(made.home), made.folder("archives") / "good.tar")
    made.restored.parent.mkdir()
    restore(made.folder("archives") / "good.tar", made.settings(made.restored))
    return made


def kill(
    bench: Bench, kind: str, home: Path, folder: Path, profile: int, after: float
) -> list[str]:
    """Start the work, kill it `after` so many seconds of it; return what it acknowledged."""
    environment = {**os.environ, "RAGCORE_PROFILE": bench.profiles[profile]}
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.security.killed_child", kind, str(home), str(folder)],
        stdout=subprocess.PIPE, text=True, env=environment,
    )  # fmt: skip
    assert process.stdout is not None
    first = process.stdout.readline().strip()
    assert first == "go", f"{kind} did not begin: {first!r}"
    killer = threading.Timer(after, process.kill)
    killer.start()
    result = [line.strip() for line in process.stdout]
    process.wait()
    killer.cancel()
    assert process.returncode in (-9, 0), f"{kind} ended by {process.returncode}"
    bench.hit[kind] += process.returncode == -9
    return [line.removeprefix("stored ") for line in result if line.startswith("stored ")]


def problems(settings: Settings, *, repair: bool = False) -> list[str]:
    with Library(settings) as library:
        found = library.admin.doctor(repair=repair).findings
    return [
        f"{one.subject}: {one.detail}"
        for one in found
        if one.state == "problem" and one.subject != "half-written files"
    ]


def check_uploads(bench: Bench, result: list[str]) -> None:
    bench.stored += map(Path, result)
    for path in bench.stored:
        assert path.read_bytes() == content(path.name), path


def check_moved(bench: Bench, result: list[str]) -> None:
    """A moved catalog is empty or whole; an acknowledged one is whole."""
    with closing(sqlite3.connect(bench.home / "catalogue.db")) as source:
        right = source.execute("SELECT count(*) FROM passages").fetchone()[0]
    for path in bench.folder("moved").glob("*.db"):
        with closing(sqlite3.connect(path)) as target:
            assert target.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
            tables = target.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
            count = target.execute("SELECT count(*) FROM passages").fetchone()[0] if tables else 0
        assert count in ((right,) if str(path) in result else (0, right))
    shutil.rmtree(bench.folder("moved"))


def check_archives(bench: Bench, result: list[str]) -> None:
    saved = sorted(bench.folder("saved").glob("*.tar"))
    assert {str(path) for path in saved} >= set(result)
    for path in saved[:1] + saved[-1:]:
        restore(path, bench.settings(bench.root / "nowhere"), check=True)
    for path in saved:
        path.unlink()
    remove_strays(strays_here(bench.folder("saved")))
    assert list(bench.folder("saved").iterdir()) == []


def check_restored(bench: Bench) -> None:
    assert problems(bench.settings(bench.restored)) == []
    with Library(bench.settings(bench.restored)) as library:
        assert library.documents.statistics("notes").documents == FILES
    for left in bench.restored.parent.iterdir():
        assert left.name == "home" or left.name.startswith(("gone-", "home.before-", ".ragcore-"))
        if left.name.startswith(("gone-", "home.before-")):
            assert (left / "catalogue.db").stat().st_size > 10_000, "whole, old or new"
            shutil.rmtree(left)
    remove_strays(strays_here(bench.restored.parent))
    assert [path.name for path in bench.restored.parent.iterdir()] == ["home"]


def one_kill(bench: Bench, kind: str, after: float, round_: int) -> None:
    if kind == "upload":
        check_uploads(bench, kill(bench, kind, bench.home, bench.root, 0, after))
    elif kind == "ingest":
        bench.add_files()
        kill(bench, kind, bench.home, bench.folder("notes"), 0, after)
    elif kind == "reembed":
        home = bench.root / "reembedded"
        if not home.exists():
            restore(bench.folder("archives") / "good.tar", bench.settings(home))
        profile = (round_ // len(KINDS) + 1) % 2
        kill(bench, kind, home, bench.root, profile, after)
        with Library(bench.settings(home, profile)) as library:
            library.admin.reembed("notes")  # goes on where it was
            row = library.admin.catalog.collection("notes")
            space = library.admin.catalog.active_space(row.id, "text")
            assert space is not None
            count = library.documents.statistics("notes").passages
            assert library.admin.stores.get(row.id, space).count() == count
        assert problems(bench.settings(home, profile)) == []
    elif kind == "move":
        check_moved(bench, kill(bench, kind, bench.home, bench.folder("moved"), 0, after))
    elif kind == "backup":
        check_archives(bench, kill(bench, kind, bench.home, bench.folder("saved"), 0, after))
    else:
        kill(bench, kind, bench.restored, bench.folder("archives"), 0, after)
        check_restored(bench)
    assert problems(bench.settings(bench.home)) == []


def test_nothing_is_lost_and_nothing_is_there_twice(bench: Bench) -> None:
    chance = random.Random(9)
    kinds = list(KINDS)
    began = time.monotonic()
    for round_ in range(KILLS):
        kind = kinds[round_ % len(kinds)]
        one_kill(bench, kind, chance.uniform(0.0, LONGEST[kind]), round_)
    with Library(bench.settings(bench.home)) as library:
        report = library.ingest([bench.folder("notes")], collection="notes")
        assert report.failed == []
        rows, total = library.documents.list("notes", limit=10_000)
        assert total == bench.files
        assert max(Counter(row.path for row in rows).values()) == 1
        assert {row.passages for row in rows} == {rows[0].passages}
    assert problems(bench.settings(bench.home), repair=True) == []
    check_uploads(bench, [])
    assert strays(bench.home) == []
    assert len(list((bench.home / "uploads").rglob("upload-*"))) >= len(bench.stored)
    assert not [path for path in (bench.home / "claims").iterdir() if path.name != ".lock"]
    print(f"\n{KILLS} kills in {time.monotonic() - began:.0f} s: of work {dict(bench.hit)}, "
          f"{len(bench.stored)} uploads, {bench.files} notes")  # fmt: skip
