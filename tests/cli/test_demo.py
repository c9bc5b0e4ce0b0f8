"""`ragcore demo`: in an empty folder, twice, without the extra `ui`, and removed again."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from ragcore import Library, Settings
from ragcore.cli import demo
from ragcore.cli.main import cli
from ragcore.weights import WeightStore

pytestmark = pytest.mark.starter_models


@pytest.fixture
def home(starter_weights: WeightStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    home, empty = tmp_path / "home", tmp_path / "empty"
    empty.mkdir()
    monkeypatch.chdir(empty)
    monkeypatch.setenv("RAGCORE_HOME", str(home))
    return home


def run(*arguments: str) -> str:
    result = CliRunner().invoke(cli, ["demo", *arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_the_demo_shows_and_is_removed(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "streamlit", None)
    output = run()
    assert "17 files added, 0 unchanged" in output
    assert "Brightwater Instruments Staff Handbook, page 4: " in output
    words, same = output.split("3. ")[1].split("4. ")
    assert words.splitlines()[1].endswith("photo-08.jpg")  # the flower
    assert same.splitlines()[1].endswith("photo-02.jpg")  # the cat
    assert output.splitlines()[-1] == (
        '5. Open the browser pages: they need pip install "ragcore[ui]"'
    )
    assert list(Path.cwd().iterdir()) == []
    assert "0 files added, 17 unchanged" in run("--no-page")
    assert f"removed {home / 'demo'} and 17 documents" in run("--remove")
    assert not (home / "demo").exists()
    with Library(Settings(home=home)) as library:
        assert library.collections() == []
    assert run("--remove") == "there is no demo to remove\n"


@pytest.mark.full
def test_other_documents_of_the_collection_stay(home: Path, tmp_path: Path) -> None:
    own = tmp_path / "own.txt"
    own.write_text("Mine.\n")
    demo.copy_files(home / "demo")
    with Library(Settings(home=home)) as library:
        sample = library.collection(demo.SAMPLE)
        sample.ingest([own, home / "demo" / "documents" / "spare-parts.csv"])
    assert "1 documents; 1 other documents of collection 'sample' stay" in run("--remove")
    with Library(Settings(home=home)) as library:
        assert [one.path for one in library.collection("sample").documents()] == [str(own)]
