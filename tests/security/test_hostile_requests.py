"""Hostile requests to a real server: answered in time, and others are served meanwhile."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi.routing import APIRoute

from ragcore.api.app import ROUTERS
from ragcore.api.bodies import MAX_PARTS, BoundedRoute
from ragcore.ingest.uploads import Uploads
from ragcore.library import Library
from tests.api.conftest import Served

HEALTHY = 0.5  # seconds that /healthz may take, whatever is asked
ASK = "/api/v1/collections/own/ask"
SEARCH = "/api/v1/collections/own/search"


@contextmanager
def watched(url: str) -> Iterator[list[float]]:
    """Seconds of each /healthz that was asked for meanwhile, one after the other."""
    seconds: list[float] = []
    done = threading.Event()

    def probe() -> None:
        with httpx.Client(base_url=url, timeout=60) as client:
            while not (done.is_set() and seconds):
                began = time.monotonic()
                assert client.get("/healthz").status_code == 200
                seconds.append(time.monotonic() - began)
                done.wait(0.02)

    thread = threading.Thread(target=probe)
    thread.start()
    try:
        yield seconds
    finally:
        done.set()
        thread.join()


def healthy(seconds: list[float]) -> bool:
    """A single slow answer may be this machine's; the rule is what nine in ten took."""
    return sorted(seconds)[int(0.9 * (len(seconds) - 1))] <= HEALTHY


def schema_of(reference: str) -> dict[str, Any]:
    return {"type": "object", "properties": {"a": {"$ref": reference}}, "required": ["a"]}


def test_a_glob_of_many_stars_is_refused_at_once(served: Served) -> None:
    with served.client(served.keys["read"]) as client, watched(served.url) as seconds:
        for name in ("path", "name"):
            body = {"text": "x", "where": {name: "/" + "*?" * 14 + "\u2603"}}
            answer = client.post(SEARCH, json=body, timeout=10)
            assert answer.status_code == 400
            assert "a glob has at most 8" in answer.json()["detail"]
    assert healthy(seconds)


def test_a_statement_that_takes_too_long_is_503(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sqlalchemy import text

    from ragcore.catalog.engine import limited
    from ragcore.catalog.filters import resolve

    endless = text(
        "(WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000000000) "
        "SELECT count(*) FROM n) > 0"
    )
    slow = [replace(one, condition=lambda _item, _given: endless) for one in resolve.FILTERS]
    monkeypatch.setattr(resolve, "FILTERS", slow)
    catalog = served.library.admin.catalog
    monkeypatch.setattr(catalog, "_searching", limited(catalog._reading, 0.3))
    with served.client(served.keys["read"]) as client, watched(served.url) as seconds:
        answer = client.post(SEARCH, json={"text": "x", "where": {"type": "pdf"}}, timeout=30)
    assert answer.status_code == 503
    assert "search_timeout" in answer.json()["detail"]
    assert int(answer.headers["Retry-After"]) > 0
    assert healthy(seconds)


def test_a_schema_fetches_nothing_and_opens_nothing(served: Served, tmp_path: Path) -> None:
    local = tmp_path / "evil.json"
    local.write_text('{"type": "string"}')
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    asked = threading.Event()

    class Listener(threading.Thread):
        def __init__(self) -> None:
            import socket

            super().__init__(daemon=True)
            self.socket = socket.create_server(("127.0.0.1", 0))
            self.port = self.socket.getsockname()[1]

        def run(self) -> None:
            try:
                self.socket.accept()
                asked.set()
            except OSError:
                return

    listener = Listener()
    listener.start()
    where = f"http://127.0.0.1:{listener.port}/x"
    with served.client(served.keys["read"]) as client:
        for reference in (where, "file:///etc/passwd", local.as_uri(), pipe.as_uri()):
            body = {"question": "Who may park?", "form": schema_of(reference)}
            answer = client.post(ASK, json=body, timeout=20)
            assert answer.status_code == 400
            assert "begins with #" in answer.json()["detail"]
            chat = {
                "model": "ragcore/own", "messages": [{"role": "user", "content": "Who may park?"}],
                "response_format": {"type": "json_schema", "json_schema": {
                    "name": "a", "schema": schema_of(reference)}},
            }  # fmt: skip
            for stream in (False, True):
                answer = client.post(
                    "/v1/chat/completions", json={**chat, "stream": stream}, timeout=20
                )
                assert answer.status_code == 400
    assert not asked.is_set()
    listener.socket.close()


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "array", "minItems": 10**9, "items": {"type": "string"}},
        {"type": "string", "minLength": 10**9},
        {"$ref": "#"},
        json.loads('{"properties":{"a":' * 60 + "{}" + "}}" * 60),
        {"type": "string", "pattern": "^((a{1,1000}){1,1000}){1,1000}$"},
    ],
)
def test_schemas_beyond_the_limits_are_400(served: Served, schema: dict[str, Any]) -> None:
    with served.client(served.keys["read"]) as client:
        answer = client.post(ASK, json={"question": "Who may park?", "form": schema}, timeout=20)
    assert answer.status_code == 400


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (SEARCH, b'{"text":"x","where":[' + b"[]," * 15_600_000 + b"[]]}"),
        (SEARCH, b'{"text":"' + b"\\u0041" * 7_000_000 + b'"}'),
        (SEARCH, b'{"text":"x","where":' + b"[" * 100_000 + b"]" * 100_000 + b"}"),
        (SEARCH, b'{"text":"x","image":"' + b"A" * (47 << 20) + b'"}'),
        (ASK, b'{"question":"' + b"x" * (2 << 20) + b'"}'),
        ("/v1/embeddings", b'{"model":"m","input":["' + b"x " * (1 << 20) + b'"]}'),
    ],
    ids=["lists", "escapes", "nesting", "image", "question", "embeddings"],
)
def test_a_large_body_stops_nobody(served: Served, path: str, body: bytes) -> None:
    with served.client(served.keys["read"]) as client, watched(served.url) as seconds:
        answer = client.post(
            path, content=body, headers={"Content-Type": "application/json"}, timeout=120
        )
    assert 400 <= answer.status_code < 500
    assert healthy(seconds)


