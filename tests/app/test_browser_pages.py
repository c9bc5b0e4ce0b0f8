"""Pages in a real browser: addresses and history, messages to the browser, accessibility."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from tests.npm import axe_script

from .app_browser import DESKTOP, PHONE, WAIT, Server, chromium, settle

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(chromium() is None, reason="needs Chromium (apt-get install chromium)"),
]
PAGES = (
    "/?collection=sample",
    "/?collection=sample&q=gauge&minus=map&type=application%2Fpdf",
    "/images?collection=sample",
    "/ask?collection=sample",
    *(
        f"/library?collection=sample&view={view}"
        for view in ("Documents", "Add", "Overview", "Map", "Duplicates", "Labels", "Trash")
    ),
    "/teach?collection=sample",
    "/sources",
    "/studio",
    "/models",
)


def box(page: Any) -> Any:
    return page.get_by_label("Search", exact=True)


def search(page: Any, words: str) -> None:
    box(page).fill(words)
    page.keyboard.press("Enter")
    wanted = words.replace(" ", "+")
    page.wait_for_url(lambda url: f"q={wanted}" in url, timeout=WAIT)
    settle(page)


@pytest.mark.full
def test_back_forward_and_reload(server: Server, person: Callable[..., Any]) -> None:
    page = person("Ann")
    page.goto(f"{server.url}/?collection=sample&cut=0.00")
    settle(page)
    assert box(page).evaluate("one => one === document.activeElement"), "focus at load"
    page.mouse.click(640, 880)
    page.keyboard.press("/")
    assert box(page).evaluate("one => one === document.activeElement")
    entries = page.evaluate("history.length")
    search(page, "river gauge")
    search(page, "table games")
    assert page.title() == "table games · Search · ragcore"
    page.locator(".document .open").first.click()
    page.wait_for_url(re.compile("open=document-"), timeout=WAIT)
    page.get_by_role("dialog").wait_for(timeout=WAIT)
    settle(page)
    assert page.evaluate("history.length") == entries + 3
    page.reload()
    page.get_by_role("dialog").wait_for(timeout=WAIT)
    settle(page)
    page.keyboard.press("Escape")
    page.get_by_role("dialog").wait_for(state="hidden", timeout=WAIT)
    page.wait_for_url(re.compile("q=table"), timeout=WAIT)
    settle(page)
    assert "open=" not in page.url
    page.go_back()
    page.wait_for_url(re.compile("q=river"), timeout=WAIT)
    settle(page)
    assert box(page).input_value() == "river gauge"
    page.go_forward()
    page.wait_for_url(re.compile("q=table"), timeout=WAIT)
    settle(page)
    assert box(page).input_value() == "table games"
    assert page.locator("h1").count() == 1
    assert page.locator("li.document h3").count() >= 1


@pytest.mark.full
def test_a_search_and_a_window_take_few_messages(
    server: Server, person: Callable[..., Any]
) -> None:
    page = person("Ann")
    received: list[int] = []
    protocol = page.context.new_cdp_session(page)
    protocol.send("Network.enable")
    protocol.on(
        "Network.webSocketFrameReceived",
        lambda event: received.append(len(event["response"]["payloadData"])),  # base64
    )
    page.goto(f"{server.url}/?collection=sample&cut=0.00")
    settle(page, quiet=2000)
    received.clear()
    search(page, "river gauge")
    assert len(received) <= 150
    assert sum(received) <= 300_000
    received.clear()
    page.locator(".document .open").first.click()
    page.get_by_role("dialog").locator("img").first.wait_for(timeout=WAIT)
    settle(page)
    assert len(received) <= 60


def serious(page: Any, script: str) -> list[str]:
    """What axe-core finds critical or serious on the page as it stands."""
    page.evaluate(script)
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    return [
        f"{one['id']}: {node['html'][:150]} {(node['any'] or [{'message': ''}])[0]['message']}"
        for one in found["violations"]
        if one["impact"] in ("critical", "serious")
        for node in one["nodes"]
    ]


def test_the_search_page_is_accessible(server: Server, person: Callable[..., Any]) -> None:
    page = person("Ann")
    page.goto(f"{server.url}/?collection=sample&q=gauge&cut=0.00")
    page.locator(".document").first.wait_for(timeout=WAIT)
    settle(page)
    assert serious(page, axe_script()) == []


# Whether the page has taken the colors of the system, which change without a load.
IN_SCHEME = """dark => {
    const page = document.querySelector("[data-testid=stApp]") ?? document.body;
    const [red, green, blue] = getComputedStyle(page).backgroundColor.match(/\\d+/g).map(Number);
    return (red + green + blue < 384) === dark;
}"""


@pytest.mark.full
@pytest.mark.parametrize("viewport", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_every_page_is_accessible(
    server: Server, person: Callable[..., Any], viewport: dict[str, int]
) -> None:
    page, script = person("Ann", color_scheme="light", viewport=viewport), axe_script()
    found = {}

    def look(name: str) -> None:
        for scheme in ("dark", "light"):
            page.emulate_media(color_scheme=scheme)
            page.wait_for_function(IN_SCHEME, arg=scheme == "dark", timeout=WAIT)
            if problems := serious(page, script):
                found[f"{name}, {scheme}"] = problems

    for path in PAGES:
        page.goto(server.url + path)
        settle(page)
        for folded in page.locator("[data-testid=stExpander] summary").all():
            folded.click()
        settle(page)
        look(path)
    page.goto(f"{server.url}/images?collection=sample")
    page.locator(".image").first.focus()
    page.keyboard.press("x")
    look("selected images")
    page.keyboard.press("Enter")
    page.get_by_role("dialog").get_by_text("pixels").wait_for(state="attached", timeout=WAIT)
    look("an image")
    page.goto(f"{server.url}/?collection=sample&open=document-1")
    page.get_by_role("dialog").locator("img").first.wait_for(timeout=WAIT)
    look("a document")
    page.context.clear_cookies()
    page.goto(server.url)
    page.get_by_label("Password").wait_for()
    look("login")
    assert found == {}
