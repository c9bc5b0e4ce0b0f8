"""Albums and marks through the library, the command line and sidecars, with tiny models."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from PIL import Image

from ragcore.cli.images import command
from ragcore.library import Filter, ImageMarks, Library
from ragcore.library.sidecar_xml import sidecar
from ragcore.types import ImageMetadata

from ..shared_models import tiny_library


def draw(path: Path, color: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    exif = Image.Exif()
    exif[0x9C9B] = "x".encode("utf-16-le")
    Image.new("RGB", (96, 64), color).save(path, exif=exif, quality=95)
    return path


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    draw(folder / "a" / "red.jpg", "red")
    draw(folder / "a" / "blue.jpg", "blue")
    draw(folder / "b" / "green.jpg", "green")
    return folder


@pytest.fixture
def library(
    tmp_path: Path, photos: Path, tiny_profile: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Library]:
    with tiny_library(tmp_path / "home", tiny_profile, monkeypatch) as opened:
        assert not opened.ingest([photos], collection="photos").failed
        yield opened


def ids(library: Library) -> dict[str, int]:
    return {Path(one.path).stem: one.id for one in library.images.list("photos")}


def run(*arguments: str) -> Any:
    result = CliRunner().invoke(command, [*arguments, "-c", "photos", "--json"])
    assert result.exception is None, result.output
    return json.loads(result.output)


def test_from_the_command_line(library: Library) -> None:
    found = ids(library)
    red, blue, green = (str(found[name]) for name in ("red", "blue", "green"))
    assert run("favorite", red, green) == {"images": 2}
    assert run("favorite", green, "--off") == {"images": 1}
    assert run("rate", "--where", "path=photos/a", "--stars", "4") == {"images": 2}
    assert run("tag", red, "--add", "garden", "--add", "rose") == {"images": 1}
    assert run("tag", "--where", "tag=rose", "--remove", "Rose") == {"images": 1}
    assert run("note", red, "Grandmother's") == {"images": 1}
    assert run("album", "create", "Best", blue) == {"images": 1}
    assert run("album", "add", "Best", "--where", "favorite=yes") == {"images": 1}
    assert run("album", "list") == {"albums": [{"name": "Best", "images": 2}]}
    (only,) = run("list", "--where", "album=best", "--where", "rating=4", "--where", "tag=garden")[
        "images"
    ]
    assert only["id"] == found["red"]
    assert only["favorite"]
    assert only["note"] == "Grandmother's"
    assert (only["tags"], only["albums"], only["rating"]) == (["garden"], ["Best"], 4)
    shown = CliRunner().invoke(command, ["list", "-c", "photos", "--where", "favorite=yes"]).output
    assert "(favorite, ****, #garden, in 'Best', \"Grandmother's\")" in shown
    assert run("album", "remove", "Best", blue) == {"images": 1}
    assert library.images.marks([found["blue"]]) == {found["blue"]: ImageMarks(rating=4)}
    for name, *more in (("rename", "Worst"), ("delete",)):
        of = "Best" if name == "rename" else "Worst"
        assert (
            CliRunner().invoke(command, ["album", name, of, *more, "-c", "photos"]).exit_code == 0
        )
    assert library.albums.list("photos") == []
    assert len(ids(library)) == 3, "the images stay"


@pytest.mark.parametrize(
    ("arguments", "reply"),
    [
        (["favorite"], "name images by their numbers, or choose them by --where"),
        (["favorite", "1", "--where", "tag=x"], "name images by their numbers, or choose"),
        (["tag", "1"], "name the tags: --add TAG or --remove TAG"),
        (["note", "99999", "x"], "collection 'photos' has no image 99999"),
        (["album", "add", "None", "1"], "no album named 'None' (there are none yet)"),
    ],
)
def test_what_cannot_be_is_one_line(library: Library, arguments: list[str], reply: str) -> None:
    result = CliRunner().invoke(command, [*arguments, "-c", "photos"])
    assert reply in str(result.exception)


def test_kept_over_ingest_and_move(library: Library, photos: Path) -> None:
    red = ids(library)["red"]
    library.images.mark([red], collection="photos", favorite=True, add_tags=["rose"])
    library.albums.create("Best", image_ids=[red], collection="photos")
    path = photos / "a" / "red.jpg"
    data = path.read_bytes()
    path.write_bytes(data + b"\0")  # other bytes, the same pixels: read again
    assert library.ingest([photos], collection="photos").updated == 1
    again = ids(library)["red"]
    said = ImageMarks(favorite=True, tags=("rose",), albums=("Best",))
    assert again != red
    assert library.images.marks([again]) == {again: said}
    shutil.move(path, photos / "b" / "rose.jpg")
    assert library.ingest([photos], collection="photos", sync=True).renamed == 1
    assert library.images.marks([ids(library)["rose"]]) == {ids(library)["rose"]: said}
    (group,) = library.images.groups("photos", by="album", where=Filter(favorite=True))
    assert (group.name, group.names) == ("Best", ("rose.jpg",))


def test_sidecars_are_read_back(library: Library, photos: Path, tmp_path: Path) -> None:
    found = ids(library)
    library.images.mark(
        [found["red"]], collection="photos", favorite=True, rating=5, note="N\x0bb",
        add_tags=["Ä & ö", "rose"],
    )  # fmt: skip
    library.albums.create("Best", image_ids=[found["red"]], collection="photos")
    before = {path: path.read_bytes() for path in photos.rglob("*.jpg")}
    copy = tmp_path / "copy"
    shutil.copytree(photos, copy)
    (copy / "b" / "green.jpg.xmp").write_text("<x:xmpmeta xmlns:x='adobe:ns:meta/'/>")
    done = library.images.export_xmp(copy, collection="photos")
    assert done.written == 2
    assert done.skipped == ((str(copy / "b" / "green.jpg.xmp"), "another program has written it"),)
    written = (copy / "a" / "red.jpg.xmp").read_text("utf-8")
    for part in ('ragcore:Favorite="True"', "<rdf:li>Best</rdf:li>", "Nb</rdf:li>"):
        assert part in written
    assert library.images.export_xmp(copy, collection="photos").written == 2, "ours is renewed"
    assert {path: path.read_bytes() for path in photos.rglob("*.jpg")} == before
    assert not list(photos.rglob("*.xmp"))
    library.ingest([copy], collection="copies")
    found = {Path(one.path).stem: one.id for one in library.images.list("copies")}
    about = library.images.metadata([found["red"]])[found["red"]]
    assert (about.rating, about.keywords) == (5, ("rose", "Ä & ö"))


def test_a_sidecar_says_all_that_is_known() -> None:
    import datetime as dt

    from ragcore.readers.metadata import xmp

    about = ImageMetadata(
        taken_at=dt.datetime(2024, 5, 1, 12, 30), utc_offset=120, taken_from="exif",
        latitude=-47.05, longitude=8.3064, rating=2, keywords=("lake",), caption="the lake",
    )  # fmt: skip
    read = xmp.read(sidecar(about, ImageMarks(rating=-1, tags=("Lake", "boat"))))
    assert read["taken"] == (dt.datetime(2024, 5, 1, 12, 30), 120)
    assert read["position"] == pytest.approx((-47.05, 8.3064), abs=1e-6)
    assert (read["rating"], read["caption"]) == (-1, "the lake")
    assert read["keywords"] == ("lake", "boat")
    named = ImageMetadata(taken_at=dt.datetime(2024, 5, 1), taken_from="name")
    assert "taken" not in xmp.read(sidecar(named, ImageMarks()))
