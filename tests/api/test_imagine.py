"""Images as jobs over HTTP: progress, previews, cancel, the PNG; a small image maker."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from PIL import Image

from ragcore.access.keys import Keys
from ragcore.diffusion import read_recipe
from ragcore.library import Library
from ragcore.settings import Settings
from tests.waiting import wait_until

from ..diffusion.tiny import SIZE, make_model, make_profile
from .conftest import running
from .sse import events as read_events

URL = "/api/v1/imagine"


def png_of(color: str) -> bytes:
    file = io.BytesIO()
    image = Image.new("RGB", (48, 48), "white")
    image.paste(color, (12, 12, 36, 36))
    image.save(file, "PNG")
    return file.getvalue()


@pytest.fixture(scope="module")
def library(
    make_settings: Callable[..., Settings], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Library]:
    folder = tmp_path_factory.mktemp("imagine")
    profile = make_profile(folder, make_model(folder / "model"))
    (folder / "files").mkdir()
    (folder / "files" / "square.png").write_bytes(png_of("black"))
    with Library(make_settings(folder / "home", profile=str(profile))) as library:
        for name in ("open", "closed"):
            library.ingest([folder / "files"], collection=name)
        yield library


@pytest.fixture(scope="module")
def clients(library: Library) -> Iterator[dict[str, httpx.Client]]:
    """Two people who may read the collection `open` only."""
    keys = Keys(library.admin.catalog)
    with running(library) as url:
        made = {}
        for name in ("ann", "ben"):
            key, _ = keys.create(name, scope="read", collections=["open"])
            headers = {"Authorization": f"Bearer {key}"}
            made[name] = httpx.Client(base_url=url, headers=headers, timeout=600)
        yield made
        for client in made.values():
            client.close()


@pytest.fixture
def ann(clients: dict[str, httpx.Client]) -> httpx.Client:
    return clients["ann"]


def start(client: httpx.Client, **body: Any) -> str:
    answer = client.post(URL, json={"prompt": "red apple", "seed": 5, "steps": 3, **body})
    assert answer.status_code == 202, answer.text
    assert answer.headers["Location"] == answer.json()["location"]
    return str(answer.json()["location"])


def finished(client: httpx.Client, location: str) -> dict[str, Any]:
    def ended() -> dict[str, Any]:
        job: dict[str, Any] = client.get(location).json()
        return {} if job["state"] in ("queued", "running") else job

    return wait_until(ended, "the job's end", every=0.05)


def test_progress_previews_and_the_image(ann: httpx.Client, library: Library) -> None:
    image = library.images.list("open", limit=1)[0].id
    body = {
        "steps": 12, "count": 2, "style": "flat", "scale": 1e6, "guidance": ["class:circles:2"],
        "preview_every": 2, "controls": [
            {"kind": "canny", "image_id": image, "weight": 0.5, "end": 0.8},
            {"kind": "scribble", "image": base64.b64encode(png_of("red")).decode()},
        ],
    }  # fmt: skip
    location = start(ann, **body)
    with ann.stream("GET", f"{location}/events") as answer:
        events = read_events(answer.iter_lines())
    steps = [data["step"] for name, data in events if name == "progress"]
    assert steps == sorted(steps)
    name, end = events[-1]
    assert (name, end["state"], end["step"], end["total"]) == ("end", "done", 12, 12)
    previews = [data for name, data in events if name == "preview"]
    for preview in previews:
        shown = [Image.open(io.BytesIO(base64.b64decode(one))) for one in preview["images"]]
        assert [one.size for one in shown] == [(SIZE, SIZE)] * 2
    assert "was cut to 30" in end["notes"][0]
    assert [one["seed"] for one in end["images"]] == [5, 6]
    png = ann.get(end["images"][1]["location"])
    assert png.headers["content-type"] == "image/png"
    made, model = read_recipe(png.content)
    assert (model, made.seed, made.style) == ("tiny", 6, "flat style")
    assert [(one.kind, one.weight, one.end) for one in made.controls] == [
        ("canny", 0.5, 0.8), ("scribble", 1.0, 1.0),
    ]  # fmt: skip
    assert len(end["conditions"]) == 2
    assert ann.get(end["conditions"][0]).content.startswith(b"\x89PNG")
    assert ann.get(f"{location}/images/3").status_code == 404
    assert location.endswith(ann.get(URL).json()["items"][0]["id"])


def test_cancel_in_mid_run_and_forget(ann: httpx.Client) -> None:
    location = start(ann, steps=1000)
    wait_until(lambda: ann.get(location).json()["step"] >= 2, "the second step")
    assert ann.post(f"{location}/cancel").status_code == 202
    job = finished(ann, location)
    assert job["state"] == "cancelled"
    assert 2 <= job["step"] < 1000
    assert job["images"] == []
    assert ann.get(f"{location}/images/1").status_code == 404
    assert ann.delete(location).status_code == 204
    assert ann.get(location).status_code == 404


def test_two_people_at_once_see_their_own(clients: dict[str, httpx.Client]) -> None:
    def make(name: str) -> tuple[str, bytes]:
        location = start(clients[name], seed=1 if name == "ann" else 2, steps=8)
        job = finished(clients[name], location)
        return location, clients[name].get(job["images"][0]["location"]).content

    with ThreadPoolExecutor() as pool:
        (hers, one), (his, two) = pool.map(make, ["ann", "ben"])
    assert one != two
    again = finished(clients["ann"], start(clients["ann"], seed=1, steps=8))
    assert clients["ann"].get(again["images"][0]["location"]).content == one
    for client, location in ((clients["ben"], hers), (clients["ann"], his)):
        for path in ("", "/events", "/images/1", "/conditions/1"):
            assert client.get(location + path).status_code == 404
        assert client.post(f"{location}/cancel").status_code == 404
        assert client.delete(location).status_code == 404
        assert location.rsplit("/", 1)[1] not in client.get(URL).text


BROKEN = base64.b64encode(b"\x89PNG\r\n\x1a\n broken").decode()
WRONG = [
    ({"steps": 0}, 422, "steps"),
    ({"steps": 10_000}, 422, "1000"),
    ({"size": 33}, 400, "in steps of 16"),
    ({"style": "cubist"}, 400, "flat, round"),
    ({"guidance": ["class:unicorns:1"]}, 400, "unknown class 'unicorns'"),
    ({"guidance": ["class:circles"]}, 400, "class:NAME:SCALE"),
    ({"controls": [{"kind": "canny", "image": BROKEN}]}, 422, "not a readable image"),
    ({"controls": [{"kind": "canny", "image": "?"}]}, 400, "base64"),
    ({"controls": [{"kind": "canny"}]}, 400, "either an image or an image_id"),
    ({"controls": [{"kind": "pose", "image": BROKEN}]}, 400, "no ControlNet for 'pose'"),
    ({"controls": [{"kind": "canny", "image_id": 999}]}, 404, "999"),
    ({"start_image": BROKEN}, 422, "start image"),
    ({"loras": [{"name": "../../etc/passwd"}]}, 400, "no LoRA"),
    ({"strength": 2}, 422, "strength"),
    ({"colour": "red"}, 422, "colour"),
]


@pytest.mark.parametrize(("body", "status", "words"), WRONG, ids=[str(w[0])[:40] for w in WRONG])
def test_what_cannot_be_made_is_said_at_once(
    ann: httpx.Client, body: dict[str, Any], status: int, words: str
) -> None:
    answer = ann.post(URL, json={"prompt": "x", **body})
    assert answer.status_code == status, answer.text
    assert words in answer.text


def test_images_of_other_collections_cannot_be_followed(
    ann: httpx.Client, library: Library
) -> None:
    foreign = library.images.list("closed", limit=1)[0].id
    answer = ann.post(URL, json={"controls": [{"kind": "canny", "image_id": foreign}]})
    assert answer.status_code == 404


def test_too_many_at_once_wait(ann: httpx.Client) -> None:
    places = []
    try:
        for _ in range(16):
            places.append(start(ann, steps=1000))
        refused = ann.post(URL, json={"prompt": "x"})
        assert refused.status_code == 429
        assert refused.headers["Retry-After"]
    finally:
        for location in places:
            ann.delete(location)
    assert finished(ann, start(ann))["state"] == "done"
