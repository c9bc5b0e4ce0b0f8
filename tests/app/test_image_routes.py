"""Images by address: described, downloaded and marked, without a page around them."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from ragcore_app import image_routes
from starlette.applications import Starlette
from starlette.testclient import TestClient

from ragcore.library import ImageMarks, Library
from ragcore.settings import Settings

IMAGES = f"/{image_routes.IMAGES}"


@pytest.fixture
def ids(own_home: Path) -> dict[str, int]:
    """The images that are files, by name."""
    with Library(Settings(home=own_home)) as library:
        rows = library.images.list("sample")
        return {Path(row.path).name: row.id for row in rows if row.page is None}


@pytest.fixture
def browser(ids: dict[str, int]) -> Iterator[TestClient]:
    with TestClient(Starlette(routes=image_routes.routes("/"))) as client:
        yield client


def test_what_is_marked_is_described(
    browser: TestClient, ids: dict[str, int], own_home: Path
) -> None:
    image = ids["red-circle.png"]
    for body, said in (
        ({"do": "favorite", "value": True}, "1 image marked as a favorite."),
        ({"do": "rate", "value": 4}, "1 image rated."),
        ({"do": "tag", "add": ["round", "red"]}, "1 image tagged."),
        ({"do": "tag", "remove": ["red"]}, "1 image untagged."),
        ({"do": "note", "value": "drawn"}, "The note is kept."),
        ({"do": "album", "value": "Shapes"}, "The album Shapes is made, with 1 image."),
        ({"do": "album", "value": "shapes"}, "0 images added to Shapes."),
        ({"do": "label", "classifier": "shape", "value": "circle"},
         "1 image labeled circle for shape: see the page Classifiers."),
    ):  # fmt: skip
        answer = browser.post(IMAGES, json={"ids": [image], **body})
        assert (answer.status_code, answer.json()["said"]) == (200, said)
    about = browser.get(f"{IMAGES}/{image}/about").json()
    assert {name: about[name] for name in ("favorite", "rating", "note", "tags", "albums")} == {
        "favorite": True, "rating": 4, "note": "drawn", "tags": ["round"], "albums": ["Shapes"],
    }  # fmt: skip
    assert "400 × 300 pixels" in about["facts"]
    assert not about["missing"]
    with Library(Settings(home=own_home)) as library:
        kept = ImageMarks(True, 4, "drawn", ("round",), ("Shapes",))
        assert library.images.marks([image]) == {image: kept}
        assert library.labels.classes("sample")["shape"] == ("image", ["circle"])
        assert library.labels.given_counts("shape", collection="sample") == {"circle": 1}
    browser.post(IMAGES, json={"ids": [image], "do": "unalbum", "value": "Shapes"})
    assert browser.get(f"{IMAGES}/{image}/about").json()["albums"] == []


def test_the_trash_with_undo(browser: TestClient, ids: dict[str, int]) -> None:
    image = ids["red-circle.png"]
    done = browser.post(IMAGES, json={"ids": [image], "do": "trash"}).json()
    assert done["said"] == "1 image moved to the trash."
    assert browser.get(f"{IMAGES}/{image}/about").status_code == 404
    undone = browser.post(IMAGES, json=done["undo"])
    assert (undone.status_code, undone.json()["said"]) == (200, "1 image restored.")
    assert browser.get(f"{IMAGES}/{image}/about").status_code == 200


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        ({"ids": [1], "do": "fly"}, 400, "cannot be read"),
        ({"ids": ["x"], "do": "rate", "value": 1}, 400, "cannot be read"),
        ({"ids": [], "do": "rate", "value": 1}, 400, "Choose 1 to 20,000"),
        ({"ids": [999_999], "do": "rate", "value": 1}, 404, "There is no image 999999."),
        ([], 400, "cannot be read"),
    ],
)
def test_bad_requests_say_so(browser: TestClient, body: object, status: int, said: str) -> None:
    answer = browser.post(IMAGES, json=body)
    assert answer.status_code == status
    assert said in answer.json()["said"]


def test_bad_values_say_so(browser: TestClient, ids: dict[str, int]) -> None:
    image = ids["red-circle.png"]
    for body, said in (
        ({"do": "rate", "value": 9}, "A rating is 0 to 5"),
        ({"do": "rate"}, "The request cannot be read."),
        ({"do": "tag", "add": ["a,b"]}, "is no tag"),
    ):
        answer = browser.post(IMAGES, json={"ids": [image], **body})
        assert answer.status_code in (400, 404)
        assert said in answer.json()["said"]


def test_originals_one_by_one_and_together(browser: TestClient, ids: dict[str, int]) -> None:
    image, other = ids["red-circle.png"], ids["blue-square.png"]
    alone = browser.get(f"{IMAGES}/{image}/original")
    assert "red-circle.png" in alone.headers["content-disposition"]
    packed = browser.post(f"{IMAGES}/zip", data={"ids": f"{image},{other},{image},999999"})
    with zipfile.ZipFile(io.BytesIO(packed.content)) as made:
        assert made.testzip() is None
        assert made.namelist() == ["red-circle.png", "blue-square.png", "not included.txt"]
        assert made.read("red-circle.png") == alone.content
        assert "there is no image 999999" in made.read("not included.txt").decode()
    assert browser.post(f"{IMAGES}/zip", data={"ids": "1;2"}).status_code == 400


def test_a_missing_original_is_seen_by_its_thumbnail(
    browser: TestClient, ids: dict[str, int], own_home: Path
) -> None:
    image = ids["red-circle.png"]
    with Library(Settings(home=own_home)) as library:
        path = Path(library.images.get(image).path)
        data, thumbnail = path.read_bytes(), library.images.thumbnail(image)
    path.unlink()
    try:
        assert browser.get(f"{IMAGES}/{image}/view").content == thumbnail
        assert browser.get(f"{IMAGES}/{image}/about").json()["missing"]
        assert browser.get(f"{IMAGES}/{image}/original").status_code == 404
    finally:
        path.write_bytes(data)  # other tests share the file
    assert browser.get(f"{IMAGES}/{image}/view?side=1600").content != thumbnail
    assert browser.get(f"{IMAGES}/{image}/view?side=7").status_code == 400


def test_a_frame_leads_to_its_second_of_the_video(
    browser: TestClient, ids: dict[str, int], own_home: Path, tmp_path: Path
) -> None:
    from ..videos import encode

    path = encode(tmp_path / "colors.mp4")
    with Library(Settings(home=own_home)) as library:
        assert not library.ingest([path], collection="sample").failed
        frames = [one for one in library.images.list("sample") if one.second]
    frame = min(frames, key=lambda one: one.second or 0)
    about = browser.get(f"{IMAGES}/{frame.id}/about").json()
    assert about["second"] == frame.second == pytest.approx(2, abs=0.1)
    assert {"at 0:02 of 0:06", "mpeg4"} <= set(about["facts"])
    assert not about["missing"]
    part = browser.get(f"{IMAGES}/{frame.id}/video", headers={"Range": "bytes=0-99"})
    assert (part.status_code, part.headers["content-type"]) == (206, "video/mp4")
    assert part.content == path.read_bytes()[:100]
    saved = browser.get(f"{IMAGES}/{frame.id}/original")
    assert "colors.mp4" in saved.headers["content-disposition"]
    assert saved.content == path.read_bytes()
    assert browser.get(f"{IMAGES}/{ids['red-circle.png']}/video").status_code == 404
    zipped = browser.post(f"{IMAGES}/zip", data={"ids": str(frame.id)})
    assert zipfile.ZipFile(io.BytesIO(zipped.content)).namelist() == ["colors-0-02.jpg"]
