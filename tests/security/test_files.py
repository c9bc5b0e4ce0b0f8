"""Files: what a folder's links lead to, what assistants may add, who may read the home."""

from __future__ import annotations

import os
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp.server.mcpserver.exceptions import ToolError

from ragcore.access.keys import Keys
from ragcore.errors import UsageError
from ragcore.files import exposed, make_private, private_folder, write_private
from ragcore.ingest.discover import discover
from ragcore.library import Library
from ragcore.library.doctor import _files
from ragcore.library.watching import Watcher
from ragcore.mcp.server import _Tools, make_server
from ragcore.settings import Settings, save_setting


@pytest.fixture
def linked(tmp_path: Path) -> Path:
    """A folder with a file, links to it, and links that lead out of the folder."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret.txt").write_text("4711")
    folder = tmp_path / "folder"
    (folder / "below").mkdir(parents=True)
    (folder / "note.txt").write_text("a note")
    (folder / "below" / "again.txt").symlink_to(folder / "note.txt")
    (folder / "leak.txt").symlink_to(outside / "secret.txt")
    (folder / "below" / "leak.txt").symlink_to("../../outside/secret.txt")
    (folder / "leaks").symlink_to(outside)
    (folder / "gone.txt").symlink_to(outside / "nothing")
    return folder


def test_links_that_lead_out_of_a_folder_are_skipped_and_counted(linked: Path) -> None:
    found = discover([linked], Settings())
    names = sorted(str(Path(path).relative_to(linked)) for path in found.files)
    assert names == ["below/again.txt", "note.txt"]
    assert found.links == 4
    assert found.failed == []
    named = discover([linked / "leak.txt"], Settings())
    assert list(named.files) == [str(linked / "leak.txt")], "who names it means it"


def test_the_folder_itself_may_be_a_link(linked: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(linked)
    found = discover([tmp_path / "link"], Settings())
    assert len(found.files) == 2
    assert found.links == 4


def test_a_watched_folder_follows_no_link_out_of_it(linked: Path, library: Library) -> None:
    watcher = Watcher(library, [linked], collection="sample")
    assert watcher._concerns(linked / "note.txt")
    assert watcher._concerns(linked / "below" / "again.txt")
    for name in ("leak.txt", "below/leak.txt", "leaks", "leaks/secret.txt"):
        assert not watcher._concerns(linked / name), name


def refused(call: Callable[[], Coroutine[Any, Any, Any]]) -> str:
    """The one line that a tool refuses with."""
    with pytest.raises(ToolError) as error:
        anyio.run(call)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_assistants_add_from_allowed_folders_only(
    library: Library, tmp_path: Path, linked: Path
) -> None:
    (linked / ".hidden").mkdir()
    (linked / ".hidden" / "key.txt").write_text("x")
    (linked / ".env").write_text("x")
    tools = _Tools(library, ["sample"], True, [linked])
    for path, reason in (
        ("/etc/passwd", "in no folder that was allowed"),
        ("~/.bashrc", "in no folder that was allowed"),
        (str(linked / ".." / "outside" / "secret.txt"), "in no folder that was allowed"),
        (str(linked / "leak.txt"), "in no folder that was allowed"),
        (str(linked / "leaks" / "secret.txt"), "in no folder that was allowed"),
        (str(linked / ".env"), "hidden"),
        (str(linked / ".hidden"), "hidden"),
        (str(linked / ".hidden" / "key.txt"), "hidden"),
    ):
        said = refused(lambda: tools.add_files([path], "sample"))  # noqa: B023
        assert reason in said, path
    assert library.documents.list("sample")[1] == 1, "nothing was added"
    assert tools._permitted_path(str(linked / "note.txt")) == linked / "note.txt"


def test_assistants_stay_in_their_collections(library: Library) -> None:
    tools = _Tools(library, ["sample"], True)
    with library.admin.catalog.read() as session:
        from sqlalchemy import select

        from ragcore.catalog.models import Document

        beta = library.admin.catalog.collection("beta").id
        document = session.scalar(select(Document.id).where(Document.collection_id == beta))
    assert document is not None
    for call in (
        lambda: tools.read_page(document, 1),
        lambda: tools.search("vault", "beta"),
    ):
        assert "9931" not in refused(call)
    result = [
        refused(lambda: tools.add_text("x.md", "planted", name)).replace(name, "NAME")  # noqa: B023
        for name in ("beta", "brandnew")
    ]
    assert result[0] == result[1]
    assert "allow" in refused(lambda: tools.add_files(["/etc/passwd"], "sample"))


def test_writing_needs_a_folder(library: Library, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--allow FOLDER"):
        make_server(library, write=True)
    with pytest.raises(UsageError, match="there is no folder"):
        make_server(library, write=True, allow=[tmp_path / "nowhere"])


def test_an_assistant_of_a_disabled_account_is_answered_no_more(library: Library) -> None:
    keys = Keys(library.admin.catalog)
    _, info = keys.create("assistant", scope="read", collections=["sample"])
    tools = _Tools(library, (), True, account=info)
    listed = anyio.run(tools.list_collections)
    assert [one.name for one in listed.collections] == ["sample"]
    assert "scope write" in refused(lambda: tools.add_text("x.md", "x", "sample"))
    keys.disable(str(info.id))
    assert "live no longer" in refused(tools.list_collections)


def test_what_a_library_writes_is_its_owners_alone(library: Library, tmp_path: Path) -> None:
    """Whatever the process would let others read."""
    before = os.umask(0)
    try:
        save_setting(library.admin.settings.home, "profile", "starter")
        private_folder(library.admin.settings.home / "a" / "b")
        with (tmp_path / "given.txt").open("wb+") as file:
            file.write(b"x")
            library.documents.upload([("given.txt", file)], collection="sample")
        write_private(library.admin.settings.home / "a" / "b" / "c", "text")
    finally:
        os.umask(before)
    assert exposed(library.admin.settings.home) == []


def test_a_home_that_is_open_to_others_is_found_and_repaired(library: Library) -> None:
    home = library.admin.settings.home
    (home / "catalogue.db").chmod(0o644)
    (home / "indexes").mkdir(exist_ok=True)
    (home / "indexes").chmod(0o755)
    (home / "link").symlink_to("/etc/passwd")
    (found,) = _files(library._core, repair=False, verify=False)
    assert found.state == "problem"
    assert "2 files and folders" in found.detail
    (found,) = _files(library._core, repair=True, verify=False)
    assert found.state == "repaired"
    assert (home / "catalogue.db").stat().st_mode & 0o777 == 0o600
    assert (home / "indexes").stat().st_mode & 0o777 == 0o700
    (found,) = _files(library._core, repair=False, verify=False)
    assert found.state == "ok"
    make_private(home)
    assert Path("/etc/passwd").stat().st_mode & 0o044, "links are not followed"
