"""Makes the images of docs/screenshots: the real pages with the sample collection.

    python -m tests.app.screenshots

It starts a server of its own with a home of its own, and takes some two minutes.
"""

from __future__ import annotations

import io
import math
import shutil
import tempfile
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

from ragcore.library import Library
from ragcore.settings import Settings

from .app_browser import Server, Watched, choose, chromium, settle

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "docs" / "screenshots"
DESKTOP, PHONE = {"width": 1280, "height": 800}, {"width": 390, "height": 844}
SENTENCE = "table games during working hours"
QUESTION = "Are we allowed to play table games during working hours?"
COLORS = 128


def draw_scenes(folder: Path) -> None:
    """Simple drawings of things that have names: a collection needs images to show."""
    folder.mkdir(parents=True)
    for name, colors in {
        "sailing boat": ("#bfe3f2", "#2f6f9f", "#f4f4ef", "#a33a2c"),
        "red sailing boat": ("#f6d7b0", "#3b5f78", "#c0392b", "#5a3a22"),
        "mountain lake": ("#d7ecf5", "#4d8fac", "#6b7f6a", "#f5f7f7"),
        "mountain at sunset": ("#f3b27a", "#7a5c86", "#57466b", "#f7d9b5"),
        "house with a garden": ("#cfe8f7", "#7fae5a", "#d9c7a0", "#a0522d"),
        "house at night": ("#1d2640", "#2c4a36", "#6d5f78", "#3a2f45"),
        "tree on a hill": ("#e3f0d9", "#8fb56a", "#5f8a45", "#6b4a2f"),
        "autumn tree": ("#f1e4cf", "#b48a4c", "#c4632b", "#5d4030"),
    }.items():
        image = Image.new("RGB", (640, 480), colors[0])
        _draw_scene(ImageDraw.Draw(image), name, colors)
        image.save(folder / f"{name.replace(' ', '-')}.png")


def _draw_scene(pen: ImageDraw.ImageDraw, name: str, colors: tuple[str, ...]) -> None:
    _, ground, main, detail = colors
    if "mountain" in name:
        pen.polygon([(0, 350), (210, 90), (400, 350)], fill=main)
        pen.polygon([(250, 350), (450, 140), (640, 350)], fill=main)
        pen.polygon([(168, 142), (210, 90), (249, 142), (208, 160)], fill=detail)
    pen.rectangle((0, 340, 640, 480), fill=ground)
    if "boat" in name:
        pen.polygon([(330, 80), (330, 330), (490, 330)], fill=main)
        pen.polygon([(315, 120), (315, 330), (200, 330)], fill=main)
        pen.polygon([(180, 345), (510, 345), (450, 410), (240, 410)], fill=detail)
    elif "house" in name:
        pen.rectangle((200, 220, 440, 400), fill=main)
        pen.polygon([(180, 220), (320, 110), (460, 220)], fill=detail)
        for left in (230, 360):
            pen.rectangle((left, 260, left + 50, 310), fill="#f7e27a")
    elif "tree" in name:
        pen.rectangle((300, 260, 340, 400), fill=detail)
        for x, y in ((210, 120), (300, 70), (340, 150), (250, 180)):
            pen.ellipse((x, y, x + 140, y + 140), fill=main)


def begin_teaching(library: Library, collection: str) -> None:
    """Name two classes, and label an image of each."""
    library.labels.set_classes(
        "scenes", "image", ["water", "building", "other"], collection=collection
    )
    for info in library.images.list(collection):
        label = {"sailing-boat": "water", "house-at-night": "building"}.get(Path(info.path).stem)
        if label:
            library.labels.give("scenes", "image", [info.id], label, collection=collection)


def keep(page: Any, name: str) -> None:
    """Store what is seen, with few colors: a small file. Temporary folders are shown as home."""
    page.evaluate(
        """temporary => { const texts = document.createTreeWalker(document.body, 4);
        while (texts.nextNode()) { const node = texts.currentNode;
        node.data = node.data.replace(new RegExp(temporary + '/[^/]+'), '/home/me'); } }""",
        tempfile.gettempdir(),
    )
    image = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    image.quantize(COLORS, dither=Image.Dither.NONE).save(FOLDER / f"{name}.png", optimize=True)


def ask(page: Any, server: Server) -> Any:
    """Ask, wait for the answer, return its citation."""
    page.goto(f"{server.url}/ask")
    settle(page)
    page.get_by_test_id("stChatInputTextArea").fill(QUESTION)
    page.keyboard.press("Enter")
    cite = page.locator("[class*=st-key-cite-]").get_by_role("button").filter(visible=True).last
    cite.wait_for()
    settle(page)
    return cite


