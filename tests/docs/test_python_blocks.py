"""Python blocks of the pages are run as they stand: here on small models with a small library, or
by the tests that are named. What only shows a form is named too, with the test of what it shows.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from ragcore.library import Library
from ragcore.settings import Settings

from .page_runner import PART, ROOT, PageRunner

# Page: which of its blocks, counted from 0.
RUN_HERE = {
    "explanation/answers.md": (0, 1),
    "explanation/diffusion.md": (0,),
    "explanation/images.md": (0,),
    "explanation/ingest.md": (0,),
    "explanation/search.md": (0, 1),
    "how-to/gpu-memory.md": (0,),
    "reference/api.md": (1,),
    "reference/catalog.md": (0,),
    "reference/encoders.md": (0,),
    "reference/llm.md": (0,),
    "reference/models.md": (0,),
    "reference/python.md": (0,),
    "reference/vectors.md": (0,),
}
# What names the starter's own classes or models.
ON_STARTER_MODELS = {"explanation/diffusion.md", "reference/models.md"}
ELSEWHERE = {
    "explanation/classifiers.md": "tests/tuning/test_classifier.py",
    "how-to/deduplicate.md": "tests/docs/test_recipes.py",
    "how-to/extending.md": "tests/docs/test_extending.py",
    "how-to/integrations.md": "tests/integrations/test_adapters.py",
    "how-to/mcp.md": "tests/mcp/test_server.py",
    "how-to/retry-and-resume.md": "tests/docs/test_recipes.py",
    "how-to/top-k-and-threshold.md": "tests/docs/test_recipes.py",
    "reference/api.md": "tests/api/test_server.py",
    "reference/llm.md": "tests/llm/test_adapters.py",
}


def python_blocks(page: str) -> list[str]:
    parts = PART.findall((ROOT / "docs" / page).read_text("utf-8"))
    return [text for _, language, text in parts if language == "python"]


def test_every_page_with_python_is_run_or_names_its_test() -> None:
    pages = {
        page
        for path in (ROOT / "docs").rglob("*.md")
        if python_blocks(page := path.relative_to(ROOT / "docs").as_posix())
        and not page.startswith("tutorials/")
    }
    assert pages == {*RUN_HERE, *ELSEWHERE}
    for page, numbers in RUN_HERE.items():
        assert len(numbers) == len(python_blocks(page)) or page in ELSEWHERE
    for test in ELSEWHERE.values():
        assert (ROOT / test).is_file(), test


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, tiny_profile: Path) -> Path:
    """A folder with a home, filled with the collections that the pages name."""
    folder = tmp_path_factory.mktemp("pages")
    sample = ROOT / "data" / "sample"
    shutil.copy(sample / "staff-handbook.pdf", folder / "handbook.pdf")
    shutil.copy(ROOT / "ragcore" / "cli" / "photographs" / "photo-02.jpg", folder / "photo.jpg")
    settings = Settings(home=folder / "home", profile=str(tiny_profile), ocr="off")
    with Library(settings) as library:
        for collection, file in (
            ("default", folder / "handbook.pdf"),
            ("papers", sample / "drift-paper.pdf"),
            ("photos", folder / "photo.jpg"),
        ):
            assert not library.ingest([file], collection=collection).failed
    return folder


@pytest.mark.full
@pytest.mark.parametrize("page", RUN_HERE)
def test_python_of_a_page_runs(
    page: str, folder: Path, tiny_profile: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(folder)
    monkeypatch.setenv("RAGCORE_HOME", str(folder / "home"))
    starter = page in ON_STARTER_MODELS
    monkeypatch.setenv("RAGCORE_PROFILE", "starter" if starter else str(tiny_profile))
    runner = PageRunner(page, capsys)
    for number in RUN_HERE[page]:
        runner.part("", "python", python_blocks(page)[number])
    assert runner.names
