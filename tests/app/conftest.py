"""One small library, ingested once with the starter models, for all tests of the pages."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from ragcore_app.state import close_libraries
from streamlit.testing.v1 import AppTest

from ragcore.access.keys import Keys
from ragcore.library import Library
from ragcore.settings import Settings
from ragcore.weights import WeightStore

from ..shared_models import models_of
from .app_browser import DESKTOP, PASSWORD, WAIT, Server, Watched, chromium, draw_images, settle

SAMPLE = Path(__file__).resolve().parents[2] / "data" / "sample"
# What the main script does around a page, without the frame that tests do not need.
PAGE = """
from ragcore_app.components import jobs, viewer
from ragcore_app.state import apply_pending, errors_as_sentences, show_notices
from ragcore_app.views import {name} as page
apply_pending()
show_notices()
with errors_as_sentences():
    page.show()
    jobs.sidebar_note()
    viewer.show_opened()
"""


def fill(root: Path, profile: str) -> Path:
    """A home with the collection "sample": the sample documents and four drawn images."""
    files = root / "files"
    shutil.copytree(SAMPLE, files / "documents")
    draw_images(files / "images")
    with Library(Settings(home=root / "home", profile=profile)) as library:
        report = library.ingest([files], collection="sample")
        assert not report.failed
    return root / "home"


@pytest.fixture(scope="session")
def tiny_home(tmp_path_factory: pytest.TempPathFactory, tiny_profile: Path) -> Iterator[Path]:
    yield fill(tmp_path_factory.mktemp("app"), str(tiny_profile))
    close_libraries()


@pytest.fixture(scope="session")
def starter_home(
    tmp_path_factory: pytest.TempPathFactory, starter_weights: WeightStore
) -> Iterator[Path]:
    yield fill(tmp_path_factory.mktemp("app"), "starter")
    close_libraries()


@pytest.fixture
def filled_home(request: pytest.FixtureRequest) -> Path:
    """The home that was filled by the models that the test uses."""
    home: Path = request.getfixturevalue(kind_of(request) + "_home")
    return home


def kind_of(request: pytest.FixtureRequest) -> str:
    return "starter" if request.node.get_closest_marker("starter_models") else "tiny"


@pytest.fixture
def home(filled_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The filled home, for tests that leave it as it is."""
    monkeypatch.setenv("RAGCORE_HOME", str(filled_home))
    return filled_home


@pytest.fixture
def own_home(filled_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy of the filled home, for tests that change it."""
    close_libraries()  # so that the copy is whole
    copy = tmp_path / "copied"
    shutil.copytree(filled_home, copy)
    monkeypatch.setenv("RAGCORE_HOME", str(copy))
    yield copy
    close_libraries()


@pytest.fixture
def page() -> Callable[..., AppTest]:
    """Makes an AppTest of one page: `page("search", q="words")` with the address' parts."""

    def make(name: str, /, **address: str) -> AppTest:
        test = AppTest.from_string(PAGE.format(name=name), default_timeout=300)
        for key, value in address.items():
            test.query_params[key] = value
        return test

    return make


@contextmanager
def serving(home: Path, folder: Path, profile: str) -> Iterator[Server]:
    """The pages, served to Ann, Bob and Eve from a copy of that home."""
    shutil.copytree(home, folder / "home")
    with Library(Settings(home=folder / "home", profile=profile)) as library:
        note = folder / "notice.txt"
        note.write_text("The reading room opens at nine. Dogs may come in on a lead.\n")
        library.ingest([note], collection="visitors")
        keys = Keys(library.admin.catalog)
        for name in ("Ann", "Eve"):
            keys.create(name, scope="admin", password=PASSWORD)
        keys.create("Bob", scope="read", collections=["visitors"], password=PASSWORD)
    server = Server(
        folder / "home", folder / "server.log", "--login",
        RAGCORE_ALLOWED_ROOTS="/", RAGCORE_PROFILE=profile,
    )  # fmt: skip
    server.start()
    yield server
    server.stop()
    log = (folder / "server.log").read_text()
    assert "Traceback" not in log, log


@pytest.fixture(scope="session")
def tiny_server(
    tiny_home: Path, tiny_profile: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    with serving(tiny_home, tmp_path_factory.mktemp("journeys"), str(tiny_profile)) as server:
        yield server


@pytest.fixture(scope="session")
def starter_server(
    starter_home: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    with serving(starter_home, tmp_path_factory.mktemp("journeys"), "starter") as server:
        yield server


@pytest.fixture
def server(request: pytest.FixtureRequest) -> Server:
    """The server of the models that the test uses; all journeys share it."""
    served: Server = request.getfixturevalue(kind_of(request) + "_server")
    return served


@pytest.fixture(scope="module")  # its event loop must not outlive the module
def chrome() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        browser = driver.chromium.launch(
            executable_path=chromium(), args=["--no-sandbox", "--disable-background-networking"]
        )
        yield browser
        browser.close()


@pytest.fixture
def person(server: Server, chrome: Any) -> Iterator[Callable[..., Any]]:
    """Makes a page of a person who has logged in; checks in the end what it complained of."""
    watched, contexts = [], []

    def make(name: str = "Ann", **how: Any) -> Any:
        context = chrome.new_context(**{"viewport": DESKTOP, **how})
        context.set_default_timeout(WAIT)
        page = context.new_page()
        watched.append(Watched(page, server.url))
        contexts.append(context)
        page.goto(server.url)
        page.get_by_label("Name").fill(name)
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Log in").click()
        settle(page)
        return page

    yield make
    for context in contexts:
        context.close()
    for one in watched:
        one.check()


@pytest.fixture(autouse=True)
def _shared_models(monkeypatch: pytest.MonkeyPatch) -> None:
    """The libraries that pages open in this process share the models of their profile."""

    def opened(settings: Settings) -> Library:
        return Library(settings, models=models_of(settings))

    monkeypatch.setattr("ragcore_app.state.Library", opened)


@pytest.fixture(autouse=True)
def _few_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAGCORE_WORKERS", "1")
    assert os.environ["RAGCORE_WORKERS"] == "1"
