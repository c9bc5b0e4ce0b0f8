"""The command line called in process, on a small library that is made once."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageDraw

from ragcore.cli.main import main
from ragcore.library import Library
from ragcore.settings import Settings

NOTES = {
    "heron.txt": "The grey heron stands motionless in shallow water and waits for fish.\n",
    "bread.md": "# Bread\n\nMix flour, water, salt and yeast. The dough rises for two hours.\n",
    "rent.txt": "The monthly rent of the flat in Weir Street is 840 euros, due on the third.\n",
}


@dataclass(frozen=True)
class Outcome:
    """What a command left: its exit code and what it printed."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def complaint(self) -> str:
        """The one line on stderr. Raises AssertionError if there is more or less."""
        lines = self.err.strip().splitlines()
        assert len(lines) == 1, self.err
        assert lines[0].startswith("ragcore: ")
        return lines[0].removeprefix("ragcore: ")


Run = Callable[..., Outcome]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Call `ragcore ARGUMENTS` in this process."""

    def call(*arguments: str) -> Outcome:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main(list(arguments))
        printed = capsys.readouterr()
        code = ended.value.code
        return Outcome(code if isinstance(code, int) else int(bool(code)), *printed)

    return call


@pytest.fixture(scope="session")
def notes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three notes and an image. Not to be changed by tests."""
    folder = tmp_path_factory.mktemp("notes")
    for name, text in NOTES.items():
        (folder / name).write_text(text)
    image = Image.new("RGB", (320, 240), "navy")
    ImageDraw.Draw(image).ellipse((80, 40, 240, 200), fill="gold")
    image.save(folder / "sun.png")
    return folder


@pytest.fixture(scope="session")
def _stocked_home(
    notes: Path, tmp_path_factory: pytest.TempPathFactory, tiny_profile: Path
) -> Path:
    home = tmp_path_factory.mktemp("home")
    kept = os.environ.get("RAGCORE_WEIGHTS_CACHE")
    cache = {"weights_cache": kept} if kept else {}
    with Library(
        Settings(home=home, profile=str(tiny_profile), ocr="off", workers=1, **cache)
    ) as library:
        library.ingest([notes], collection="notes")
    return home


@pytest.fixture
def stocked(_stocked_home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The home of a library with the collection `notes`; commands use it. Only to be read."""
    monkeypatch.setenv("RAGCORE_HOME", str(_stocked_home))
    return _stocked_home
