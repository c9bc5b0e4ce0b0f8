"""The tutorials are run from top to bottom: on tiny models in the fast tier where what is found
means little, with the starter profile in the full one, where it is read.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from tests.api.test_server import serving

from .page_runner import ROOT, PageRunner

TUTORIALS = {path.name for path in (ROOT / "docs" / "tutorials").glob("*.md")} - {"index.md"}
RUN_HERE = {
    "own-documents.md", "own-photographs.md", "api-for-a-team.md", "train-a-classifier.md",
    "tune-an-llm.md", "generate-with-control.md",
}  # fmt: skip


def test_every_tutorial_is_run() -> None:
    assert TUTORIALS == RUN_HERE


@pytest.fixture
def reader(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[[str], PageRunner]:
    """Makes a runner in an empty folder that has the repository's `data` and photographs."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RAGCORE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("RAGCORE_OCR", "off")
    (tmp_path / "data").symlink_to(ROOT / "data")
    (tmp_path / "ragcore" / "cli").mkdir(parents=True)
    (tmp_path / "ragcore" / "cli" / "photographs").symlink_to(
        ROOT / "ragcore" / "cli" / "photographs"
    )
    return lambda name: PageRunner(f"tutorials/{name}", capsys)


@pytest.fixture
def tiny(tiny_profile: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAGCORE_PROFILE", str(tiny_profile))


@pytest.mark.full
def test_own_documents(reader: Callable[[str], PageRunner], starter_weights: object) -> None:
    page = reader("own-documents.md")
    page.run()
    searched = page.printed['ragcore search "table games during working hours" -c handbook -k 3']
    assert "Staff Handbook, page 4" in searched.splitlines()[0]
    [asked] = [out for line, out in page.printed.items() if "foosball" in line]
    assert "not permitted during working hours" in asked
    assert "page 4" in asked
    [unknown] = [out for line, out in page.printed.items() if "Mongolia" in line]
    assert unknown.startswith("I don't know.")
    assert page.names["hits"][0].page == 4
    assert page.names["answer"].citations[0].page == 4


@pytest.mark.full
def test_own_photographs(reader: Callable[[str], PageRunner], starter_weights: object) -> None:
    page = reader("own-photographs.md")
    page.run()
    assert (
        "photo-02.jpg"
        in page.printed['ragcore search "a cat" --kind images -c photos'].splitlines()[0]
    )
    [copies] = [out for line, out in page.printed.items() if "--same" in line]
    assert re.findall(r"photo-\d+", copies.splitlines()[0])[0] == "photo-02"
    labeled = dict(
        re.findall(
            r"(photo-\d+)\.jpg: (\w+)",
            page.printed["ragcore label cat rocket coffee coins moon -c photos"],
        )
    )
    assert [labeled[f"photo-0{n}"] for n in (2, 3, 4, 7)] == ["cat", "coffee", "coins", "rocket"]


@pytest.mark.full
def test_an_api_for_a_team(
    reader: Callable[[str], PageRunner], tiny: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = reader("api-for-a-team.md")
    parts = page.parts()
    served = next(i for i, part in enumerate(parts) if part[2].startswith("ragcore serve"))
    for part in parts[:served]:
        page.part(*part)
    [made] = [out for line, out in page.printed.items() if "keys create" in line]
    key = re.search(r"rc_\S+", made)
    assert key
    monkeypatch.setenv("RAGCORE_KEY", key[0])
    with serving(tmp_path / "home", "--keys") as (_, page.address):
        for part in parts[served + 1 :]:
            page.part(*part)
        found, answered = [out for line, out in page.printed.items() if line.startswith("curl")]
        assert "table games" in json.loads(found)["hits"][0]["text"]
        assert "answer" in json.loads(answered)
        assert page.names["done"].choices[0].message.content
        assert "Ann" in page.printed["ragcore keys audit"]


def test_train_a_classifier(reader: Callable[[str], PageRunner], tiny: None) -> None:
    page = reader("train-a-classifier.md")
    page.run()
    assert "topics" in page.printed["ragcore classifiers inspect topics"]
    assert sum(page.names["counts"].values()) > 0


@pytest.mark.full
def test_tune_an_llm(reader: Callable[[str], PageRunner], starter_weights: object) -> None:
    page = reader("tune-an-llm.md")
    page.run()
    report = json.loads(Path("runs/short/report.json").read_text())
    assert report["base_unchanged"] is True
    assert "short" in page.printed["ragcore adapters inspect short"]
    [asked] = [out for line, out in page.printed.items() if "--adapter short" in line]
    answer = asked.splitlines()[0]  # the form was trained: short, and cited
    assert "[1]" in answer
    assert len(answer.split()) <= 12


@pytest.mark.full
def test_generate_with_control(
    reader: Callable[[str], PageRunner], starter_weights: object
) -> None:
    page = reader("generate-with-control.md")
    page.run()
    images = {path.stem: Image.open(path).convert("RGB") for path in Path.cwd().glob("*.png")}
    assert set(images) == {
        "apple", "again", "edges", "loose", "regions", "food", "house", "variant",
    }  # fmt: skip
    assert images["apple"].tobytes() == images["again"].tobytes()
    assert len({image.tobytes() for image in images.values()}) == len(images) - 1
    assert page.names["made"].conditions
