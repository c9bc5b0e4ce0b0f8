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
    for by in ("Folder", "Label", "Place", "Album"):
        test = page("images", collection="sample", by=by).run()
        assert not test.exception
        assert test.segmented_control(key="by").value == by
        assert not test.error
    test.text_input(key="name").set_value("bars-copy").run()
    assert test.caption[0].value == "1 image"
    test.text_input(key="name").set_value("no such file").run()
    assert "No image meets the filters" in test.markdown[0].value
    test.button(key="chip-name").click().run()
    assert test.text_input(key="name").value == ""
    assert int(test.caption[0].value.split()[0]) == total


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
    page.keyboard.press("Enter")
    viewer = page.get_by_role("dialog")
    viewer.get_by_text(f"1 of {len(names)}").wait_for(timeout=WAIT)
    assert str(names[0]) in viewer.locator("h2").inner_text()
    for _ in names[1:]:
        page.keyboard.press("ArrowRight")
    viewer.get_by_text(f"{len(names)} of {len(names)}").wait_for(timeout=WAIT)
    viewer.get_by_text("pixels").wait_for(timeout=WAIT)
    page.wait_for_function(
        "image => image.naturalWidth > 0", arg=viewer.locator(".stage img").element_handle()
    )
    page.keyboard.press("+")
    assert "scale(1.5)" in str(viewer.locator(".stage img").get_attribute("style"))
    page.keyboard.press("Escape")
    viewer.wait_for(state="detached", timeout=WAIT)
    assert focused() == names[-1], "the keyboard is at the image that was seen last"


@pytest.mark.full
@pytest.mark.browser
@pytest.mark.skipif(chromium() is None, reason="needs Chromium (apt-get install chromium)")
def test_the_viewer_leads_to_other_pages_and_back(
    server: Server, person: Callable[..., Any]
) -> None:
    page = person("Ann")
    viewer = page.get_by_role("dialog")
    for action, seen in (
        ("Ask about it", "The next question is about this image"),
        ("More like this", "Searching by"),
    ):
        page.goto(f"{server.url}/images?collection=sample")
        page.locator(".image").first.wait_for()
        settle(page)
        page.locator(".image").first.click()
        viewer.get_by_role("button", name=action, exact=True).click()
        page.get_by_text(seen).wait_for()
        settle(page, 1500)
        assert page.get_by_text(seen).is_visible(), "and stays there"
        assert "/images" not in page.url
        page.go_back()
        viewer.get_by_text("1 of ").wait_for()


@pytest.mark.full
@pytest.mark.browser
@pytest.mark.skipif(chromium() is None, reason="needs Chromium (apt-get install chromium)")
def test_images_are_selected_and_marked(server: Server, person: Callable[..., Any]) -> None:
    page = person("Ann")
    page.goto(f"{server.url}/images?collection=sample")
    images, bar = page.locator(".image"), page.locator(".bar")
    images.first.wait_for(timeout=WAIT)
    settle(page)
    images.first.focus()
    page.keyboard.press("x")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Space")
    assert bar.locator("b").inner_text() == "2 selected"
    page.keyboard.press("Shift+ArrowRight")
    assert bar.locator("b").inner_text() == "3 selected"
    page.keyboard.press("Escape")
    assert bar.is_hidden()
    images.nth(2).click(modifiers=["Shift"])
    count = bar.locator("b").inner_text()
    page.keyboard.press("f")
    page.get_by_text("marked as favorites").wait_for(timeout=WAIT)
    bar.get_by_role("button", name="Album").click()
    bar.get_by_label("Album").fill("Drawn")
    page.keyboard.press("Enter")
    page.get_by_text("The album Drawn is made").wait_for(timeout=WAIT)
    settle(page, 1500)
    assert bar.locator("b").inner_text() == count, "still selected when the page is drawn again"
    box = images.first.bounding_box()
    page.keyboard.press("Escape")
    page.mouse.move(box["x"] + 5, box["y"] + 60)
    page.mouse.down()
    page.mouse.move(box["x"] + 2 * box["width"], box["y"] + 90, steps=5)
    page.mouse.up()
    assert bar.locator("b").inner_text() == "2 selected"
    assert page.get_by_role("dialog").count() == 0, "a drag opens nothing"
    page.get_by_role("radio", name="Album").click()
    page.get_by_role("heading", name="Drawn").wait_for(timeout=WAIT)
    with page.expect_download() as download:
        bar.get_by_role("button", name="Download").click()
    assert download.value.suggested_filename == "images.zip"


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
