"""Files of other sources than this computer: a plug-in's, from listing to the page's image."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

from ragcore.catalog.models import Document
from ragcore.errors import RagcoreError, UsageError
from ragcore.library import Library
from ragcore.settings import Settings
from tests.api.conftest import running
from tests.ingest.ingest_samples import outcome
from tests.plug_ins import Install
from tests.waiting import wait_until

MEMO = '''
"""memo://…: files kept in a dictionary of this module, by their location."""
from ragcore.errors import RagcoreError, UnreadableFile, UsageError
from ragcore.sources import Skipped, SourceItem, write_limited

FILES = {}     # location: (bytes, version)
SKIPPED = []
FETCHED = []   # locations, in the order in which they were fetched
BROKEN = ""    # the listing breaks off with this


class Memo:
    def __init__(self, url, context):
        if url == "memo://":
            raise UsageError("memo:// names no shelf: write memo://SHELF")
        self.location = url.rstrip("/")

    def list(self):
        below = [x for x in sorted(FILES) if (x + "/").startswith(self.location + "/")]
        if not below and not SKIPPED:
            raise UsageError(f"there is nothing at {self.location}")
        yield from SKIPPED
        for location in below:
            if BROKEN and location != below[0]:
                raise RagcoreError(BROKEN)
            content, version = FILES[location]
            size = len(content) if version else None
            yield SourceItem(location, location.rpartition("/")[2], size, version=version)

    def fetch(self, item, folder, *, most_bytes):
        FETCHED.append(item.location)
        if item.location not in FILES:
            raise UnreadableFile("it is gone")
        return write_limited([FILES[item.location][0]], folder / "content", most_bytes)
