"""What a command in a new process imports: a search by words needs no torch."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from ragcore.library import Library
from ragcore.settings import Settings

from ..shared_models import models_of
from .conftest import NOTES

# Seconds to import each, and nothing of them is needed to search or to ask by words.
HEAVY = {"torch", "torchvision", "transformers", "sentence_transformers", "open_clip", "scipy",
         "sklearn", "pandas", "openvino", "diffusers", "peft", "timm", "streamlit", "alembic",
         "pymilvus", "fastapi"}  # fmt: skip
REPORT = """
import json, sys
from ragcore.cli.main import main
try:
    main(sys.argv[1:])
finally:
    print(json.dumps(sorted(sys.modules)), file=sys.stderr)
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library of three notes and an image by the starter profile."""
    folder = tmp_path_factory.mktemp("cold")
    files = folder / "files"
    files.mkdir()
    for name, text in NOTES.items():
        (files / name).write_text(text, "utf-8")
    Image.new("RGB", (64, 64), "green").save(files / "meadow.png")
    settings = Settings(home=folder / "home", profile="starter", ocr="off")
    with Library(settings, models=models_of(settings)) as library:
        assert library.ingest([files]).images == 1
    return folder / "home"


def imported(home: Path, *arguments: str) -> tuple[dict[str, object], set[str]]:
    """The JSON that a command printed, and the top-level modules that were imported for it."""
    environment = {**os.environ, "RAGCORE_HOME": str(home), "RAGCORE_PROFILE": "starter"}
    ran = subprocess.run(
        [sys.executable, "-c", REPORT, *arguments, "--json"],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr
    modules = json.loads(ran.stderr.splitlines()[-1])
    return json.loads(ran.stdout), {name.partition(".")[0] for name in modules}


def test_a_search_by_words_imports_nothing_heavy(home: Path) -> None:
    """Passages and images: both have a text encoder that needs no torch."""
    found, modules = imported(home, "search", "what the heron waits for", "--cutoff", "0")
    hits = found["hits"]
    assert isinstance(hits, list)
    assert hits[0]["document"] == "heron.txt"
    assert {hit["kind"] for hit in hits} == {"passage", "image"}
    assert modules & HEAVY == set()


@pytest.mark.full
def test_a_question_imports_nothing_heavy(home: Path) -> None:
    """With the LLM of the starter profile, which llama.cpp runs."""
    pytest.importorskip("xllamacpp")
    answer, modules = imported(home, "ask", "How much is the monthly rent?")
    assert "840" in str(answer["answer"])
    assert modules & HEAVY == set()
