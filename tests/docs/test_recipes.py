"""The README's Python and the short recipes that need no server, hub or GPU: run on tiny models."""

from __future__ import annotations

from pathlib import Path

import pytest

from ragcore.settings import Settings
from ragcore.weights.profiles import load_profile

from .page_runner import PART, ROOT, PageRunner

RECIPES = ROOT / "docs" / "how-to"
RUN = ["chunk-size.md", "top-k-and-threshold.md", "retry-and-resume.md", "deduplicate.md"]


@pytest.fixture
def home(tiny_profile: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in, with the repository's `data` and a home for tiny models."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RAGCORE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("RAGCORE_OCR", "off")
    monkeypatch.setenv("RAGCORE_PROFILE", str(tiny_profile))
    (tmp_path / "data").symlink_to(ROOT / "data")
    return tmp_path / "home"


@pytest.mark.full
@pytest.mark.parametrize("name", RUN)
def test_a_recipe_can_be_followed(
    name: str, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = PageRunner(f"how-to/{name}", capsys)
    page.run()  # fails with the first line that does
    assert page.printed or page.names


def test_the_readme_in_python(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = PageRunner("../README.md", capsys)
    for part in page.parts():
        if part[1] == "python":
            page.part(*part)
    assert page.names["hit"].document
    assert page.names["answer"].text


def test_profiles_of_the_recipes_can_be_read(tmp_path: Path) -> None:
    names = []
    for page in sorted(RECIPES.glob("*.md")):
        for _, language, text in PART.findall(page.read_text("utf-8")):
            # test_extending reads that page's own
            if language == "toml" and "[llm]" in text and page.name != "extending.md":
                path = tmp_path / f"{page.stem}.toml"
                path.write_text(text, "utf-8")
                names.append(load_profile(Settings(profile=str(path))).name)
    assert "reranked" in names
