"""A full disk and a read-only home: one line, nothing half-written, and work goes on."""

from __future__ import annotations

import errno
import io
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from ragcore.access.keys import Keys
from ragcore.errors import RagcoreError, StorageFull, StorageReadOnly
from ragcore.files import atomic_write, partial_suffix, replace_folder, strays
from ragcore.library import Library
from ragcore.maintenance.backup import backup
from ragcore.settings import Settings, save_setting
from ragcore.types import SearchQuery
from tests.api.conftest import running
from tests.waiting import wait_until

MAKE = Callable[..., Settings]
QUERY = SearchQuery(text="heron", kind="passages", cutoff=0)


@dataclass(frozen=True)
class SmallDisk:
    """A file system of its own, in memory."""

    folder: Path

    def remount(self, options: str) -> None:
        subprocess.run(["mount", "-o", f"remount,{options}", str(self.folder)], check=True)

    def fill(self) -> None:
        """Leave no room: whole blocks first, then what is left."""
        with (self.folder / "ballast").open("ab", buffering=0) as ballast, suppress(OSError):
            for block in (1 << 16, 512):
                with suppress(OSError):
                    while True:
                        ballast.write(bytes(block))

    def make_room(self) -> None:
        (self.folder / "ballast").unlink(missing_ok=True)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=5m", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("a file system of its own cannot be mounted here")
    yield SmallDisk(folder)
    subprocess.run(["umount", "-l", str(folder)], check=True)


def write_notes(folder: Path, count: int) -> Path:
    folder.mkdir(exist_ok=True)
    for number in range(count):
        words = " ".join(f"pump{number}x{n} ran dry beside the heron." for n in range(400))
        (folder / f"note {number}.txt").write_text(words)
    return folder


def test_an_ingest_on_a_full_disk_goes_on_when_there_is_room(
    disk: SmallDisk, make_settings: MAKE, tmp_path: Path
) -> None:
    notes = write_notes(tmp_path / "notes", 60)
    settings = make_settings(disk.folder / "home")
    with Library(settings) as library:
        library.ingest([write_notes(tmp_path / "first", 1)])
        with pytest.raises(StorageFull, match="the disk is full") as caught:
            library.ingest([notes])
        assert "\n" not in str(caught.value)
        assert library.search(QUERY).hits, "what is there is found while the disk is full"
        assert list(settings.home.rglob("*.partial")) == []
    disk.remount("size=200m")
    with Library(settings) as library:
        before = library.documents.statistics().documents
        assert 1 <= before < 61
        assert library.admin.doctor().healthy
        report = library.ingest([notes])
        assert (report.failed, report.added) == ([], 61 - before)
        assert library.documents.statistics().documents == 61
        assert library.admin.doctor().healthy


def test_the_command_line_says_it_in_one_line(
    disk: SmallDisk, make_settings: MAKE, tmp_path: Path
) -> None:
    settings = make_settings(disk.folder / "home")
    notes = write_notes(tmp_path / "notes", 1)
    Library(settings).close()
    disk.fill()
    environment = {
        **os.environ,
        "RAGCORE_HOME": str(settings.home),
        "RAGCORE_PROFILE": settings.profile,
    }
    done = subprocess.run(
        [sys.executable, "-m", "ragcore.cli.main", "ingest", str(notes)],
        capture_output=True, text=True, env=environment,
    )  # fmt: skip
    assert done.returncode == 1
    [line] = done.stderr.strip().splitlines()
    assert line.startswith("ragcore: the disk is full")


def test_the_server_answers_507_and_goes_on(
    disk: SmallDisk, make_settings: MAKE, tmp_path: Path
) -> None:
    library = Library(make_settings(disk.folder / "home"))
    library.ingest([write_notes(tmp_path / "first", 1)], collection="own")
    key = Keys(library.admin.catalog).create("writer", scope="write")[0]
    home = library.admin.settings.home
    with running(library, keys_needed=True) as url:
        client = httpx.Client(
            base_url=f"{url}/api/v1/collections/own",
            headers={"Authorization": f"Bearer {key}"},
            timeout=60,
        )

        def upload() -> httpx.Response:
            text = b"The heron waits at the weir. " * 4000
            return client.post("/uploads", files={"files": ("late.txt", io.BytesIO(text))})

        client.post("/search", json={"text": "heron"}).raise_for_status()
        disk.fill()
        refused = upload()
        assert refused.status_code == 507, refused.text
        assert refused.json()["detail"].startswith("the disk is full")
        assert client.post("/search", json={"text": "heron"}).json()["hits"]
        assert client.get("/documents").json()["total"] == 1
        assert [path.name for path in (home / "uploads").rglob("late*")] == []
        disk.make_room()
        job = upload().raise_for_status().json()["job"]
        wait_until(lambda: not library.jobs.get(job).running, "the end of the ingest")
        assert library.jobs.get(job).state == "done"
        assert client.get("/documents").json()["total"] == 2


@pytest.mark.full
def test_a_job_on_a_full_disk_is_found_and_resumed(
    disk: SmallDisk, make_settings: MAKE, tmp_path: Path
) -> None:
    notes = write_notes(tmp_path / "notes", 60)
    with Library(make_settings(disk.folder / "home")) as library:
        library.create_collection("own")
        job = library.jobs.start_ingest([notes], collection="own")
        wait_until(lambda: not library.jobs.get(job).running, "the end of the job")
        disk.remount("size=200m")
        found = library.jobs.get(job)
        assert found.state in ("failed", "interrupted")
        again = library.jobs.resume(job)
        library.jobs.wait(again)
        assert library.jobs.get(again).state == "done"
        assert library.documents.statistics("own").documents == 60


