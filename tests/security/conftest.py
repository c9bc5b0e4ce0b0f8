"""Two collections, one of them of other people, filled without any model."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
import uvicorn

from ragcore.access.keys import Keys
from ragcore.catalog.documents import store_document
from ragcore.catalog.permits import SCOPES
from ragcore.library import Library
from ragcore.settings import Settings
from tests.api.conftest import api_files, make_settings, running, served
from tests.catalog.conftest import make_document

__all__ = ["api_files", "make_settings", "served"]  # fixtures of the API's tests

SECRET = "The vault code of the beta safe is 9931."
FOLDER = "/srv/archive/papers"
WAIT = 60.0  # seconds at most, on a busy machine


def wait_until(true: Callable[[], bool], what: str, wait: float = WAIT) -> None:
    """Look until it is so. Raises AssertionError after `wait` seconds."""
    end = time.monotonic() + wait
    while not true():
        assert time.monotonic() < end, what
        time.sleep(0.05)


def fill(library: Library) -> None:
    """Collections `sample` and `beta`, with a document of two passages and an image each."""
    for name, text in (("sample", "The heron waits for fish."), ("beta", SECRET)):
        row = library.create_collection(name)
        document = make_document(
            f"{FOLDER}/{name}.txt", [text, f"More of {name}."], images=1, seed=row.id
        )
        with library.admin.catalog.write() as session:
            store_document(session, row.id, document)


@dataclass(frozen=True)
class Guarded:
    """A server that asks for keys: those of each scope for `sample` only, for `beta` only, and
    for all collections.
    """

    url: str
    library: Library
    keys: dict[str, str]

    def client(self, key: str | None) -> httpx.Client:
        headers = {"Authorization": f"Bearer {self.keys.get(key, key)}"} if key else {}
        return httpx.Client(base_url=self.url, headers=headers, timeout=60)


@pytest.fixture
def library(tmp_path: Path) -> Iterator[Library]:
    """A filled home of this test's own."""
    with Library(Settings(home=tmp_path / "home", api_rate=0)) as made:
        fill(made)
        yield made


@pytest.fixture
def guarded(library: Library) -> Iterator[Guarded]:
    keys = Keys(library.admin.catalog)
    given = {}
    for scope in SCOPES:
        for name, where in (("", ["sample"]), ("b", ["beta"]), ("all", [])):
            given[f"{name}{scope}"] = keys.create(f"{name}{scope}", scope=scope, collections=where)[
                0
            ]
    with running(library, keys_needed=True) as url:
        yield Guarded(url, library, given)


@contextmanager
def serving(app: object, **options: object) -> Iterator[int]:
    """Any ASGI application behind uvicorn on loopback; its port."""
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(
        app,  # type: ignore[arg-type]
        access_log=False,
        log_level="warning",
        timeout_graceful_shutdown=5,
        **options,  # type: ignore[arg-type]
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
    thread.start()
    wait_until(lambda: server.started, "the server did not start")
    yield listener.getsockname()[1]
    server.should_exit = True
    thread.join(WAIT)
    assert not thread.is_alive()
