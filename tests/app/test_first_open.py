"""The first open of an empty library, and a server that is away, in a real browser."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .app_browser import DESKTOP, WAIT, Server, chromium, settle

pytestmark = [
    pytest.mark.full,
    pytest.mark.browser,
    pytest.mark.skipif(chromium() is None, reason="needs Chromium (apt-get install chromium)"),
]


@pytest.fixture
def fresh(tmp_path: Path, tiny_profile: Path) -> Iterator[Server]:
    """The pages over a home in which nothing is."""
    server = Server(tmp_path / "home", tmp_path / "log", RAGCORE_PROFILE=str(tiny_profile))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def page(fresh: Server, chrome: Any) -> Iterator[Any]:
    context = chrome.new_context(viewport=DESKTOP)
    context.set_default_timeout(WAIT)
    opened = context.new_page()
    opened.goto(fresh.url)
    settle(opened)
    yield opened
    context.close()


def test_from_the_first_open_to_the_first_answer(page: Any) -> None:
    page.get_by_role("heading", name="Nothing here yet").wait_for()
    page.get_by_role("button", name="Try with sample documents").click()
    page.get_by_role("button", name="Ask about it").first.click()
    question = page.get_by_role("button", name="Summarize the section").first
    question.wait_for()
    settle(page)
    question.click()
    page.get_by_test_id("stChatMessage").nth(1).wait_for()
    page.get_by_role("button", name="Stop").wait_for(state="hidden")
    page.get_by_role("button", name="Try again").first.wait_for()
    answer = page.get_by_test_id("stChatMessage").nth(1)
    assert "[1]" in answer.inner_text()  # it cites what it says
    assert "I don't know" not in answer.inner_text()


def test_a_server_that_is_away_says_so_itself(page: Any, fresh: Server) -> None:
    fresh.kill()
    note = page.locator("#rc-away")
    note.wait_for()
    assert "ragcore does not answer" in note.inner_text()
    page.wait_for_function("document.querySelector('[data-testid=stApp]')")
    assert page.get_by_text("Are you connected to the internet").filter(visible=True).count() == 0
    fresh.start()
    note.wait_for(state="detached")
    page.get_by_role("heading", name="Nothing here yet").wait_for()
