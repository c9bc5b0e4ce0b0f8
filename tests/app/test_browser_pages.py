"""Pages in a real browser: what axe-core finds on them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.npm import axe_script

from .app_browser import WAIT, Server, chromium, settle

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(chromium() is None, reason="needs Chromium (apt-get install chromium)"),
]


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
