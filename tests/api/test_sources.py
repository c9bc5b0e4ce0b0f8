"""Sources over a real connection: entered, synced as a job, paused, removed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from ragcore.access.keys import Keys
from ragcore.library import Library
from ragcore.settings import Settings
from tests.web_site import Page, Site, web_site

from .conftest import running

HERE = "/api/v1/collections/birds/sources"


@pytest.fixture
def site() -> Iterator[Site]:
    with web_site() as opened:
        for name, links in (("", "ab"), ("a", ""), ("b", "")):
            anchors = "".join(f"<a href='/{link}'>{link}</a> " for link in links)
            body = f"<title>Page {name}</title><h1>Page {name}</h1><p>Of the bird {name}.</p>"
            opened.pages[f"/{name}"] = Page(f"<html>{body}{anchors}</html>".encode())
        yield opened


@pytest.fixture
def admin(tmp_path: Path, make_settings: Callable[..., Settings]) -> Iterator[httpx.Client]:
    """A key for all collections, at a server that may connect to the local site."""
    settings = make_settings(tmp_path / "home", private_hosts=["127.0.0.1"], crawl_delay=0)
    library = Library(settings)
    library.create_collection("birds")
    library.create_collection("fish")
    key = Keys(library.admin.catalog).create("all", scope="admin")[0]
    with (
        running(library, keys_needed=True) as url,
        httpx.Client(
            base_url=url, headers={"Authorization": f"Bearer {key}"}, timeout=600
        ) as client,
    ):
        yield client


def sync(client: httpx.Client, number: int) -> httpx.Response:
    """Start a sync, and wait for the end of its job."""
    started = client.post(f"{HERE}/{number}/sync")
    assert started.status_code == 202
    with client.stream("GET", f"{started.json()['location']}/events") as events:
        assert "event: end" in events.read().decode()
    return client.get(started.json()["location"])


def test_a_source_from_its_entry_to_its_end(admin: httpx.Client, site: Site) -> None:
    body = {"url": site.url, "options": {"crawl": True, "depth": 2}, "every": 3600}
    entered = admin.post(HERE, json=body)
    assert entered.status_code == 201
    source = entered.json()
    assert source["options"] == {"crawl": "yes", "depth": "2"}
    assert (source["every"], source["paused"], source["last_run"]) == (3600, False, None)
    one = f"{HERE}/{source['id']}"
    paused = admin.patch(one, json={"paused": True}).json()
    assert (paused["paused"], paused["next_run"]) == (True, None)

    job = sync(admin, source["id"]).json()
    assert (job["kind"], job["state"]) == ("sync", "done")
    assert (job["report"]["added"], job["report"]["failed"]) == (3, [])
    shown = admin.get(one).json()
    assert (shown["report"]["added"], shown["error"]) == (3, "")
    assert shown["last_run"] is not None
    assert admin.get(HERE).json()["items"] == [shown]
    listed = admin.get("/api/v1/collections/birds/documents").json()
    assert {row["path"] for row in listed["items"]} == {f"{site.url}/{x}" for x in ("", "a", "b")}

    assert admin.patch(one, json={"paused": False}).json()["next_run"] is not None
    assert admin.delete(one, params={"documents": True}).json() == {
        "removed": source["id"],
        "documents": 3,
    }
    assert admin.get(one).status_code == 404
    assert admin.get(HERE).json() == {"items": []}


def test_a_run_that_does_not_come_about_is_a_failed_job(admin: httpx.Client, site: Site) -> None:
    source = admin.post(HERE, json={"url": f"{site.url}/nowhere"}).json()
    job = sync(admin, source["id"]).json()
    assert job["state"] == "failed"
    assert "404" in job["error"]
    assert "404" in admin.get(f"{HERE}/{source['id']}").json()["error"]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"url": "ftp://example.org"}, 403),
        ({"url": "https://user:secret-word@example.org"}, 400),
        ({"url": "https://example.org", "every": 5}, 400),
        ({"url": "https://example.org", "options": {"depth": 2}}, 400),
        ({"url": "https://example.org", "options": {"colour": "blue"}}, 422),
        ({}, 422),
        ({"url": "/etc"}, 403),
        ({"url": "file:///etc"}, 403),
        ({"url": "zip:///etc/secrets.zip"}, 403),
    ],
)
def test_what_is_no_source_is_refused(
    admin: httpx.Client, body: dict[str, object], status: int
) -> None:
    answer = admin.post(HERE, json=body)
    assert answer.status_code == status, answer.text
    assert "secret-word" not in answer.text
    assert admin.get(HERE).json() == {"items": []}


def test_a_source_is_of_one_collection(admin: httpx.Client) -> None:
    number = admin.post(HERE, json={"url": "https://example.org"}).json()["id"]
    other = f"/api/v1/collections/fish/sources/{number}"
    assert admin.get(other).status_code == 404
    assert admin.patch(other, json={"paused": True}).status_code == 404
    assert admin.post(f"{other}/sync").status_code == 404
    assert admin.delete(other).status_code == 404
    assert admin.get(f"{HERE}/{number}").json()["paused"] is False
