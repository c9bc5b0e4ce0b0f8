"""Albums, favorites, ratings, tags and notes over a real connection."""

from __future__ import annotations

import httpx
import pytest

from .conftest import Served

OWN = "/api/v1/collections/own"


@pytest.fixture
def image(admin: httpx.Client) -> int:
    items = admin.get(f"{OWN}/images").raise_for_status().json()["items"]
    return next(item["id"] for item in items if item["document"] == "sun.png")


def test_marks_are_reported_and_found(served: Served, admin: httpx.Client, image: int) -> None:
    body = {"image_ids": [image, 2**40], "favorite": True, "rating": 4, "add_tags": ["sky"]}
    assert admin.patch(f"{OWN}/images", json=body).json() == {"images": 1}
    with served.client(served.keys["read"]) as reader:
        marks = reader.get(f"{OWN}/images/{image}").json()["marks"]
        assert marks == {
            "favorite": True, "rating": 4, "note": "", "tags": ["sky"], "albums": [],
        }  # fmt: skip
        where = {"where": ["favorite=yes", "rating>=4", "tag=sky"]}
        (found,) = reader.get(f"{OWN}/images", params=where).json()["items"]
        assert found["marks"] == marks
        search = {"text": "sun", "kind": "images", "cutoff": 0, "where": {"favorite": "yes"}}
        hits = reader.post(f"{OWN}/search", json=search).json()["hits"]
        assert [hit["id"] for hit in hits] == [image]
    change = {"image_ids": [image], "favorite": False, "rating": 0, "remove_tags": ["sky"]}
    admin.patch(f"{OWN}/images", json=change).raise_for_status()
    assert admin.get(f"{OWN}/images", params={"where": "favorite=yes"}).json()["items"] == []


def test_albums(admin: httpx.Client, image: int) -> None:
    made = admin.post(f"{OWN}/albums", json={"name": "Best  of", "image_ids": [image]})
    assert (made.status_code, made.json()) == (
        201, {"name": "Best of", "images": 1, "cover": image},
    )  # fmt: skip
    assert admin.post(f"{OWN}/albums", json={"name": "best of"}).status_code == 400
    changed = admin.patch(f"{OWN}/albums/Best of", json={"name": "The best", "remove": [image]})
    assert changed.json()["items"] == [{"name": "The best", "images": 0, "cover": None}]
    assert admin.patch(f"{OWN}/albums/Best of", json={"add": [image]}).status_code == 404
    admin.patch(f"{OWN}/albums/The best", json={"add": [image]}).raise_for_status()
    found = admin.get(f"{OWN}/images", params={"where": "album=The best"}).json()["items"]
    assert [one["id"] for one in found] == [image]
    assert admin.delete(f"{OWN}/albums/The best").json() == {"deleted": "The best"}
    assert admin.get(f"{OWN}/albums").json() == {"items": []}


@pytest.mark.parametrize(
    ("where", "result"),
    [("favorite", "where takes FIELD=VALUE"), ("favorite=maybe", "is neither yes nor no")],
)
def test_bad_filters_are_one_line(admin: httpx.Client, where: str, result: str) -> None:
    answer = admin.get(f"{OWN}/images", params={"where": where})
    assert answer.status_code == 400
    assert result in answer.json()["detail"]
