"""Two ingests of one folder at once: each file is read and embedded once."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from ragcore.ingest.claims import Claims
from ragcore.ingest.embed import Embedder, Vectors
from ragcore.ingest.worker import ReadResult
from ragcore.library import Library
from ragcore.settings import Settings
from ragcore.types import IngestReport

FILES = 24


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "files"
    folder.mkdir()
    for number in range(FILES):
        (folder / f"{number}.txt").write_text(f"File {number} is about the bridge number {number}.")
    return folder


def test_two_at_once_embed_once(
    settings: Settings, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    embedded: list[str] = []
    embed = Embedder.embed

    def counted(embedder: Embedder, results: Sequence[ReadResult]) -> list[Vectors]:
        embedded.extend(result.file.path for result in results)
        return embed(embedder, results)

    monkeypatch.setattr(Embedder, "embed", counted)
    with Library(settings) as library:
        library.create_collection("default")
        gate = threading.Barrier(2)
        reports: list[IngestReport] = []

        def run() -> None:
            gate.wait()
            reports.append(library.ingest([folder]))

        threads = [threading.Thread(target=run) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(300)
        assert len(reports) == 2
        assert sum(report.added for report in reports) == FILES
        assert sum(report.unchanged for report in reports) == FILES
        assert not any(report.failed or report.updated for report in reports)
        assert len(embedded) == len(set(embedded)) == FILES
        assert library.documents.list()[1] == FILES
    assert not [path for path in (settings.home / "claims").iterdir() if path.name != ".lock"]


def test_a_file_that_fails_in_both_ends_both(settings: Settings, folder: Path) -> None:
    (folder / "broken.png").write_bytes(b"no image")
    with Library(settings) as library:
        library.create_collection("default")
        reports: list[IngestReport] = []
        threads = [
            threading.Thread(target=lambda: reports.append(library.ingest([folder])))
            for _ in range(2)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(300)
        assert sum(report.added for report in reports) == FILES
        assert any(report.failed for report in reports)


def test_one_claims_and_the_other_does_not(tmp_path: Path) -> None:
    one, other = Claims(tmp_path, 1), Claims(tmp_path, 1)
    assert one.take("/a")
    assert one.take("/a")
    assert not other.take("/a")
    assert other.take("/b")
    assert Claims(tmp_path, 2).take("/a")
    one.release("/a")
    one.release("/b")  # not its own
    assert other.take("/a")
    assert not one.take("/b")
    other.release_all()
    assert one.take("/b")


def test_claims_end_with_their_process(tmp_path: Path) -> None:
    code = (
        "import os, signal, sys; from pathlib import Path;"
        "from ragcore.ingest.claims import Claims;"
        "assert Claims(Path(sys.argv[1]), 1).take('/a'); os.kill(os.getpid(), signal.SIGKILL)"
    )
    process = subprocess.run([sys.executable, "-c", code, str(tmp_path)], env=os.environ)
    assert process.returncode < 0
    assert list(tmp_path.iterdir())
    assert Claims(tmp_path, 1).take("/a")
