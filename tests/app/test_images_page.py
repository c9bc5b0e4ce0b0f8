"""The page Images: its groups and filters, the thumbnails by address, the grid in a browser."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from ragcore_app.thumbnails import thumbnail
from starlette.applications import Starlette
from starlette.routing import Route
from starlette.testclient import TestClient
from streamlit.testing.v1 import AppTest

from ragcore.library import Library
from ragcore.settings import Settings

from .app_browser import WAIT, Server, chromium, settle

Page = Callable[..., AppTest]


@pytest.mark.usefixtures("home")
def test_the_page_counts_groups_and_filters(page: Page) -> None:
    test = page("images", collection="sample").run()
    assert not test.exception
    total = int(test.caption[0].value.split()[0])
    assert total >= 4
    for by in ("Folder", "Label", "Place"):
        test = page("images", collection="sample", by=by).run()
        assert not test.exception
        assert test.segmented_control(key="by").value == by
        assert not test.error
    test.text_input(key="name").set_value("bars-copy").run()
    assert test.caption[0].value == "1 image"
    test.text_input(key="name").set_value("no such file").run()
    assert "No image meets the filters" in test.markdown[0].value


def test_thumbnails_by_address(home: Path) -> None:
    with Library(Settings(home=home)) as library:
        info = library.images.list("sample")[0]
    browser = TestClient(Starlette(routes=[Route("/{image_id:int}", thumbnail)]))
    large, small = (browser.get(f"/{info.id}?side={side}") for side in (320, 160))
    for answer, side in ((large, 320), (small, 160)):
        assert answer.headers["content-type"] == "image/webp"
        assert max(Image.open(io.BytesIO(answer.content)).size) <= side
    assert len(small.content) < len(large.content)
    assert large.headers["etag"] != small.headers["etag"]
    again = browser.get(f"/{info.id}?side=160", headers={"If-None-Match": small.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert browser.get("/999999").status_code == 404
    assert browser.get(f"/{info.id}?side=161").status_code == 400


@pytest.mark.full
@pytest.mark.browser
@pytest.mark.skipif(chromium() is None, reason="needs Chromium (apt-get install chromium)")
def test_the_grid_by_keyboard(server: Server, person: Callable[..., Any]) -> None:
    page, loaded = person("Ann"), []
    page.on("request", lambda one: loaded.append(one.url) if "/thumbnails/" in one.url else None)
    page.goto(f"{server.url}/images?collection=sample")
    images = page.locator(".image")
    images.first.wait_for(timeout=WAIT)
    settle(page)
    assert len(loaded) == images.count() >= 4
    assert all(images.locator("img").evaluate_all("all => all.map(one => one.naturalWidth > 0)"))

    def focused() -> str:
        index: str = page.locator(".grid").evaluate("it => it.getRootNode().activeElement.title")
        return index

    names = [images.nth(at).get_attribute("title") for at in range(images.count())]
    images.first.focus()
    page.keyboard.press("ArrowRight")
    assert focused() == names[1]
    page.keyboard.press("End")
    assert focused() == names[-1]
    page.keyboard.press("Home")
    for key in ("Enter", "Space"):
        page.keyboard.press(key)
        page.get_by_role("dialog").wait_for(timeout=WAIT)
        settle(page)
        assert str(names[0]) in page.get_by_role("dialog").inner_text()
        page.keyboard.press("Escape")
        page.get_by_role("dialog").wait_for(state="hidden", timeout=WAIT)
        settle(page)
        assert focused() == names[0], "the keyboard is back where it was"


@pytest.mark.full
@pytest.mark.browser
@pytest.mark.skipif(chromium() is None, reason="needs Chromium (apt-get install chromium)")
def test_thumbnails_are_for_those_who_may_see_them(
    server: Server, person: Callable[..., Any]
) -> None:
    ann, bob = person("Ann"), person("Bob")
    ann.goto(f"{server.url}/images?collection=sample")
    ann.locator(".image").first.wait_for(timeout=WAIT)
    address = ann.locator(".image img").first.get_attribute("src")
    assert ann.request.get(address).status == 200
    assert bob.request.get(address).status == 404
