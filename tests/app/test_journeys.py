"""Whole journeys in a real browser, on the real server.

One server with a login serves all of them; every browser context is another browser. Two of them
are in the fast tier, on tiny models; the others want the starter's, or much time.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

from .app_browser import DESKTOP, PASSWORD, PHONE, WAIT, Server, chromium, draw_images, settle

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(chromium() is None, reason="needs Chromium (apt-get install chromium)"),
]
FILES = 300  # more than one batch: the first is stored while the encoder has the next
QUESTION = "Are we allowed to play table games during working hours?"


@pytest.mark.full
@pytest.mark.starter_models
def test_login(server: Server, chrome: Any) -> None:
    context = chrome.new_context(viewport=DESKTOP)
    page = context.new_page()
    page.goto(f"{server.url}/library")
    assert page.url.endswith("/login")
    page.get_by_label("Name").fill("Ann")
    page.get_by_label("Password").fill("wrong password")
    page.get_by_role("button", name="Log in").click()
    page.get_by_role("alert").wait_for()
    assert "not the name and password" in page.get_by_role("alert").inner_text()
    page.get_by_label("Password").fill(PASSWORD)
    page.keyboard.press("Enter")
    page.get_by_role("link", name="Library").wait_for(timeout=WAIT)
    context.close()


def test_two_people(server: Server, person: Callable[..., Any]) -> None:
    """Ann sees everything; Bob reads one collection, and nothing of what Ann said."""
    ann, bob = person("Ann"), person("Bob")
    ann.goto(f"{server.url}/ask?collection=sample")
    settle(ann)
    ann.get_by_test_id("stChatInputTextArea").fill(QUESTION)
    ann.keyboard.press("Enter")
    ann.get_by_test_id("stChatMessage").nth(1).wait_for(timeout=WAIT)
    ann.get_by_role("button", name="Stop").wait_for(state="hidden", timeout=WAIT)
    assert "Ann · admin" in ann.locator("#who").inner_text()

    bob.goto(f"{server.url}/?q=dogs&collection=sample")
    settle(bob)
    bob.get_by_text("Dogs may come in").first.wait_for()
    result = "There is no collection sample that you may see."  # as of one that does not exist
    bob.get_by_text(result).wait_for()
    assert "sample" not in bob.locator("body").inner_text().replace(result, "")
    assert bob.get_by_role("link", name="Classifiers").count() == 0
    bob.goto(f"{server.url}/library")
    settle(bob)
    assert bob.get_by_role("button", name="New collection").count() == 0
    assert bob.get_by_role("radio", name="Add").count() == 0
    bob.goto(ann.url)  # her conversation
    settle(bob)
    assert bob.get_by_test_id("stChatMessage").count() == 0
    assert QUESTION not in bob.locator("body").inner_text()
    bob.get_by_role("button", name="Log out").click()
    bob.get_by_label("Password").wait_for()
    assert bob.url.endswith("/login")


def test_upload_progress_search_by_words_and_image(
    server: Server, person: Callable[..., Any], tmp_path: Path
) -> None:
    draw_images(tmp_path)
    note = tmp_path / "heron.txt"
    note.write_text("The heron waits at the weir until the evening. <script>alert(1)</script>\n")
    page = person()
    page.goto(f"{server.url}/library?view=Add")
    settle(page)
    page.locator("input[type=file]").set_input_files([note, tmp_path / "red-circle.png"])
    page.get_by_role("button", name="Add 2 files").click()
    page.get_by_text("2 files added").first.wait_for(timeout=WAIT)

    page.get_by_role("link", name="Search").click()
    page.get_by_label("Search", exact=True).fill("heron at the weir")
    page.keyboard.press("Enter")
    page.get_by_role("button", name="heron.txt").first.click()
    dialog = page.get_by_role("dialog")
    dialog.locator("img").first.wait_for()
    assert "<script>" in dialog.inner_text(), "shown, not run"
    page.keyboard.press("Escape")
    dialog.wait_for(state="hidden")
    assert "q=heron" in page.url
    settle(page)  # closing goes back in the history, which would abort the next line

    page.goto(server.url)
    settle(page)
    page.get_by_role("button", name="Image", exact=True).click()
    page.locator("input[type=file]").first.set_input_files(tmp_path / "red-circle.png")
    first = page.locator(".image").first
    expect(first).to_contain_text("red-circle", timeout=WAIT)


@pytest.mark.full
@pytest.mark.starter_models
def test_ask_stop_follow_up_citation(server: Server, person: Callable[..., Any]) -> None:
    page, other = person("Ann"), person("Eve")
    page.goto(f"{server.url}/ask")
    settle(page)
    page.get_by_test_id("stChatInputTextArea").fill("How is the drift of a gauge compensated?")
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Stop").click()
    page.get_by_role("button", name="Stop").wait_for(state="hidden", timeout=WAIT)

    page.get_by_test_id("stChatInputTextArea").fill(QUESTION)
    page.keyboard.press("Enter")
    # A button with a help text has a hidden twin.
    cites = page.locator("[class*=st-key-cite-]").get_by_role("button")
    cite = cites.filter(visible=True).last
    cite.wait_for(timeout=2 * WAIT)
    cite.click()
    dialog = page.get_by_role("dialog")
    dialog.locator("img").first.wait_for()
    assert "Page 4 of 12" in dialog.inner_text()
    page.keyboard.press("Escape")
    dialog.wait_for(state="hidden")

    page.get_by_test_id("stChatInputTextArea").fill("And during the lunch break?")
    page.keyboard.press("Enter")
    page.get_by_text("Understood as:").last.wait_for(timeout=2 * WAIT)

    other.goto(page.url)
    settle(other)
    assert other.get_by_test_id("stChatMessage").count() == 0
    assert "How is the drift" not in other.locator("body").inner_text()


@pytest.mark.full
@pytest.mark.starter_models
def test_cancel_an_ingest_then_delete(
    server: Server, person: Callable[..., Any], tmp_path: Path
) -> None:
    folder = tmp_path / "many"
    folder.mkdir()
    for number in range(250):
        (folder / f"note-{number:03}.txt").write_text(f"Note {number}: tide table.\n" * 60)
    page = person()
    page.goto(f"{server.url}/library?view=Add")
    settle(page)
    page.get_by_label("Folder or file").fill(str(folder))
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Add the folder").click()
    page.get_by_role("button", name="Cancel").click()
    page.get_by_text("Cancelled").first.wait_for(timeout=WAIT)

    page.goto(f"{server.url}/library?view=Documents")
    settle(page)
    page.get_by_label("Find").fill("spare-parts")
    page.keyboard.press("Enter")
    page.get_by_text("1 document", exact=True).wait_for()
    settle(page)
    # The table is a drawing: what takes the click is the layer that scrolls over it.
    page.locator("[data-testid=stDataFrame] .dvn-scroller").click(position={"x": 16, "y": 54})
    page.get_by_role("button", name="Delete", exact=True).click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    page.get_by_text("No document fits that.").wait_for()
    assert page.get_by_text("1 document", exact=True).count() == 0


@pytest.mark.full
@pytest.mark.starter_models
def test_by_keyboard_alone(server: Server, person: Callable[..., Any]) -> None:
    page = person()
    page.goto(f"{server.url}/?q=table+games")
    settle(page)
    title = page.locator(".document .open").first
    title.wait_for()
    opened = title.inner_text()
    for _ in range(40):
        page.keyboard.press("Tab")
        if title.evaluate("node => node === node.getRootNode().activeElement"):
            break
    else:
        raise AssertionError("Tab does not come to the first result")
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog")
    dialog.locator("img").first.wait_for()
    assert opened in dialog.inner_text()
    page.keyboard.press("Escape")
    dialog.wait_for(state="hidden")


@pytest.mark.full
@pytest.mark.starter_models
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_phone_width_and_dark(server: Server, person: Callable[..., Any], scheme: str) -> None:
    page = person(viewport=PHONE, color_scheme=scheme, has_touch=True)
    for path in ("/?q=table+games", "/ask", "/library", "/library?view=Overview", "/models"):
        page.goto(server.url + path)
        settle(page)
        wide = page.evaluate("document.documentElement.scrollWidth")
        assert wide <= PHONE["width"], f"{path} is {wide} pixels wide"
    color = page.evaluate(
        "getComputedStyle(document.querySelector('[data-testid=stApp]')).backgroundColor"
    )
    red = int(color.split("(")[1].split(",")[0])
    assert (red < 80) == (scheme == "dark")


@pytest.mark.full
@pytest.mark.starter_models
def test_a_killed_server_goes_on_where_it_was(
    server: Server, person: Callable[..., Any], tmp_path: Path
) -> None:
    """Killed in the middle of an ingest and started again: the page says so, nothing is lost."""
    folder = tmp_path / "logbook"
    folder.mkdir()
    for number in range(FILES):  # common words: some three passages of 128 tokens a file
        text = " ".join(f"{(number * 7 + at) % 97} boats came back." for at in range(60))
        (folder / f"logbook-{number:03}.txt").write_text(f"Day {number}. {text}")
    page = person()
    page.goto(f"{server.url}/library?view=Add")
    settle(page)
    page.get_by_label("Folder or file").fill(str(folder))
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Add the folder").click()
    stored = server.wait_for_part("logbook-%")
    page.goto("about:blank")  # a page that is open at a kill complains, and rightly
    server.kill()
    assert 0 < stored < FILES
    server.start()
    page.goto(f"{server.url}/library?view=Add")
    page.get_by_text("it went on where that was").wait_for()
    page.get_by_role("button", name="Cancel").wait_for(state="hidden")
    page.goto(f"{server.url}/library?view=Documents")
    settle(page)
    page.get_by_label("Find").fill("logbook-")
    page.keyboard.press("Enter")
    page.get_by_text(f"{FILES} documents", exact=True).wait_for()
