"""Studio in a real browser: draw with the mouse, follow an image that was found, cancel."""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import expect

from ragcore.diffusion import edge_f1, extract, read_recipe
from ragcore.diffusion.images import square
from tests.waiting import wait_until

from .app_browser import PHONE, Server, choose, chromium, settle

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(chromium() is None, reason="needs Chromium (apt-get install chromium)"),
]
AROUND = [2 * math.pi * step / 24 for step in range(25)]


def opened(page: Any, url: str, part: str) -> None:
    page.goto(url)
    settle(page)
    page.get_by_text(part).first.click()
    settle(page)


def stroke(page: Any, field: Any, points: list[tuple[float, float]]) -> None:
    """Draw through points given as fractions of the field."""
    field.scroll_into_view_if_needed()
    box = field.bounding_box()
    places = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in points]
    page.mouse.move(*places[0])
    page.mouse.down()
    for place in places[1:]:
        page.mouse.move(*place)
    page.mouse.up()
    settle(page, quiet=600)  # what is drawn is handed over after a moment


def keep_seed(page: Any, seed: int) -> None:
    """Have every image made from this seed."""
    page.get_by_label("Seed", exact=True).fill(str(seed))
    page.get_by_label("Seed", exact=True).press("Enter")
    settle(page)
    page.get_by_text("Keep it", exact=True).click()
    settle(page)


def make(page: Any) -> bytes:
    """Press *Make* and save what comes of it."""
    page.get_by_role("button", name="Make", exact=True).click()
    page.get_by_text("Seed ").first.wait_for()
    settle(page)
    with page.expect_download() as download:
        page.get_by_role("button", name="Save").first.click()
    return Path(download.value.path()).read_bytes()


def controls(png: bytes) -> list[tuple[str, np.ndarray]]:
    found = read_recipe(png)[0].controls
    return [
        (one.kind, np.asarray(Image.open(io.BytesIO(one.image)).convert("RGB")))  # type: ignore[arg-type]
        for one in found
    ]


