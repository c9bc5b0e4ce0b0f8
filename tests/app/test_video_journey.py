"""A hit in a video, in a real browser on the real server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ragcore.library import Library
from ragcore.settings import Settings

from ..videos import encode
from .app_browser import DESKTOP, WAIT, Server, chromium, settle

pytestmark = [
    pytest.mark.full,
    pytest.mark.browser,
    pytest.mark.skipif(chromium() is None, reason="needs Chromium (apt-get install chromium)"),
]
# The color in a corner of the frame that is shown: red, green, blue.
CORNER = """video => {
    const canvas = new OffscreenCanvas(video.videoWidth, video.videoHeight);
    const paint = canvas.getContext("2d");
    paint.drawImage(video, 0, 0);
    return [...paint.getImageData(canvas.width - 4, canvas.height - 4, 1, 1).data].slice(0, 3);
}"""


@pytest.fixture
def films(tmp_path: Path, tiny_profile: Path) -> Iterator[Server]:
    """The pages over a video of six seconds: two of red, two of green, two of blue."""
    folder = tmp_path / "films"
    folder.mkdir()
    encode(folder / "colors.webm", codec="libvpx")
    with Library(Settings(home=tmp_path / "home", profile=str(tiny_profile))) as library:
        assert not library.ingest([folder], collection="films").failed
    server = Server(tmp_path / "home", tmp_path / "log", RAGCORE_PROFILE=str(tiny_profile))
    server.start()
    yield server
    server.stop()


def test_a_hit_plays_from_its_second(films: Server, chrome: Any) -> None:
    context = chrome.new_context(viewport=DESKTOP)
    context.set_default_timeout(WAIT)
    page = context.new_page()
    page.goto(f"{films.url}/?collection=films&kind=Images&cut=0.00&q=blue")
    hit = page.locator("li.image").filter(has_text="0:04")
    hit.locator(".thumb").wait_for()
    settle(page)
    hit.locator(".thumb").click()
    video = page.get_by_role("dialog").locator("video")
    video.wait_for()
    shown = video.element_handle()
    page.wait_for_function("video => video.readyState >= 2 && video.currentTime > 3", arg=shown)
    red, green, blue = video.evaluate(CORNER)
    assert blue > 150 > max(red, green)
    video.evaluate("video => { video.muted = true; return video.play(); }")
    page.wait_for_function("video => video.ended || video.currentTime > 5", arg=shown)
    context.close()
