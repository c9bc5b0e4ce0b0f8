"""The HTTP API: whose pages may use it without keys, what keys show, and when their work ends."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.testclient import TestClient

from ragcore.access.keys import Keys
from ragcore.api import create_app
from ragcore.catalog import permits
from ragcore.errors import Cancelled
from ragcore.library import Library
from ragcore.settings import Settings
from ragcore.types import CancelToken, Progress, ProgressCallback

from .conftest import FOLDER, SECRET, Guarded, wait_until

OWN = "127.0.0.1:8765"


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[TestClient]:
    """The API of a person's own computer, without keys."""
    app = create_app(Library(Settings(home=tmp_path / "home")), keys_needed=False, prepare=False)
    with TestClient(app, base_url=f"http://{OWN}") as client:
        yield client


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example:8765"},
        {"Host": "127.0.0.1.evil.example"},
        {"Host": "localhost@evil.example"},
        {"Host": "evil.example@localhost"},
        {"Host": ""},
        {"Host": "localhost:8765/x"},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://localhost:9999"},
        {"Origin": "http://127.0.0.1"},
        {"Origin": "http://127.0.0.1:87650"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": f"http://{OWN}", "Sec-Fetch-Site": "same-site"},
        {"Origin": "http://localhost:9999", "Sec-Fetch-Site": "same-origin"},
    ],
    ids=str,
)
def test_pages_of_other_sites_and_programs_are_refused(
    alone: TestClient, headers: dict[str, str]
) -> None:
    file = {"files": ("x.txt", b"planted by another program's page")}
    alone.post("/api/v1/collections", json={"name": "mine"})
    for answer in (
        alone.get("/api/v1/collections", headers=headers),
        alone.post("/api/v1/collections", json={"name": "planted"}, headers=headers),
        alone.post("/api/v1/collections/mine/uploads", files=file, headers=headers),
        alone.post(
            "/api/v1/collections",
            content='{"name": "planted"}',
            headers={**headers, "Content-Type": "text/plain"},
        ),
    ):
        assert answer.status_code == 403, answer.text
        assert "access-control-allow-origin" not in answer.headers
    names = [one["name"] for one in alone.get("/api/v1/collections").json()["items"]]
    assert names == ["mine"]


def test_ones_own_pages_and_programs_are_served(alone: TestClient) -> None:
    for headers in (
        {},
        {"Origin": f"http://{OWN}"},
        {"Origin": f"http://{OWN}", "Sec-Fetch-Site": "same-origin"},
        {"Sec-Fetch-Site": "none"},
        {"Host": "localhost:8765", "Origin": "http://localhost:8765"},
    ):
        assert alone.get("/api/v1/collections", headers=headers).status_code == 200


def items(client: httpx.Client, what: str, collection: str = "sample") -> list[dict[str, Any]]:
    answer = client.get(f"/api/v1/collections/{collection}/{what}")
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["items"]
    return found


def test_readers_are_shown_no_paths_of_the_server(guarded: Guarded) -> None:
    def work(_progress: ProgressCallback, _cancel: CancelToken) -> dict[str, Any]:
        return {"failed": [{"path": f"{FOLDER}/bad.pdf", "error": "broken"}], "added": 0}

    job = guarded.library.jobs.start("ingest", "sample", {"paths": [FOLDER]}, work)
    guarded.library.jobs.wait(job, 60)
    for key, shown in (("read", False), ("write", True), ("alladmin", True)):
        with guarded.client(key) as client:
            answers = [items(client, what) for what in ("documents", "images", "jobs")]
            paths = [one["path"] for one in (*answers[0], *answers[1])]
            paths += [one["path"] for one in answers[2][0]["report"]["failed"]]
            assert [FOLDER in path for path in paths] == [shown] * 3
            assert (FOLDER in str(answers)) is shown
            assert paths[0].endswith("sample.txt")