@pytest.mark.full
@pytest.mark.starter_models
def test_a_drawn_scribble_is_followed(server: Server, person: Callable[..., Any]) -> None:
    page = person()
    opened(page, f"{server.url}/studio", "Follow an image")
    choose(page, "Condition", "Scribble")
    page.get_by_role("radio", name="Draw it").click()
    settle(page)
    field = page.get_by_label("Drawing field")
    stroke(page, field, [(0.1, 0.1), (0.9, 0.9)])
    page.get_by_role("button", name="Undo").click()
    ring = [(0.5 + 0.32 * math.cos(a), 0.5 + 0.32 * math.sin(a)) for a in AROUND]
    stroke(page, field, ring)
    page.get_by_label("What to make").fill("red apple")
    keep_seed(page, 7)  # of a hundred seeds a few go their own way
    png = make(page)
    assert read_recipe(png)[0].seed == 7
    ((kind, drawn),) = controls(png)
    assert kind == "scribble"
    assert set(np.unique(drawn)) == {0, 255}
    rows, columns = np.nonzero(drawn[..., 0])
    side = len(drawn)
    radius = np.hypot(rows - side / 2 + 0.5, columns - side / 2 + 0.5) / side
    assert np.abs(radius - 0.32).max() < 0.08, "the ring that was drawn, and nothing else"
    assert len(rows) > 1.5 * side
    # The image has edges where the strokes are, more than where they would be if moved.
    made = extract("canny", square(png, side, "made"))
    wide = np.where(drawn > 0, 255, 0).astype(np.uint8)
    moved = np.roll(wide, (side // 4, side // 4), axis=(0, 1))
    followed = edge_f1(wide, made, tolerance=2)
    assert followed > 0.3
    assert followed > 1.5 * edge_f1(moved, made, tolerance=2)

    # Another page and back: everything is as it was.
    page.get_by_role("link", name="Search").click()
    settle(page)
    page.get_by_role("link", name="Studio").click()
    settle(page)
    assert page.get_by_label("What to make").input_value() == "red apple"
    page.get_by_role("button", name="Clear", exact=True).first.wait_for()
    ((_, again),) = controls(make(page))
    assert np.array_equal(again, drawn)


def test_color_regions_are_drawn_with_fill(server: Server, person: Callable[..., Any]) -> None:
    page = person(viewport=PHONE, color_scheme="dark")
    opened(page, f"{server.url}/studio", "Follow an image")
    choose(page, "Condition", "Color regions")
    page.get_by_role("radio", name="Draw it").click()
    settle(page)
    field = page.get_by_label("Drawing field")
    page.get_by_role("button", name="Color #2f6fd0").click()
    page.get_by_label("Width").fill("3")
    ring = [(0.5 + 0.3 * math.cos(a), 0.5 + 0.3 * math.sin(a)) for a in AROUND]
    stroke(page, field, ring)
    page.get_by_role("button", name="Color #fcc93c").click()
    page.get_by_role("button", name="Fill", exact=True).click()
    stroke(page, field, [(0.5, 0.5), (0.5, 0.5)])
    ((kind, drawn),) = controls(make(page))
    assert kind == "segmentation"
    side = len(drawn)
    assert tuple(drawn[side // 2, side // 2]) == (0xFC, 0xC9, 0x3C)
    assert tuple(drawn[1, 1]) == (255, 255, 255)
    assert (drawn == (0x2F, 0x6F, 0xD0)).all(axis=2).sum() > side
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]


@pytest.mark.full
@pytest.mark.starter_models
def test_a_found_image_is_followed_kept_and_found(
    server: Server, person: Callable[..., Any]
) -> None:
    page = person()
    page.goto(f"{server.url}/studio")
    settle(page)
    page.get_by_label("What to make").fill("green ladder")
    page.get_by_label("What to make").press("Control+Enter")
    settle(page)
    page.get_by_role("link", name="Search").click()
    settle(page)
    page.get_by_label("Search", exact=True).fill("green bars")
    page.keyboard.press("Enter")
    settle(page)
    image = page.locator(".image", has_text="green-bars.png").first
    image.locator("summary").click()
    image.get_by_role("button", name="Use as control").click()
    page.get_by_text("What is followed").wait_for()
    assert page.get_by_label("What to make").input_value() == "green ladder"
    png = make(page)
    ((kind, condition),) = controls(png)
    assert kind == "canny"
    assert (condition > 0).sum() > 100
    page.get_by_role("button", name="Keep in collection").first.click()
    page.get_by_text("Kept in").wait_for()
    seed = read_recipe(png)[0].seed
    # `sample` has the words of the image's recipe to search by as soon as it is stored.

    def stored() -> int:
        page.goto(f"{server.url}/?q=green+ladder&kind=Images")
        settle(page)
        return int(page.get_by_text(f"green-ladder-{seed}").count())

    wait_until(stored, "the storing of what was made", every=0.5)
    expect(page.get_by_text(f"green-ladder-{seed}").first).to_be_visible()


@pytest.mark.full
@pytest.mark.starter_models
def test_preview_cancel_and_settings_from_a_file(
    server: Server, person: Callable[..., Any], tmp_path: Path
) -> None:
    page = person()
    page.goto(f"{server.url}/studio")
    settle(page)
    page.get_by_label("What to make").fill("sun")
    png = make(page)
    page.get_by_text("Steps, size, weight of the words").click()
    page.get_by_label("Steps", exact=True).fill("1000")
    page.get_by_label("Steps", exact=True).press("Enter")
    settle(page)
    page.get_by_role("button", name="Make", exact=True).click()
    cancel = page.get_by_role("button", name="Cancel")
    cancel.wait_for()
    page.get_by_alt_text("What is becoming of it").first.wait_for()
    cancel.click()
    page.get_by_text("Cancelled.").wait_for()
    settle(page)
    (tmp_path / "made.png").write_bytes(png)
    page.get_by_label("What to make").fill("moon")
    page.get_by_text("Settings of an image made here").click()
    page.locator("input[type=file]").last.set_input_files(tmp_path / "made.png")
    page.get_by_text("Settings restored").wait_for()
    settle(page)
    expect(page.get_by_label("What to make")).to_have_value("sun")
    expect(page.get_by_label("Steps", exact=True)).to_have_value("25")
    again = make(page)
    one, two = (np.asarray(Image.open(io.BytesIO(data))).astype(int) for data in (png, again))
    assert np.abs(one - two).max() <= 2
    page.get_by_text("Compare two").click()
    border = page.get_by_label("Border between the two images")
    border.fill("20")
    width = page.locator(".compare").evaluate("node => node.style.getPropertyValue('--border')")
    assert width == "20%"