def test_many_parts_are_refused_before_they_are_parsed(served: Served) -> None:
    body = b'{"text":"x","where":[' + b"1," * MAX_PARTS + b"1]}"
    with served.client(served.keys["read"]) as client:
        answer = client.post(SEARCH, content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 413
    assert "parts" in answer.json()["detail"]


def test_every_route_checks_access_before_it_reads_a_body() -> None:
    routes = [route for module in ROUTERS for route in module.router.routes]
    assert all(isinstance(route, BoundedRoute) for route in routes if isinstance(route, APIRoute))


def test_a_body_is_not_read_without_the_scope(served: Served) -> None:
    """The answer comes while the body has only begun."""
    path = "/api/v1/collections/own/uploads"
    for key, status in ((served.keys["read"], 403), (None, 401), ("rc_no", 401)):
        released = threading.Event()

        def body(released: threading.Event = released) -> Iterator[bytes]:
            yield b"--b\r\n"
            released.wait(30)  # the rest comes only after the answer
            yield b"rest"

        def answered(response: httpx.Response, released: threading.Event = released) -> None:
            released.set()

        headers = {"Content-Type": "multipart/form-data; boundary=b"}
        if key:
            headers["Authorization"] = f"Bearer {key}"
        import socket

        url = httpx.URL(served.url)
        with socket.create_connection((url.host, url.port or 80), timeout=30) as line:
            lines = [f"POST {path} HTTP/1.1", f"Host: {url.host}", "Content-Length: 1000000"]
            lines += [f"{name}: {value}" for name, value in headers.items()]
            line.sendall("\r\n".join([*lines, "", "--b\r\n"]).encode())
            assert f" {status} " in line.recv(4096).decode("latin-1").splitlines()[0]


def uploaded(client: httpx.Client, name: str, content: bytes) -> httpx.Response:
    return client.post("/api/v1/collections/own/uploads", files={"files": (name, content)})


def test_uploads_of_one_name_at_once_are_all_kept(served: Served) -> None:
    answers: list[int] = []
    contents = [f"number {n} ".encode() * (2000 if n % 2 else 1) for n in range(12)]
    gate = threading.Barrier(len(contents))

    def send(content: bytes) -> None:
        with served.client(served.keys["write"]) as client:
            gate.wait()
            answers.append(uploaded(client, "same name.txt", content).status_code)

    threads = [threading.Thread(target=send, args=(content,)) for content in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [202] * 12
    folder = uploads_of(served.library).folder("own")
    assert {path.read_bytes() for path in folder.glob("same name*")} == set(contents)


def uploads_of(library: Library) -> Uploads:
    return Uploads(library.admin.catalog, library.admin.settings)


def test_refused_uploads_leave_nothing(served: Served) -> None:
    folder = uploads_of(served.library).folder("own")
    with served.client(served.keys["write"]) as client:
        before = sorted(folder.iterdir()) if folder.exists() else []
        large = served.library.admin.settings.ui_upload_mb * 2**20 + 1
        files = [("files", ("small.txt", b"kept?")), ("files", ("large.txt", b"x" * large))]
        answer = client.post("/api/v1/collections/own/uploads", files=files)
        assert answer.status_code == 413
    assert (sorted(folder.iterdir()) if folder.exists() else []) == before
