"""One small library, ingested once with the starter models, for all tests of the pages."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from ragcore.library import Library
from ragcore.settings import Settings
from ragcore.weights import WeightStore

from .app_browser import draw_pictures

SAMPLE = Path(__file__).resolve().parents[2] / "data" / "sample"
# What the main script does around a page, without the frame that tests do not need.
PAGE = """
from app.components import jobs, viewer
from app.state import apply_pending, errors_as_sentences, show_notices
from app.views import {name} as page
apply_pending()
show_notices()
with errors_as_sentences():
    page.show()
    jobs.sidebar_note()
    viewer.show_opened()
"""


@pytest.fixture(scope="session")
def filled_home(
    tmp_path_factory: pytest.TempPathFactory, starter_weights: WeightStore
) -> Iterator[Path]:
    """A home with the collection "sample": the sample documents and four drawn pictures."""
    root = tmp_path_factory.mktemp("app")
    files = root / "files"
    shutil.copytree(SAMPLE, files / "documents")
    draw_pictures(files / "pictures")
    with Library(Settings(home=root / "home")) as library:
        report = library.ingest([files], collection="sample")
        assert not report.failed
    yield root / "home"
    from app.state import close_libraries

    close_libraries()


@pytest.fixture
def home(filled_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The filled home, for tests that leave it as it is."""
    monkeypatch.setenv("RAGCORE_HOME", str(filled_home))
    return filled_home


@pytest.fixture
def own_home(filled_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy of the filled home, for tests that change it."""
    from app.state import close_libraries

    close_libraries()  # so that the copy is whole
    copy = tmp_path / "copied"
    shutil.copytree(filled_home, copy)
    monkeypatch.setenv("RAGCORE_HOME", str(copy))
    yield copy
    close_libraries()


@pytest.fixture
def page() -> Callable[..., AppTest]:
    """Makes an AppTest of one page: `page("search", q="words")` with the address' parts."""

    def make(name: str, **address: str) -> AppTest:
        test = AppTest.from_string(PAGE.format(name=name), default_timeout=300)
        for key, value in address.items():
            test.query_params[key] = value
        return test

    return make


@pytest.fixture(autouse=True)
def _few_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAGCORE_WORKERS", "1")
    assert os.environ["RAGCORE_WORKERS"] == "1"
