"""Git repositories as sources: of this computer, and of a real server."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from wsgiref.simple_server import WSGIRequestHandler, make_server

import pytest

from ragcore.errors import RagcoreError, UsageError
from ragcore.library import Library
from ragcore.settings import Settings
from ragcore.sources import Skipped, Source, SourceItem, open_source
from ragcore.sources.git import GitFiles, _fetched
from ragcore.testing import SourceConformance
from tests.ingest.ingest_samples import outcome

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="there is no git here")


def git(folder: Path, *arguments: str) -> None:
    names = {f"GIT_{who}_{what}": "ann@example.org" for who in ("AUTHOR", "COMMITTER")
             for what in ("NAME", "EMAIL")}  # fmt: skip
    subprocess.run(
        ["git", "-c", "protocol.file.allow=always", *arguments],
        cwd=folder,
        env={**os.environ, **names, "GIT_CONFIG_GLOBAL": "/dev/null"},
        check=True,
        capture_output=True,
    )


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "notes"
    (folder / "docs").mkdir(parents=True)
    (folder / ".hidden").mkdir()
    git(folder, "init", "-b", "main")
    (folder / "README.md").write_text("# Herons\n\nThe heron stands.\n")
    (folder / "docs" / "tides.txt").write_text("High water is at six.\n")
    (folder / ".hidden" / "secret.txt").write_text("hidden\n")
    (folder / "link.txt").symlink_to("/etc/passwd")
    (folder / ".git" / "hooks" / "post-checkout").write_text(
        f"#!/bin/sh\ntouch {tmp_path}/hooked\n"
    )
    (folder / ".git" / "hooks" / "post-checkout").chmod(0o755)
    git(folder, "add", ".")
    git(folder, "commit", "-m", "first")
    return folder


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "home", workers=1, ocr="off")


class TestRepository(SourceConformance):
    @pytest.fixture
    def open(self, settings: Settings) -> Callable[[str], Source]:
        return lambda url: open_source(url, settings)

    @pytest.fixture
    def url(self, repository: Path) -> str:
        return f"git+file://{repository}"


def test_a_repository_is_kept_in_step(repository: Path, settings: Settings) -> None:
    url = f"git+file://{repository}"
    with Library(settings) as library:
        assert outcome(library.ingest([url])) == (2, 0, 0, 0, 0, 0)
        (repository / "README.md").write_text("# Herons\n\nThe heron flies.\n")
        assert outcome(library.ingest([url], sync=True)) == (0, 0, 2, 0, 0, 0), "nothing committed"
        git(repository, "rm", "-q", "docs/tides.txt")
        git(repository, "commit", "-am", "second")
        assert outcome(library.ingest([url], sync=True)) == (0, 1, 0, 0, 1, 0)
        [row] = library.documents.list()[0]
        assert row.path == f"{url}/README.md"
        assert "flies" in library.documents.page(row.id, 1).text


def test_links_and_submodules_are_not_followed(
    repository: Path, settings: Settings, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    shutil.copytree(repository, other, symlinks=True)
    git(repository, "submodule", "add", str(other), "inner")
    git(repository, "commit", "-m", "with a submodule")
    found = list(open_source(f"git+file://{repository}", settings).list())
    skipped = {
        one.location.rpartition("/")[2]: one.reason for one in found if isinstance(one, Skipped)
    }
    assert skipped == {
        "link.txt": "a link",
        "inner": "a submodule: add its repository as a source of its own",
    }
    names = {one.name for one in found if isinstance(one, SourceItem)}
    assert names == {"README.md", "tides.txt"}
    assert not (tmp_path / "hooked").exists()


def test_a_branch_by_name(repository: Path, settings: Settings) -> None:
    git(repository, "checkout", "-q", "-b", "draft")
    (repository / "draft.md").write_text("# Draft\n")
    git(repository, "add", ".")
    git(repository, "commit", "-m", "draft")
    git(repository, "checkout", "-q", "main")
    url = f"git+file://{repository}"

    def names(**options: str) -> set[str]:
        found = open_source(url, settings, options).list()
        return {one.name for one in found if isinstance(one, SourceItem)}

    assert names() == {"README.md", "tides.txt"}
    assert names(ref="draft") == {"README.md", "tides.txt", "draft.md"}
    with pytest.raises(UsageError, match="there is no nothing"):
        names(ref="nothing")


@pytest.mark.parametrize(
    "url",
    [
        "git+file:///usr/share",
        "git+file://notes",
        "git+https://example.org/no-repository",
        "git+https://user:secret@example.org/x.git",
        "git+ssh://example.org/x.git",
        "ext::sh -c touch% hooked",
    ],
)
def test_what_is_no_repository_is_refused(settings: Settings, url: str) -> None:
    with pytest.raises(UsageError):
        open_source(url, settings)


def test_a_server_on_a_private_address_is_refused(settings: Settings) -> None:
    for host in ("127.0.0.1", "localhost", "169.254.169.254", "[::1]"):
        with pytest.raises(RagcoreError, match=r"private_hosts|metadata"):
            list(open_source(f"git+https://{host}/x.git", settings).list())


@pytest.fixture
def http_server(repository: Path) -> Iterator[str]:
    """The repository behind Git's protocol over HTTP."""
    from dulwich.repo import Repo
    from dulwich.server import DictBackend
    from dulwich.web import make_wsgi_chain

    class Quiet(WSGIRequestHandler):
        def log_message(self, *args: object) -> None:
            pass

    application = make_wsgi_chain(DictBackend({"/x.git": Repo(str(repository))}))
    server = make_server("127.0.0.1", 0, application, handler_class=Quiet)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()


def test_the_newest_commit_of_a_server_is_fetched(
    repository: Path, http_server: str, tmp_path: Path
) -> None:
    settings = Settings(home=tmp_path / "home", private_hosts=["127.0.0.1"])

    def opened(name: str, path: str = "") -> GitFiles:
        remote = f"{http_server}/{name}.git"
        return GitFiles(f"git+{remote}", path, lambda ref: _fetched(remote, ref, settings), "")

    def versions(source: GitFiles) -> dict[str, str]:
        return {one.name: one.version for one in source.list() if isinstance(one, SourceItem)}

    before = versions(opened("x"))
    assert set(before) == {"README.md", "tides.txt"}
    assert versions(opened("x", "docs")) == {"tides.txt": before["tides.txt"]}
    (repository / "README.md").write_text("# Herons\n\nThe heron flies.\n")
    git(repository, "commit", "-am", "second")
    source = opened("x")
    after = versions(source)
    assert after["README.md"] != before["README.md"]
    assert after["tides.txt"] == before["tides.txt"]
    [item] = [one for one in source.list() if one.location.endswith("README.md")]
    assert isinstance(item, SourceItem)
    assert "flies" in source.fetch(item, tmp_path, most_bytes=100).read_text()
    with pytest.raises(RagcoreError, match="there is no repository"):
        list(opened("y").list())
