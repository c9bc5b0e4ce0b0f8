"""The built site's own search, in a real browser and from the disk: who looks for a standard word
finds the right page first.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Locator, sync_playwright

from tests.app.app_browser import WAIT, chromium

CHROMIUM = chromium()

WORDS = {
    "chunk size": "how-to/chunk-size.html",
    "top-k": "how-to/top-k-and-threshold.html",
    "threshold": "how-to/top-k-and-threshold.html",
    "retry": "how-to/retry-and-resume.html",
    "resume": "how-to/retry-and-resume.html",
    "deduplicate": "how-to/deduplicate.html",
    "migrate": "how-to/migrate.html",
    "vision model": "how-to/vision-model.html",
    "reranker": "how-to/reranker.html",
    "GPU memory": "how-to/gpu-memory.html",
    "offline": "how-to/offline.html",
}


def type_into(box: Locator, text: str) -> None:
    """Put a whole text there and release one key: the site searches then."""
    box.focus()
    box.fill(text)
    box.press("End")


@pytest.mark.full
@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="needs a Chromium")
def test_standard_words_find_the_right_page_first(site: Path) -> None:
    requests: list[str] = []
    first = {}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page()
        page.set_default_timeout(WAIT)
        page.on("request", lambda request: requests.append(request.url))
        page.goto((site / "index.html").as_uri())
        box = page.locator("[data-md-component=search-query]")
        first_result = page.locator(".md-search-result__item > a").first
        for word in WORDS:
            type_into(box, "")
            first_result.wait_for(state="detached")
            type_into(box, word)
            first_result.wait_for(state="attached")
            address = first_result.get_attribute("href") or ""
            first[word] = address.partition("?")[0].partition("#")[0]
        browser.close()
    found = {word: url.rpartition(str(site))[2].lstrip("/") for word, url in first.items()}
    assert found == WORDS
    assert [url for url in requests if not url.startswith(("file:", "data:", "blob:"))] == []
