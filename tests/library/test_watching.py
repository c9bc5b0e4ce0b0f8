"""Folders followed: what the file system reports, what is still being written, what is gone."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from ragcore.errors import UsageError
from ragcore.library import Library
from ragcore.library.watching import Pending, Watcher, signature
from ragcore.settings import Settings
from ragcore.types import IngestReport, SearchQuery
from ragcore.weights import WeightStore
from tests.waiting import TIMEOUT, wait_until


@pytest.fixture
def library(tmp_path: Path, starter_weights: WeightStore) -> Iterator[Library]:
    with Library(Settings(home=tmp_path / "home", workers=1, ocr="off")) as made:
        yield made


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "watched"
    made.mkdir()
    (made / "first.txt").write_text("The ferry leaves at six in the morning.\n")
    return made


class CountingWatcher(Watcher):
    """Counts how often it has looked at what changed."""

    looks = 0

    def _follow(self) -> None:
        super()._follow()
        self.looks += 1

    def waits_for(self, path: Path) -> bool:
        """Whether it has noticed how this file looks now, and waits for it to be whole."""
        one = self._pending._waiting.get(str(path))
        return one is not None and one.signature == signature(str(path))


@pytest.fixture
def watcher(request: pytest.FixtureRequest, library: Library, folder: Path) -> CountingWatcher:
    settle = getattr(request, "param", 0.4)
    return CountingWatcher(library, [folder], collection="live", settle=settle)


@pytest.fixture
def watching(
    library: Library, watcher: CountingWatcher, monkeypatch: pytest.MonkeyPatch
) -> Iterator[list[IngestReport]]:
    """The watcher at work; what it reported."""
    result: list[IngestReport] = []
    monkeypatch.setattr(watcher, "_on_report", result.append)
    thread = threading.Thread(target=watcher.run)
    thread.start()
    wait_until(lambda: len(result) == 1)
    assert names(library) == ["first.txt"]
    result.clear()
    yield result
    watcher.stop()
    thread.join(TIMEOUT)
    assert not thread.is_alive()


def names(library: Library) -> list[str]:
    try:
        rows, _ = library.documents.list("live")
    except UsageError:  # nothing was ingested yet
        return []
    return sorted(row.name for row in rows if row.state == "ready")


def test_changes_are_followed(library: Library, folder: Path, watching: list[IngestReport]) -> None:
    (folder / "heron.txt").write_text("The grey heron waits in shallow water.\n")
    wait_until(lambda: names(library) == ["first.txt", "heron.txt"])

    (folder / "heron.txt").write_text("The black stork builds its nest in old trees.\n")
    wait_until(lambda: any(report.updated for report in watching))
    query = SearchQuery(text="black stork nest", collection="live", kind="passages")
    assert "stork" in library.search(query).hits[0].text

    ids = {row.name: row.id for row in library.documents.list("live")[0]}
    (folder / "heron.txt").rename(folder / "stork.txt")
    wait_until(lambda: names(library) == ["first.txt", "stork.txt"])
    after = {row.name: row.id for row in library.documents.list("live")[0]}
    assert after["stork.txt"] == ids["heron.txt"]

    (folder / "first.txt").unlink()
    wait_until(lambda: names(library) == ["stork.txt"])


def test_folders_come_move_and_go(
    library: Library, folder: Path, tmp_path: Path, watching: list[IngestReport]
) -> None:
    outside = tmp_path / "outside" / "deep"
    outside.mkdir(parents=True)
    (outside / "a.txt").write_text("Apples are picked in autumn.\n")
    (outside / "b.txt").write_text("Bees sleep in winter.\n")
    (tmp_path / "outside").rename(folder / "in")
    wait_until(lambda: names(library) == ["a.txt", "b.txt", "first.txt"])
    (folder / "in").rename(folder / "moved")
    wait_until(lambda: sum(report.renamed for report in watching) == 2)
    paths = {row.path for row in library.documents.list("live")[0]}
    assert str(folder / "moved" / "deep" / "a.txt") in paths
    (folder / "moved").rename(tmp_path / "away")
    wait_until(lambda: names(library) == ["first.txt"])


def test_a_burst_is_one_ingest_and_hidden_files_are_none(
    library: Library, folder: Path, watching: list[IngestReport]
) -> None:
    for number in range(30):
        (folder / f"note{number:02}.txt").write_text(f"Note {number} is about pears.\n")
        (folder / f".hidden{number}").write_text("not to be read")
    wait_until(lambda: sum(report.added for report in watching) == 30)
    assert len(names(library)) == 31
    assert len(watching) <= 3
    assert all("hidden" not in name for name in names(library))


@pytest.mark.parametrize("watcher", [3.0], indirect=True)  # a busy machine pauses in writing
def test_a_file_that_is_still_written_is_waited_for(
    folder: Path, watcher: CountingWatcher, watching: list[IngestReport]
) -> None:
    with (folder / "long.txt").open("w") as out:
        for number in range(12):
            out.write(f"Line {number} of a report on rivers.\n")
            out.flush()
            wait_until(lambda: watcher.waits_for(folder / "long.txt"))
    wait_until(lambda: len(watching) > 0)
    assert [(report.added, report.updated) for report in watching] == [(1, 0)]


def test_a_half_file_is_read_again(
    library: Library, folder: Path, watching: list[IngestReport]
) -> None:
    sample = Path(__file__).resolve().parents[2] / "data" / "sample" / "planning-meeting.docx"
    data = sample.read_bytes()
    (folder / "meeting.docx").write_bytes(data[: len(data) // 2])
    wait_until(lambda: any(report.failed for report in watching))
    (folder / "meeting.docx").write_bytes(data)
    wait_until(lambda: "meeting.docx" in names(library))
    assert names(library) == ["first.txt", "meeting.docx"]


def test_a_root_that_is_taken_away_takes_nothing_with_it(
    library: Library,
    folder: Path,
    tmp_path: Path,
    watcher: CountingWatcher,
    watching: list[IngestReport],
) -> None:
    folder.rename(tmp_path / "unplugged")
    seen = watcher.looks
    wait_until(lambda: watcher.looks > seen + 10)  # what is gone was due in six
    assert names(library) == ["first.txt"]
    (tmp_path / "unplugged").rename(folder)
    (folder / "second.txt").write_text("Back again with more about ferries.\n")
    wait_until(lambda: names(library) == ["first.txt", "second.txt"])


def test_pending_waits_until_all_is_quiet(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_text("1")
    two.write_text("2")
    pending = Pending(settle=1.0)
    pending.heard(str(one), 0.0)
    pending.heard(str(two), 0.9)
    assert pending.take(0.5) == []
    assert pending.take(1.2) == []  # one is ready, and waits for two
    assert pending.take(2.0) == [str(one), str(two)]
    pending.heard(str(one), 3.0)
    one.write_text("longer")
    assert pending.take(4.0) == []  # it has changed since it was heard of
    assert pending.take(5.0) == [str(one)]
    two.unlink()
    pending.heard(str(two), 6.0)
    assert pending.take(8.0) == []  # gone: perhaps it comes up elsewhere
    assert pending.take(9.0) == [str(two)]
    for _ in range(3):
        pending.again(str(one), 10.0)
    assert pending.take(17.9) == []
    assert pending.take(18.1) == [str(one)]
    for _ in range(3):
        pending.again(str(one), 20.0)
    assert not pending  # given up, until it changes


def test_paths_that_are_not_there_are_refused(library: Library, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such file or folder"):
        Watcher(library, [tmp_path / "nowhere"], collection="live")


@pytest.mark.full
def test_the_command_ends_clean_at_ctrl_c(
    tmp_path: Path, folder: Path, starter_weights: WeightStore
) -> None:
    environment = {**os.environ, "RAGCORE_HOME": str(tmp_path / "home"), "RAGCORE_WORKERS": "1"}
    command = [sys.executable, "-m", "ragcore.cli.main", "watch", str(folder), "--json"]
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        first = json.loads(process.stdout.readline())
        assert first["added"] == 1
        process.send_signal(signal.SIGINT)
        _, complaints = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 0
    assert complaints.startswith("watching ")
    assert "Traceback" not in complaints
