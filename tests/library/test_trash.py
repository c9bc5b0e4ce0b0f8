"""The trash through the library and the command line, with tiny models."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from PIL import Image

from ragcore.cli.trash import command
from ragcore.errors import UsageError
from ragcore.library import Library
from ragcore.types import SearchQuery

from ..shared_models import tiny_library


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "files"
    made.mkdir()
    (made / "heron.txt").write_text("The grey heron waits for fish.\n")
    Image.new("RGB", (96, 64), "red").save(made / "red.png")
    return made


@pytest.fixture
def library(
    tmp_path: Path, folder: Path, tiny_profile: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Library]:
    with tiny_library(tmp_path / "home", tiny_profile, monkeypatch) as opened:
        assert not opened.ingest([folder], collection="notes").failed
        yield opened


def run(*arguments: str) -> Any:
    result = CliRunner().invoke(command, [*arguments, "-c", "notes", "--json"])
    assert result.exception is None, result.output
    return json.loads(result.output)


def hits(library: Library) -> list[str]:
    found = library.search(SearchQuery(text="heron fish red", collection="notes", cutoff=0))
    return sorted(Path(hit.path).name for hit in (*found.hits, *found.below))


def test_a_search_does_not_see_the_trash(library: Library, folder: Path) -> None:
    assert hits(library) == ["heron.txt", "red.png"]
    ids = {Path(row.path).name: row.id for row in library.documents.list("notes")[0]}
    (image,) = library.images.list("notes")
    assert library.trash.put([ids["heron.txt"]], collection="notes") == 1
    assert library.trash.put_images([image.id], collection="notes") == [ids["red.png"]]
    assert hits(library) == []
    assert {one["path"] for one in run("list")["documents"]} == set(
        map(str, (folder / "heron.txt", folder / "red.png"))
    )
    report = library.ingest([folder], collection="notes")
    assert (report.added, len(report.skipped)) == (0, 2), "it stays there"
    assert "trash" in report.skipped[0].error
    assert run("restore", str(ids["red.png"])) == {"restored": 1}
    assert hits(library) == ["red.png"]
    assert run("restore", "--all") == {"restored": 1}
    assert hits(library) == ["heron.txt", "red.png"]
    library.trash.put(list(ids.values()), collection="notes")
    report = library.ingest([folder / "heron.txt"], collection="notes")
    assert report.added == 1, "named by itself, it is wanted"
    with pytest.raises(UsageError, match=r"has .*heron.txt again: take that out first"):
        library.trash.restore(list(ids.values()), collection="notes")
    assert run("empty") == {"removed": 2}
    assert hits(library) == ["heron.txt"]


def test_uploads_stay_until_the_trash_is_emptied(library: Library, folder: Path) -> None:
    with (folder / "heron.txt").open("rb") as file:
        (path,) = library.documents.upload([("up.txt", file)], collection="notes")
    library.ingest([path], collection="notes")
    up = next(row.id for row in library.documents.list("notes")[0] if row.name == "up.txt")
    library.trash.put([up], collection="notes")
    assert path.is_file()
    library.trash.empty(collection="notes")
    assert not path.exists()


def test_without_numbers_nothing_is_restored(library: Library) -> None:
    result = CliRunner().invoke(command, ["restore", "-c", "notes"])
    assert "name documents by their numbers" in str(result.exception)