def test_nothing_of_another_collection_comes_out(guarded: Guarded) -> None:
    """Ids of `beta` under the name `sample`, and names that are taken by others."""
    with guarded.client("bread") as client:
        document, image = (items(client, what, "beta")[0]["id"] for what in ("documents", "images"))
    here = "/api/v1/collections/sample"
    with guarded.client("admin") as client:
        for path in ("", "/file", "/pages/1", "/pages/1/image"):
            answer = client.get(f"{here}/documents/{document}{path}")
            assert answer.status_code == 404
        for path in ("", "/thumbnail", "/view"):
            assert client.get(f"{here}/images/{image}{path}").status_code == 404
        assert client.delete(f"{here}/documents/{document}").status_code == 404
        assert client.get(f"{here}/images", params={"document_id": document}).status_code == 404
        result = []
        for name in ("beta", "zeta"):
            renamed = client.patch(here, json={"name": name})
            made = client.post("/api/v1/collections", json={"name": name})
            asked = client.get(f"/api/v1/collections/{name}")
            result.append(
                [(one.status_code, one.json()["detail"].replace(name, "NAME"))
                 for one in (renamed, made, asked)]
            )  # fmt: skip
        assert result[0] == result[1], "a name that is taken is answered as one that is free"
        assert [status for status, _ in result[0]] == [403, 403, 404]
        assert SECRET not in str(result)
    with guarded.client("alladmin") as client:
        assert client.patch(here, json={"name": "beta"}).status_code == 409
        assert client.patch(here, json={"name": "renamed"}).status_code == 200


def test_figures_of_the_server_are_an_administrators(guarded: Guarded) -> None:
    for key, status in (
        (None, 401), ("read", 403), ("admin", 403), ("allwrite", 403), ("alladmin", 200),
    ):  # fmt: skip
        with guarded.client(key) as client:
            assert client.get("/metrics").status_code == status, key


class Slow:
    """A job that goes on until it is stopped."""

    def __init__(self) -> None:
        self.ended = threading.Event()

    def __call__(self, progress: ProgressCallback, cancel: CancelToken) -> dict[str, Any]:
        while not cancel.cancelled:
            progress(Progress("read", 1, 100))
            time.sleep(0.02)
        self.ended.set()
        raise Cancelled("stopped")


@pytest.mark.parametrize("end", ["disable", "revoke"])
def test_a_disabled_account_ends_with_its_streams_and_jobs(guarded: Guarded, end: str) -> None:
    keys = Keys(guarded.library.admin.catalog)
    key, info = keys.create("leaving", scope="write", collections=["sample"])
    slow, staying = Slow(), Slow()
    with permits.within(permits.Permit(key_id=info.id)):
        job = guarded.library.jobs.start("ingest", "sample", {}, slow)
    other = guarded.library.jobs.start("ingest", "sample", {}, staying)
    address = f"/api/v1/collections/sample/jobs/{other}/events"
    with guarded.client(key) as client, client.stream("GET", address) as stream:
        assert stream.status_code == 200
        lines = stream.iter_lines()
        assert next(lines).startswith("event: progress")
        getattr(keys, end)(str(info.id))
        began = time.monotonic()
        for _ in lines:  # ends, though the job that is followed goes on
            assert time.monotonic() - began < 60
        assert client.get("/api/v1/collections").status_code == 401
    assert slow.ended.wait(60), "its own job was stopped"
    assert guarded.library.jobs.wait(job, 60).state == "cancelled"
    assert guarded.library.jobs.get(other).state == "running", "that of others goes on"
    guarded.library.jobs.cancel(other)
    assert staying.ended.wait(60)


def test_a_disabled_account_comes_back(guarded: Guarded) -> None:
    keys = Keys(guarded.library.admin.catalog)
    key, info = keys.create("back again", scope="read", collections=["sample"])
    with guarded.client(key) as client:
        assert client.get("/api/v1/collections").status_code == 200
        keys.disable(info.prefix)
        assert client.get("/api/v1/collections").status_code == 401
        keys.enable(str(info.id))
        assert client.get("/api/v1/collections").status_code == 200


def test_addresses_come_from_trusted_proxies_only(tmp_path: Path) -> None:
    """The audit has the address that a request came from, whatever it says of itself."""
    from ragcore.access.audit import Audit
    from ragcore.api.server import server_config

    from .conftest import serving

    for trusted, expected in (("", "127.0.0.1"), ("127.0.0.1", "203.0.113.7")):
        settings = Settings(home=tmp_path / f"home{trusted}", trusted_proxies=trusted)
        library = Library(settings)
        app = create_app(library, keys_needed=True, prepare=False)
        options = server_config(app, settings)
        with serving(
            app, **{k: options[k] for k in ("proxy_headers", "forwarded_allow_ips")}
        ) as port:
            httpx.get(
                f"http://127.0.0.1:{port}/api/v1/collections",
                headers={"X-Forwarded-For": "198.51.100.1, 203.0.113.7"},
            )
            audit = Audit(library.admin.catalog)
            wait_until(lambda: bool(audit.recent(5)), "no entry was written")  # noqa: B023
            assert {entry.client for entry in audit.recent(5)} == {expected}
