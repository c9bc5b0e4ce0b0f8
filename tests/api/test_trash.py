"""The trash over a real connection."""

from __future__ import annotations

import httpx
import pytest

from .conftest import Served

OWN = "/api/v1/collections/own"


@pytest.fixture
def document(admin: httpx.Client) -> int:
    items = admin.get(f"{OWN}/documents", params={"search": "visitor"}).json()["items"]
    return int(items[0]["id"])


def test_taken_out_listed_and_put_back(served: Served, admin: httpx.Client, document: int) -> None:
    title = admin.get(f"{OWN}/documents/{document}").json()["title"]
    with served.client(served.keys["write"]) as writer:
        put = writer.post(f"{OWN}/trash", json={"document_ids": [document, 2**40]})
        assert (put.status_code, put.json()) == (200, {"documents": 1})
        assert writer.get(f"{OWN}/documents/{document}").status_code == 404
        listed = writer.get(f"{OWN}/trash").json()
        (one,) = listed["items"]
        assert (one["id"], one["name"]) == (document, "visitor-guide.html")
        assert one["passages"] > 0
        assert (listed["total"], listed["next_cursor"], listed["days"]) == (1, None, 30)
        back = writer.post(f"{OWN}/trash/restore", json={"document_ids": [2**40]})
        assert back.json() == {"documents": 0}
        assert writer.post(f"{OWN}/trash/restore", json={}).json() == {"documents": 1}
        assert writer.get(f"{OWN}/trash").json()["items"] == []
        assert writer.get(f"{OWN}/documents/{document}").json()["title"] == title


def test_emptied_in_part_and_whole(admin: httpx.Client) -> None:
    form = {"files": [("files", (f"note-{n}.txt", f"Note {n}.\n".encode())) for n in range(3)]}
    started = admin.post(f"{OWN}/uploads", **form).raise_for_status()
    with admin.stream("GET", f"{started.headers['location']}/events") as events:
        events.read()
    items = admin.get(f"{OWN}/documents", params={"search": "note-"}).json()["items"]
    ids = [one["id"] for one in items]
    assert len(ids) == 3
    admin.post(f"{OWN}/trash", json={"document_ids": ids}).raise_for_status()
    first = admin.get(f"{OWN}/trash", params={"limit": 2}).json()
    rest = admin.get(f"{OWN}/trash", params={"limit": 2, "cursor": first["next_cursor"]}).json()
    assert sorted(one["id"] for one in first["items"] + rest["items"]) == sorted(ids)
    removed = admin.delete(f"{OWN}/trash", params={"document_id": [ids[0], 2**40]})
    assert removed.json() == {"documents": 1}
    assert admin.delete(f"{OWN}/trash").json() == {"documents": 2}
    assert admin.post(f"{OWN}/trash/restore", json={}).json() == {"documents": 0}


@pytest.mark.parametrize("body", [{}, {"document_ids": []}, {"document_ids": ["x"]}, {"all": 1}])
def test_bad_requests(admin: httpx.Client, body: dict[str, object]) -> None:
    assert admin.post(f"{OWN}/trash", json=body).status_code == 422