'''


@pytest.fixture
def memo(install: Install) -> Any:
    """The module of the installed source."""
    install("memos", {"sources": {"memo": "memos:Memo"}}, MEMO)
    import memos  # type: ignore[import-not-found]

    memos.FILES |= {
        "memo://desk/heron.txt": (b"The grey heron stands in shallow water.\n", "v1"),
        "memo://desk/bread.md": (b"# Bread\n\nMix flour, water, salt and yeast.\n", "v1"),
        "memo://desktop/rent.txt": (b"The rent is due on the third.\n", "v1"),
    }
    yield memos
    sys.modules.pop("memos", None)


@pytest.fixture
def library(tmp_path: Path) -> Iterator[Library]:
    with Library(Settings(home=tmp_path / "home", workers=1, ocr="off")) as opened:
        yield opened


def paths(library: Library) -> set[str]:
    return {row.path for row in library.documents.list()[0]}


def copies_left(library: Library) -> list[Path]:
    return list((library.admin.settings.home / "fetched").glob("*"))


def test_files_of_a_source_are_ingested_under_their_location(library: Library, memo: Any) -> None:
    report = library.ingest(["memo://desk/"])
    assert outcome(report) == (2, 0, 0, 0, 0, 0)
    assert paths(library) == {"memo://desk/heron.txt", "memo://desk/bread.md"}
    hit = library.search("grey heron", kind="passages", cutoff=0.0).hits[0]
    assert (hit.path, hit.document) == ("memo://desk/heron.txt", "heron.txt")
    with library.admin.catalog.read() as session:
        row = session.get_one(Document, hit.document_id)
    assert (row.size, row.version) == (40, "v1")
    assert copies_left(library) == []
    for where, count in (("memo://desk", 2), ("memo://desk/heron.txt", 1), ("memo://des", 0)):
        found = library.search("heron bread", cutoff=0.0, where={"path": where}).hits
        assert len(found) == count, where


def test_the_version_decides_and_then_the_content(library: Library, memo: Any) -> None:
    library.ingest(["memo://desk"])
    memo.FETCHED.clear()
    assert outcome(library.ingest(["memo://desk"])) == (0, 0, 2, 0, 0, 0)
    assert memo.FETCHED == [], "nothing is fetched where the version is the same"
    heron = "memo://desk/heron.txt"
    memo.FILES[heron] = (memo.FILES[heron][0], "v2")
    assert outcome(library.ingest(["memo://desk"])) == (0, 0, 2, 0, 0, 0)
    assert list(memo.FETCHED) == [heron], "fetched, and found to be the same"
    assert outcome(library.ingest(["memo://desk"])) == (0, 0, 2, 0, 0, 0)
    assert list(memo.FETCHED) == [heron], "the new version is remembered"
    memo.FILES[heron] = (b"The submarine dives.\n", "v3")
    assert outcome(library.ingest(["memo://desk"])) == (0, 1, 1, 0, 0, 0)


def test_without_a_version_the_content_decides(library: Library, memo: Any) -> None:
    memo.FILES = {"memo://desk/heron.txt": (b"The grey heron stands.\n", "")}
    library.ingest(["memo://desk"])
    assert outcome(library.ingest(["memo://desk"])) == (0, 0, 1, 0, 0, 0)
    assert len(memo.FETCHED) == 2
    memo.FILES["memo://desk/heron.txt"] = (b"The grey heron walks.\n", "")
    assert outcome(library.ingest(["memo://desk"])) == (0, 1, 0, 0, 0, 0)


def test_sync_removes_what_is_gone_from_this_source_only(
    library: Library, memo: Any, tmp_path: Path
) -> None:
    folder = tmp_path / "files"
    folder.mkdir()
    for name in ("a.txt", "b.txt"):
        (folder / name).write_text(f"A local file of the name {name}.")
    library.ingest([folder, "memo://desk", "memo://desktop"])
    del memo.FILES["memo://desk/heron.txt"]
    (folder / "a.txt").unlink()
    assert library.ingest(["memo://desk"]).removed == 0, "only when asked"
    assert outcome(library.ingest(["memo://desk"], sync=True)) == (0, 0, 1, 0, 1, 0)
    assert "memo://desktop/rent.txt" in paths(library), "a longer name is no sub-folder"
    assert str(folder / "a.txt") in paths(library), "of another source"
    assert outcome(library.ingest([folder], sync=True)) == (0, 0, 1, 0, 1, 0)
    assert paths(library) == {
        "memo://desk/bread.md",
        "memo://desktop/rent.txt",
        str(folder / "b.txt"),
    }


def test_a_local_copy_of_a_remote_file_is_no_rename(
    library: Library, memo: Any, tmp_path: Path
) -> None:
    library.ingest(["memo://desk"])
    copy = tmp_path / "files" / "copy.txt"
    copy.parent.mkdir()
    copy.write_bytes(memo.FILES["memo://desk/heron.txt"][0])
    assert outcome(library.ingest([copy.parent], sync=True)) == (1, 0, 0, 0, 0, 0)
    assert len(paths(library)) == 3


def test_a_file_that_moves_within_a_source_keeps_its_document(library: Library, memo: Any) -> None:
    library.ingest(["memo://desk"])
    before = {row.name: row.id for row in library.documents.list()[0]}
    memo.FILES["memo://desk/birds/heron.txt"] = memo.FILES.pop("memo://desk/heron.txt")
    assert outcome(library.ingest(["memo://desk"], sync=True)) == (0, 0, 1, 1, 0, 0)
    assert {row.name: row.id for row in library.documents.list()[0]} == before


def test_a_listing_that_breaks_off_removes_nothing(library: Library, memo: Any) -> None:
    library.ingest(["memo://desk"])
    memo.BROKEN = "the server went away"
    report = library.ingest(["memo://desk"], sync=True)
    assert [(one.path, one.error) for one in report.failed] == [
        ("memo://desk", "the server went away")
    ]
    assert report.removed == 0
    assert len(paths(library)) == 2


def test_what_a_source_skips_is_reported_and_kept(library: Library, memo: Any) -> None:
    from ragcore.sources import Skipped

    library.ingest(["memo://desk"])
    memo.FILES["memo://desk/sub/x.txt"] = (b"Below.\n", "v1")
    library.ingest(["memo://desk"])
    for name in ("heron.txt", "sub/x.txt"):
        del memo.FILES[f"memo://desk/{name}"]
    memo.SKIPPED += [
        Skipped("memo://desk/heron.txt", "it is checked out"),
        Skipped("memo://desk/sub", "no right to list it", "failed"),
        Skipped("memo://desk/link", "it leads elsewhere", "link"),
    ]
    report = library.ingest(["memo://desk"], sync=True)
    assert [(one.path, one.error) for one in report.skipped] == [
        ("memo://desk/heron.txt", "it is checked out")
    ]
    assert [one.path for one in report.failed] == ["memo://desk/sub"]
    assert (report.skipped_links, report.removed) == (1, 0)


def test_bad_items_and_failed_fetches_are_one_line_each(library: Library, memo: Any) -> None:
    from ragcore.sources import SourceItem

    memo.SKIPPED += [
        SourceItem("memo://desk/a", "../a.txt"),
        SourceItem("memo://elsewhere/b.txt", "b.txt"),
        SourceItem("/etc/passwd", "passwd"),
        SourceItem("memo://desk/c.txt", "c.txt", size=-3),
        SourceItem("memo://desk/gone.txt", "gone.txt", size=3),
        SourceItem("memo://desk/large.txt", "large.txt", size=1 << 40),
    ]
    report = library.ingest(["memo://desk"])
    result = {one.path: one.error for one in report.failed}
    assert (report.added, len(result)) == (2, 6)
    assert "no file name" in result["memo://desk/a"]
    assert "outside of memo://desk" in result["memo://elsewhere/b.txt"]
    assert "outside of memo://desk" in result["/etc/passwd"]
    assert "wrong type" in result["memo://desk/c.txt"]
    assert result["memo://desk/gone.txt"] == "it is gone"
    assert "over the limit of 512 MiB" in result["memo://desk/large.txt"]
    assert copies_left(library) == []


def test_more_bytes_than_allowed_are_not_kept(memo: Any, tmp_path: Path) -> None:
    memo.FILES = {"memo://desk/big.txt": (b"x" * (2 << 20), "")}
    settings = Settings(home=tmp_path / "home", workers=1, max_file_mb=1)
    with Library(settings) as library:
        report = library.ingest(["memo://desk"])
        assert [one.error for one in report.failed] == [
            "more than 1 MiB: raise the setting max_file_mb"
        ]
        assert copies_left(library) == []


def test_a_source_that_hangs_is_one_failure(
    memo: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    over = threading.Event()
    fetch = memo.Memo.fetch

    def hanging(source: Any, item: Any, folder: Path, *, most_bytes: int) -> Path:
        if item.name == "bread.md":
            over.wait(60)
        path: Path = fetch(source, item, folder, most_bytes=most_bytes)
        return path

    monkeypatch.setattr(memo.Memo, "fetch", hanging)
    settings = Settings(home=tmp_path / "home", workers=1, read_timeout=1)
    with Library(settings) as library:
        report = library.ingest(["memo://desk"])
    over.set()
    assert report.added == 1
    assert [(one.path, one.error) for one in report.failed] == [
        ("memo://desk/bread.md", "fetching took longer than 1 s (setting read_timeout)")
    ]


def test_pages_and_images_are_fetched_when_they_are_looked_at(
    library: Library, memo: Any, tmp_path: Path
) -> None:
    image = tmp_path / "sun.png"
    Image.new("RGB", (200, 100), "navy").save(image)
    memo.FILES = {"memo://desk/sun.png": (image.read_bytes(), "v1")}
    assert library.ingest(["memo://desk"]).images == 1
    [info] = library.images.list()
    memo.FETCHED.clear()
    assert library.images.read(info.id) == image.read_bytes(), "kept with the library"
    assert memo.FETCHED == []
    assert library.documents.page_image(info.document_id)[:4] == b"\x89PNG"
    with library.documents.original(info.document_id) as path:
        assert (path.name, path.read_bytes()) == ("sun.png", image.read_bytes())
    assert not path.exists()
    memo.FILES.clear()
    with pytest.raises(RagcoreError, match="it is gone"):
        library.documents.page_image(info.document_id)


def test_the_api_hands_out_a_remote_file(library: Library, memo: Any) -> None:
    library.ingest(["memo://desk"])
    [row] = [row for row in library.documents.list()[0] if row.name == "heron.txt"]
    where = f"/api/v1/collections/default/documents/{row.id}"
    with running(library, keys_needed=False) as url, httpx.Client(base_url=url) as client:
        answer = client.get(f"{where}/file")
        assert (answer.status_code, answer.content) == (200, memo.FILES[row.path][0])
        assert "heron.txt" in answer.headers["content-disposition"]
        assert client.get(f"{where}/pages/1/image").content[:4] == b"\x89PNG"
        wait_until(lambda: copies_left(library) == [], "the removal of the copy")
        del memo.FILES[row.path]
        assert client.get(f"{where}/file").status_code >= 400


def test_wrong_urls_are_refused_before_anything_is_done(library: Library, memo: Any) -> None:
    with pytest.raises(UsageError, match=r"no source 'mmo' \(installed: .*file, .*memo.*\)"):
        library.ingest(["mmo://desk"])
    with pytest.raises(UsageError, match="names no shelf"):
        library.documents.check_paths(["memo://"])
    with pytest.raises(UsageError, match="nothing at memo://attic"):
        library.ingest(["memo://attic"], sync=True)
    with pytest.raises(UsageError, match="on another computer"):
        library.ingest(["file://server/share"])


def test_two_ingests_at_once_store_each_file_once(library: Library, memo: Any) -> None:
    memo.FILES = {
        f"memo://desk/{n}.txt": (f"Note {n} is about herons.".encode(), "v1") for n in range(40)
    }
    with ThreadPoolExecutor(2) as pool, Library(library.admin.settings) as other:
        reports = list(pool.map(lambda one: one.ingest(["memo://desk"]), (library, other)))
    assert sum(report.added for report in reports) == 40
    assert sum(report.unchanged for report in reports) == 40
    assert not any(report.updated or report.failed for report in reports)
    assert library.documents.statistics().passages == 40


def test_a_broken_source_is_one_line(library: Library, install: Install) -> None:
    install("broken", {"sources": {"odd": "broken:Source"}}, "import nothing_of_this_name")
    with pytest.raises(RagcoreError, match=r"^source 'odd' of broken 2.5 cannot be used: Module"):
        library.ingest(["odd://somewhere"])


def test_allowed_folders_leave_no_other_source(memo: Any, tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / "home", allowed_roots=[tmp_path])
    with Library(settings) as library, pytest.raises(UsageError, match="allowed_roots"):
        library.ingest(["memo://desk"])


def test_a_url_of_this_computer_is_its_path(library: Library, tmp_path: Path) -> None:
    note = tmp_path / "a note.txt"
    note.write_text("A note.")
    library.ingest([f"file://{tmp_path}/a%20note.txt"])
    assert paths(library) == {str(note)}
    assert outcome(library.ingest([note])) == (0, 0, 1, 0, 0, 0)


def test_documents_are_read_again_and_removed_by_their_location(
    library: Library, memo: Any
) -> None:
    library.ingest(["memo://desk"])
    ids = [row.id for row in library.documents.list()[0]]
    memo.FETCHED.clear()
    job = library.jobs.wait(library.jobs.start_reading_again(ids))
    assert (job.state, job.report["updated"]) == ("done", 2)
    assert len(memo.FETCHED) == 2
    assert library.documents.remove(ids) == 2


def test_copies_of_a_killed_process_are_removed(library: Library, memo: Any) -> None:
    left = library.admin.settings.home / "fetched" / "999999999-1.00-abc"
    left.mkdir(parents=True)
    (left / "content").write_text("x")
    library.ingest(["memo://desk"])
    assert copies_left(library) == []