def test_settings_are_written_whole_or_not_at_all(disk: SmallDisk) -> None:
    home = disk.folder / "home"
    save_setting(home, "ocr", "off")
    text = (home / "settings.toml").read_text()
    disk.fill()
    with pytest.raises(StorageFull):
        save_setting(home, "profile", "large" if not text.count("large") else "starter")
    assert (home / "settings.toml").read_text() == text
    assert len(list(home.iterdir())) == 1


def test_what_a_killed_process_left_is_removed(make_settings: MAKE, tmp_path: Path) -> None:
    settings = make_settings(tmp_path / "home")
    ended = subprocess.run(
        [sys.executable, "-c", "from ragcore.files import partial_suffix as p; print(p())"],
        capture_output=True, text=True, check=True,
    ).stdout.strip()  # fmt: skip
    folder = settings.uploads / "1"
    folder.mkdir(parents=True)
    left, ours = folder / f".a.txt{ended}", folder / f".b.txt{partial_suffix()}"
    foreign = folder / ".c.txt.0000abcd.1.1.partial"  # of another computer, just now
    for path in (left, ours, foreign):
        path.write_text("half")
    assert strays(settings.home) == [left]
    with Library(settings) as library:
        wrong = [
            one for one in library.admin.doctor().findings if one.subject == "half-written files"
        ]
        assert [one.state for one in wrong] == ["problem"]
        assert library.jobs.resume_interrupted() == []
    assert sorted(path.name for path in folder.iterdir()) == sorted([ours.name, foreign.name])


@pytest.mark.parametrize("left", ["closed", "killed"])
def test_a_read_only_home_is_searched_asked_and_backed_up(
    disk: SmallDisk, make_settings: MAKE, tmp_path: Path, left: str
) -> None:
    """`killed`: with a log of changes beside the database that nobody has put into it."""
    settings = make_settings(disk.folder / "home")
    with Library(settings) as library:
        library.ingest([write_notes(tmp_path / "first", 2)])
        (tmp_path / "late").mkdir()
        late = tmp_path / "late" / "late.txt"
        late.write_text("The kingfisher dives from the willow.")
        if left == "killed":
            library.ingest([late])
            shutil.copytree(settings.home, tmp_path / "copy")
    if left == "killed":
        shutil.rmtree(settings.home)
        shutil.copytree(tmp_path / "copy", settings.home)
        assert (settings.home / "catalogue.db-wal").stat().st_size
    disk.remount("ro")
    with Library(settings) as library:
        assert library.search(QUERY).hits
        if left == "killed":
            found = library.search(SearchQuery(text="kingfisher", kind="passages", cutoff=0))
            assert Path(found.hits[0].path) == late
        assert library.ask("What does the heron do?").hits
        assert library.documents.page(library.documents.list()[0][0].id, 1).text
        with pytest.raises(StorageReadOnly, match="read-only") as caught:
            library.ingest([write_notes(tmp_path / "more", 1)])
        assert "\n" not in str(caught.value)
        with pytest.raises(StorageReadOnly):
            library.create_collection("other")
        library.jobs.recent()
        assert library.admin.doctor().healthy
    made = backup(settings, tmp_path / "saved.tar")
    assert made.path.stat().st_size > 10_000
    with pytest.raises(RagcoreError, match="read-only"):
        backup(settings, disk.folder / "saved.tar")


def test_a_read_only_server(disk: SmallDisk, make_settings: MAKE, tmp_path: Path) -> None:
    settings = make_settings(disk.folder / "home")
    with Library(settings) as library:
        library.ingest([write_notes(tmp_path / "first", 1)], collection="own")
        key = Keys(library.admin.catalog).create("writer", scope="write")[0]
    disk.remount("ro")
    with running(Library(settings), keys_needed=True) as url:
        client = httpx.Client(
            base_url=f"{url}/api/v1/collections/own",
            headers={"Authorization": f"Bearer {key}"},
            timeout=60,
        )
        assert client.post("/search", json={"text": "heron"}).json()["hits"]
        refused = client.post("/uploads", files={"files": ("late.txt", io.BytesIO(b"words"))})
        assert refused.status_code == 507
        assert "read-only" in refused.json()["detail"]


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.json"
    with atomic_write(path, durable=True) as part:
        part.write_text("first")
        assert not path.exists()

    def fail(error: Exception) -> None:
        with atomic_write(path) as part:
            part.write_text("second, ha")
            raise error

    with pytest.raises(ValueError, match="halfway"):
        fail(ValueError("halfway"))
    with pytest.raises(StorageFull, match=r"a\.json was not written"):
        fail(OSError(errno.ENOSPC, "no space"))
    assert path.read_text() == "first"
    assert list(path.parent.iterdir()) == [path]


def test_a_folder_is_replaced_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "model"

    def put(text: str, error: Exception | None = None) -> None:
        with replace_folder(folder) as part:
            (part / "card.json").write_text(text)
            if error is not None:
                raise error

    put("first")
    assert (folder / "card.json").stat().st_mode & 0o077 == 0
    put("second")
    with pytest.raises(ValueError, match="halfway"):
        put("third, ha", ValueError("halfway"))
    rename = Path.rename

    def refused(self: Path, target: Path) -> Path:
        if target == folder and self.name.startswith(".model.") and ".old." not in self.name:
            raise OSError(errno.EACCES, "refused")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", refused)
    with pytest.raises(OSError, match="refused"):
        put("fourth")
    assert (folder / "card.json").read_text() == "second"
    assert list(tmp_path.iterdir()) == [folder]
