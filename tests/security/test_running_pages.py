"""The pages as `ragcore ui` runs them: doors, sessions and throttles of a real server."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from app.login import SESSION_COOKIE
from ragcore.access.keys import Keys
from ragcore.library import Library
from ragcore.settings import Settings
from tests.app.app_browser import Server

from .conftest import wait_until
from .test_pages_doors import PASSWORD, Visitor, foreign

pytestmark = pytest.mark.full


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("pages")
    with Library(Settings(home=root / "home")) as library:
        Keys(library.admin.catalog).create("Ann", scope="write", password=PASSWORD)
    return root


@pytest.fixture(scope="module")
def pages(home: Path) -> Iterator[Server]:
    """The pages with a login."""
    server = Server(home / "home", home / "login.log", "--login")
    server.start()
    yield server
    server.stop()


def stream(visitor: Visitor, host: str = "", **headers: str) -> int:
    """The status that a live connection of the pages is answered with."""
    line, status = visitor.live(host, path="/_stcore/stream", **headers)
    line.close()
    return status


def test_an_open_server_serves_its_own_computer_only(home: Path) -> None:
    server = Server(home / "home", home / "open.log")
    server.start()
    try:
        visitor = Visitor(server.port)
        assert stream(visitor) == 101
        assert stream(visitor, Origin=f"http://{visitor.host}") == 101
        for headers in foreign(visitor.host):
            assert stream(visitor, **headers) == 403, headers
        for host in ("evil.example", f"evil.example:{server.port}", "127.0.0.1.nip.io"):
            assert visitor.client.get("/", headers={"Host": host}).status_code == 403
            assert stream(visitor, host) == 403
        for path in ("/_stcore/upload_file/x/y", "/_stcore/host-config"):
            answer = visitor.client.put(path, headers={"Origin": "http://localhost:9999"})
            assert answer.status_code == 403
    finally:
        server.stop()


def test_a_login_opens_and_closes_everything(pages: Server) -> None:
    visitor = Visitor(pages.port)
    html = {"Accept": "text/html"}
    assert visitor.client.get("/", headers=html).status_code == 303
    assert stream(visitor) == 403
    for path in ("/_stcore/host-config", "/_stcore/metrics", "/media/x", "/app/static/x"):
        assert visitor.client.get(path).status_code == 401
    assert visitor.client.put("/_stcore/upload_file/x/y").status_code == 401
    assert visitor.log_in(Origin="http://evil.example").status_code == 403
    assert visitor.log_in().status_code == 303
    cookie = visitor.client.cookies[SESSION_COOKIE]
    assert visitor.client.get("/", headers=html).status_code == 200
    assert stream(visitor) == 101
    assert stream(visitor, Origin="http://evil.example") == 403
    assert visitor.client.post("/logout").status_code == 303
    visitor.client.cookies.set(SESSION_COOKIE, cookie)
    assert visitor.client.get("/", headers=html).status_code == 303, "replayed after logging out"
    assert stream(visitor) == 403


def test_forwarded_addresses_do_not_help_guessing(pages: Server) -> None:
    visitor = Visitor(pages.port)
    statuses = [
        visitor.log_in(f"nobody{n}", "wrong password", X_Forwarded_For=f"10.0.0.{n}").status_code
        for n in range(12)
    ]
    assert 429 in statuses


def test_memory_stays_level_under_odd_cookies(pages: Server) -> None:
    """1,500 different cookies of 60 kB from nobody: 90 MB if they were kept."""
    process, visitor = psutil.Process(pages.pid), Visitor(pages.port)
    seen: deque[int] = deque(maxlen=5)

    def level() -> bool:
        """Whether the models are loaded that the server loads at its start."""
        psutil.cpu_percent(interval=1)
        seen.append(process.memory_info().rss)
        return len(seen) == seen.maxlen and max(seen) - min(seen) < 1e6

    wait_until(level, "the server's memory never became level", 300)

    def flood(count: int) -> None:
        for _ in range(count):
            cookie = f"{SESSION_COOKIE}={os.urandom(8).hex()}{'a' * 60_000}"
            assert visitor.client.get("/x", headers={"Cookie": cookie}).status_code in (400, 401)

    flood(100)
    before = process.memory_info().rss
    flood(1_500)
    assert process.memory_info().rss - before < 30e6
