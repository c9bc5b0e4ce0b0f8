"""Journeys with many photographs, in a real browser on the real server."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from ragcore.library import Library
from ragcore.settings import Settings

from .app_browser import DESKTOP, WAIT, Server, chromium, settle

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(chromium() is None, reason="needs Chromium (apt-get install chromium)"),
]
PHOTOGRAPHS = 5_000
MONTHS = 25  # from January 2024
TOWNS = {"Paris": (48.8566, 2.3522), "Berlin": (52.52, 13.405), "Tokyo": (35.6895, 139.6917)}


def take_photographs(folder: Path) -> None:
    """Small photographs, no two alike, each in a month and a town of its own turn."""
    folder.mkdir(parents=True)
    rng = random.Random(7)
    towns = list(TOWNS.values())
    for number in range(PHOTOGRAPHS):
        noise = Image.frombytes("RGB", (12, 8), rng.randbytes(12 * 8 * 3))
        image = noise.resize((96, 64), Image.Resampling.BICUBIC)
        exif = image.getexif()
        month = number % MONTHS
        exif.get_ifd(0x8769)[0x9003] = f"{2024 + month // 12}:{month % 12 + 1:02}:07 12:00:00"
        latitude, longitude = towns[number % len(towns)]
        exif.get_ifd(0x8825).update(
            {1: "N", 2: (latitude, 0.0, 0.0), 3: "E", 4: (longitude, 0.0, 0.0)}
        )
        image.save(folder / f"photo-{number:04}.jpg", exif=exif, quality=60)
    first = Image.open(folder / "photo-0000.jpg")
    first.resize((80, 53)).save(folder / "photo-0000-small.jpg", exif=first.getexif())


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory, tiny_profile: Path) -> Iterator[Server]:
    """The pages over a collection of 5,000 photographs, without a login."""
    folder = tmp_path_factory.mktemp("photographs")
    take_photographs(folder / "files")
    settings = Settings(home=folder / "home", profile=str(tiny_profile), ocr="off")
    with Library(settings) as library:
        assert not library.ingest([folder / "files"], collection="trips").failed
    server = Server(folder / "home", folder / "log", RAGCORE_PROFILE=str(tiny_profile))
    server.start()
    yield server
    server.stop()
    log = (folder / "log").read_text()
    assert "Traceback" not in log, log


@pytest.fixture
def page(photographs: Server, chrome: Any) -> Iterator[Any]:
    context = chrome.new_context(viewport=DESKTOP)
    context.set_default_timeout(WAIT)
    yield context.new_page()
    context.close()


def loaded(page: Any) -> int:
    """How many thumbnails the browser has asked for."""
    count = "performance.getEntriesByType('resource').filter(one => /thumb/.test(one.name)).length"
    return int(page.evaluate(count))


@pytest.mark.full
def test_5000_photographs_by_month_and_place(photographs: Server, page: Any) -> None:
    page.goto(f"{photographs.url}/images?collection=trips")
    page.locator(".image img").first.wait_for()
    settle(page)
    page.get_by_text(f"{PHOTOGRAPHS + 1:,} images").wait_for()
    assert loaded(page) < 100, "only those in sight"
    page.get_by_role("heading", name="January 2026 · 200").wait_for()
    page.locator(".image").first.focus()
    page.keyboard.press("End")
    page.get_by_role("heading", name="January 2024 · 201").wait_for()
    assert loaded(page) < 200
    page.get_by_role("radio", name="Place").click()
    page.wait_for_url(re.compile("by=Place"))
    settle(page)
    page.locator(".grid h2").first.wait_for()
    heads = set()
    for place in (0, 0.4, 0.7, 1):
        page.locator(".grid").evaluate(
            "(grid, place) => { grid.scrollTop = place * grid.scrollHeight; }", place
        )
        heads.add(page.locator(".head").inner_text().split(",")[0].split(" · ")[0])
    assert len(heads) == len(TOWNS), heads


@pytest.mark.full
def test_find_open_go_on_and_come_back(photographs: Server, page: Any) -> None:
    page.goto(f"{photographs.url}/?collection=trips&kind=Images&cut=0.00")
    settle(page)
    page.get_by_label("Search", exact=True).fill("white lines")
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile("q=white"))
    thumb = page.locator("li.image .thumb").first
    thumb.wait_for()
    settle(page)
    results = page.url
    thumb.click()
    viewer = page.get_by_role("dialog")
    viewer.get_by_text("1 of 20").wait_for()
    viewer.get_by_text("Found by:").wait_for()
    for _ in range(10):
        page.keyboard.press("ArrowRight")
    viewer.get_by_text("11 of 20").wait_for()
    name = viewer.locator("h2").inner_text()
    page.keyboard.press("f")
    viewer.get_by_text("1 image marked as a favorite").wait_for()
    viewer.get_by_label("Add to an album").fill("Lines")
    page.keyboard.press("Enter")
    viewer.get_by_text("The album Lines is made").wait_for()
    opened = page.url
    assert "open=image-" in opened
    page.go_back()
    viewer.wait_for(state="detached")
    assert page.url == results, "ten images are one entry of the history"
    page.go_forward()
    viewer.get_by_text("11 of 20").wait_for()
    page.go_back()
    viewer.wait_for(state="detached")
    page.go_back()
    page.wait_for_url(lambda url: "q=" not in url)
    page.goto(f"{photographs.url}/images?collection=trips&favorite=yes")
    settle(page)
    page.get_by_text("1 image", exact=True).wait_for()
    assert page.locator(".image").first.get_attribute("title") == name
    page.get_by_role("radio", name="Album").click()
    page.get_by_role("heading", name="Lines · 1").wait_for()


@pytest.mark.full
def test_filters_without_words_and_links_in_a_fresh_browser(
    photographs: Server, page: Any, chrome: Any
) -> None:
    page.goto(f"{photographs.url}/?collection=trips&kind=Images&name=photo-0000*")
    settle(page)
    page.get_by_text("2 images shown, without words").wait_for()
    page.locator("li.image .thumb").first.click()
    page.get_by_role("dialog").get_by_text("1 of 2").wait_for()
    other = chrome.new_context(viewport=DESKTOP)
    fresh = other.new_page()
    fresh.goto(page.url)
    viewer = fresh.get_by_role("dialog")
    viewer.locator(".stage img").wait_for(timeout=WAIT)
    assert "photo-0000" in viewer.locator("h2").inner_text()
    fresh.keyboard.press("Escape")
    viewer.wait_for(state="detached", timeout=WAIT)
    fresh.wait_for_url(lambda url: "open=" not in url, timeout=WAIT)
    fresh.get_by_text("2 images shown, without words").wait_for(timeout=WAIT)
    fresh.goto(f"{photographs.url}/images?collection=trips&open=image-7")
    viewer.get_by_text(f"of {PHOTOGRAPHS + 1:,}").wait_for(timeout=WAIT)
    fresh.goto(f"{photographs.url}/?collection=trips&open=image-999999999")
    fresh.get_by_text("There is no image 999999999").wait_for(timeout=WAIT)
    other.close()


@pytest.mark.full
def test_duplicates_go_into_the_trash_and_come_back(photographs: Server, page: Any) -> None:
    page.goto(f"{photographs.url}/library?collection=trips&view=Duplicates")
    group = page.locator("[class*=st-key-pic-group-]").filter(has_text="photo-0000-small.jpg")
    group.get_by_text("it has the most pixels").wait_for()
    group.get_by_role("button", name="take").click()
    page.get_by_text("moved to the trash").wait_for()
    page.get_by_role("radio", name="Trash").click()
    page.get_by_text("1 document. Searches and answers do not see them.").wait_for()
    page.get_by_role("button", name="Restore", exact=True).click()
    page.get_by_text("The trash is empty.").wait_for()


def test_a_found_image_opens_in_the_viewer(server: Server, person: Callable[..., Any]) -> None:
    page = person("Ann")
    page.goto(f"{server.url}/?collection=sample&kind=Images&cut=0.00&q=circle")
    thumb = page.locator("li.image .thumb")
    thumb.first.wait_for()
    settle(page)
    count, results = thumb.count(), page.url
    thumb.first.click()
    viewer = page.get_by_role("dialog")
    viewer.get_by_text(f"1 of {count}").wait_for()
    page.keyboard.press("ArrowRight")
    viewer.get_by_text(f"2 of {count}").wait_for()
    page.keyboard.press("Escape")
    viewer.wait_for(state="detached")
    page.wait_for_url(results)
    thumb.first.click()
    viewer.get_by_text(f"1 of {count}").wait_for()
    viewer.get_by_role("button", name="More like this").click()
    page.get_by_text("Searching by").wait_for()
    viewer.wait_for(state="detached")
