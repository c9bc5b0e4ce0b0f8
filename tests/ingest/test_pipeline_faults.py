"""The pipeline under attack: dead and hanging readers, killed runs, several at once."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from ragcore.library import Library
from ragcore.settings import Settings
from ragcore.types import IngestReport
from ragcore.weights import WeightStore

pytestmark = pytest.mark.reader_processes
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def settings(tmp_path: Path, starter_weights: WeightStore) -> Settings:
    return Settings(home=tmp_path / "home", workers=1, ocr="off", threads=2)


@pytest.fixture
def library(settings: Settings) -> Iterator[Library]:
    with Library(settings) as opened:
        opened.admin.models.text_encoder().warm_up()  # the tests wait for nothing else
        yield opened


def write_notes(folder: Path, count: int, topic: str = "note") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        (folder / f"{topic}-{number:03}.txt").write_text(f"This is {topic} number {number}.\n")
    return folder


def readers() -> list[psutil.Process]:
    """Reader processes of this process."""
    found = []
    for child in psutil.Process().children(recursive=True):
        try:
            if "ragcore.ingest.worker" in " ".join(child.cmdline()):
                found.append(child)
        except psutil.Error:
            continue
    return found


@contextmanager
def first_reader_gets(number: signal.Signals) -> Iterator[None]:
    """Send a signal to the first reader process that appears."""
    stop = threading.Event()

    def watch() -> None:
        while not stop.is_set():
            for process in readers():
                process.send_signal(number)
                return
            stop.wait(0.005)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield
    finally:
        stop.set()
        watcher.join()


def assert_consistent(library: Library) -> None:
    assert [f for f in library.admin.doctor().findings if f.state == "problem"] == []


def test_dead_reader_costs_one_file(library: Library, tmp_path: Path) -> None:
    folder = write_notes(tmp_path / "notes", 12)
    with first_reader_gets(signal.SIGKILL):
        report = library.ingest([folder])
    assert report.added == 11
    assert ["reader process died" in failure.error for failure in report.failed] == [True]
    assert library.ingest([folder]).failed == [], "the second run reads it"
    assert library.documents.statistics().documents == 12
    assert_consistent(library)


@pytest.mark.full
def test_hanging_reader_is_given_up_after_its_time(settings: Settings, tmp_path: Path) -> None:
    folder = write_notes(tmp_path / "notes", 6)
    hasty = settings.model_copy(update={"read_timeout": 8})
    with Library(hasty) as library:
        library.admin.models.text_encoder().warm_up()
        with first_reader_gets(signal.SIGSTOP):
            report = library.ingest([folder])
        assert report.added == 5
        assert ["took longer than 8 s" in failure.error for failure in report.failed] == [True]
        assert_consistent(library)


def test_readers_end_with_the_run(library: Library, tmp_path: Path) -> None:
    library.ingest([write_notes(tmp_path / "notes", 5)])
    assert readers() == []


@pytest.mark.full
def test_two_ingests_and_a_search_at_once(library: Library, tmp_path: Path) -> None:
    library.ingest([write_notes(tmp_path / "first", 5, "penguin")])
    done = threading.Event()
    reports: dict[str, IngestReport] = {}
    wrong: list[object] = []

    def ingest(topic: str) -> None:
        reports[topic] = library.ingest([write_notes(tmp_path / topic, 60, topic)])

    def search() -> None:
        while not done.is_set():
            found = library.search("penguin number 3", kind="passages", k=3, cutoff=0.0)
            if "penguin" not in found.hits[0].text:
                wrong.append(found.hits[0])

    ingests = [threading.Thread(target=ingest, args=(topic,)) for topic in ("lamp", "violin")]
    searcher = threading.Thread(target=search)
    for thread in (*ingests, searcher):
        thread.start()
    for thread in ingests:
        thread.join()
    done.set()
    searcher.join()
    assert wrong == []
    assert {topic: report.added for topic, report in reports.items()} == {"lamp": 60, "violin": 60}
    assert library.documents.statistics().passages == 125
    assert_consistent(library)


@pytest.mark.full
def test_same_folder_twice_at_once_is_stored_once(library: Library, tmp_path: Path) -> None:
    folder = write_notes(tmp_path / "notes", 80)
    reports: list[IngestReport] = []
    both = [
        threading.Thread(target=lambda: reports.append(library.ingest([folder]))) for _ in range(2)
    ]
    for thread in both:
        thread.start()
    for thread in both:
        thread.join()
    assert all(report.failed == [] for report in reports)
    counts = library.documents.statistics()
    assert (counts.documents, counts.passages) == (80, 80)
    assert_consistent(library)


@pytest.mark.full
def test_two_processes_ingest_into_one_home(settings: Settings, tmp_path: Path) -> None:
    folders = [write_notes(tmp_path / topic, 40, topic) for topic in ("oak", "elm")]
    environment = {**os.environ, "RAGCORE_HOME": str(settings.home), "RAGCORE_OCR": "off"}
    running = [
        subprocess.Popen(
            [sys.executable, "-m", "ragcore.cli.main", "ingest", str(folder), "--json"],
            env=environment,
            stdout=subprocess.PIPE,
        )
        for folder in folders
    ]
    for process in running:
        printed, _ = process.communicate(timeout=300)
        assert process.returncode == 0
        assert json.loads(printed)["added"] == 40
    with Library(settings) as library:
        assert library.documents.statistics().documents == 80
        assert_consistent(library)


@pytest.mark.full
def test_killed_ingest_loses_nothing_and_doubles_nothing(starter_weights: WeightStore) -> None:
    command = [sys.executable, str(ROOT / "benchmarks" / "kill9.py"), "--files", "120"]
    done = subprocess.run(
        [*command, "--kills", "3", "--seed", "11", "--json"],
        capture_output=True,
        text=True,
        timeout=1800,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["kills"] == 3
    assert result["problems"] == []
    assert result["documents"] == result["expected_documents"] == 120
    assert result["passages"] == result["expected_passages"]
    assert result["readers_left"] == 0