def add(page: Any, server: Server) -> None:
    """Add two notes from the browser."""
    page.goto(f"{server.url}/library?view=Add")
    settle(page)
    notes = [
        {"name": f"{name}.txt", "mimeType": "text/plain", "buffer": text.encode()}
        for name, text in {
            "weir-visit": "The heron waits at the weir until the evening.",
            "mast-repair": "The mast of gauge 7 was repaired and its cable renewed.",
        }.items()
    ]
    page.locator("input[type=file]").set_input_files(notes)
    page.get_by_role("button", name="Add 2 files").click()
    page.get_by_text("2 files added").first.wait_for()
    page.wait_for_timeout(5000)  # until the notice is gone
    settle(page)


def draw(page: Any, server: Server) -> None:
    """Draw a scribble on the page Studio and have two images follow it."""
    page.goto(f"{server.url}/studio")
    settle(page)
    page.get_by_text("Follow an image").click()
    choose(page, "Condition", "Scribble")
    page.get_by_role("radio", name="Draw it").click()
    settle(page)
    field = page.get_by_label("Drawing field")
    field.scroll_into_view_if_needed()
    box = field.bounding_box()
    around = [2 * math.pi * step / 40 for step in range(41)]
    body = [(0.5 + 0.3 * math.sin(a), 0.56 - 0.3 * math.cos(a)) for a in around]
    for points in (body, [(0.5, 0.26), (0.52, 0.16), (0.58, 0.08)]):
        places = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in points]
        page.mouse.move(*places[0])
        page.mouse.down()
        for place in places[1:]:
            page.mouse.move(*place)
        page.mouse.up()
        page.wait_for_timeout(600)
        settle(page)
    for words in ("red apple", "orange fruit", "face with smile"):
        page.get_by_label("What to make").fill(words)
        page.get_by_role("button", name="Make", exact=True).click()
        page.wait_for_timeout(2000)
        page.get_by_role("button", name="Save").first.wait_for()
        settle(page)
    page.locator("[data-testid=stMain]").evaluate("node => node.scrollTo(0, 0)")
    page.wait_for_timeout(700)


def take(browser: Any, server: Server) -> None:
    desktop = browser.new_context(viewport=DESKTOP, color_scheme="light")
    desktop.set_default_timeout(300_000)
    page = desktop.new_page()
    watched = Watched(page, server.url)
    views = {
        "search": f"/?q={SENTENCE}",
        "search-images": "/?q=a+boat+on+the+water&kind=Images&cut=0.10",
        "library": "/library",
        "map": "/library?view=Map",
        "teach": "/teach",
        "models": "/models",
    }
    add(page, server)
    keep(page, "add")
    ask(page, server)  # the second time every model is in memory
    cite = ask(page, server)
    keep(page, "ask")
    cite.click()
    page.get_by_role("dialog").locator("img").first.wait_for()
    settle(page)
    page.wait_for_timeout(700)  # the window slides in
    keep(page, "citation")
    for name, path in views.items():
        page.goto(server.url + path)
        settle(page)
        page.wait_for_timeout(700)  # plots are drawn after the page
        keep(page, name)
    page.set_viewport_size({"width": 1280, "height": 1150})
    draw(page, server)
    keep(page, "studio")
    watched.check()
    desktop.close()
    for scheme, name, path in (
        ("dark", "search-phone-dark", views["search"]),
        ("light", "search-images-phone", views["search-images"]),
    ):
        phone = browser.new_context(viewport=PHONE, color_scheme=scheme, has_touch=True)
        page = phone.new_page()
        page.goto(server.url + path)
        settle(page)
        page.wait_for_timeout(700)
        keep(page, name)
        phone.close()


def main() -> None:
    from playwright.sync_api import sync_playwright

    FOLDER.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as made, sync_playwright() as driver:
        files = Path(made) / "Brightwater"
        shutil.copytree(ROOT / "data" / "sample", files / "papers")
        draw_scenes(files / "images")
        with Library(Settings(home=Path(made) / "home")) as library:
            library.ingest([files], collection="brightwater")
            begin_teaching(library, "brightwater")
        server = Server(Path(made) / "home", Path(made) / "log")
        server.start()
        browser = driver.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
        try:
            take(browser, server)
        finally:
            browser.close()
            server.stop()


if __name__ == "__main__":
    main()
