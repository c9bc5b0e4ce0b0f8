"""The page Sources: add with a form, last report, sync now, pause, remove."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from ragcore_app.state import library
from streamlit.testing.v1 import AppTest

from tests.waiting import wait_until
from tests.web_site import Page as WebPage
from tests.web_site import Site, web_site

Page = Callable[..., AppTest]


@pytest.fixture
def site() -> Iterator[Site]:
    with web_site() as opened:
        for name in ("a", "b"):
            body = f"<title>{name}</title><h1>Page {name}</h1><p>Of the bird {name}.</p>"
            opened.pages[f"/{name}"] = WebPage(f"<html>{body}</html>".encode())
        opened.pages["/"] = WebPage(b"<h1>All</h1><p>Of the birds.</p><a href='/a'>a</a>")
        yield opened


def texts(test: AppTest) -> str:
    parts = [*test.markdown, *test.caption, *test.warning, *test.error]
    return "\n".join(str(part.value) for part in parts)


def wait_for_syncs() -> None:
    wait_until(
        lambda: not any(job.running for job in library().jobs.recent(kind="sync")), "the sync's end"
    )


def test_a_source_is_added_synced_paused_and_removed(
    page: Page, own_home: Path, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAGCORE_PRIVATE_HOSTS", "127.0.0.1")
    monkeypatch.setenv("RAGCORE_CRAWL_DELAY", "0")
    test = page("sources").run()
    assert not test.exception
    assert "No source yet" in texts(test)

    test.button("FormSubmitter:source-Add and fetch").click().run()
    assert "Type an address first" in texts(test)
    test.text_input(key="source-url").set_value(site.url)
    test.selectbox(key="source-target").set_value("sample")
    test.selectbox(key="source-every").set_value("Every 6 hours")
    test.checkbox(key="source-crawl").check()
    test.button("FormSubmitter:source-Add and fetch").click().run()
    wait_for_syncs()
    [info] = library().sources.list("sample")
    assert (info.url, dict(info.options), info.every) == (site.url, {"crawl": "yes"}, 6 * 3600)
    test.run()
    assert not test.exception
    assert "2 added" in texts(test)
    assert "with the pages that it links to · every 6 hours · next" in texts(test)

    site.pages["/"] = WebPage(b"<h1>All</h1><p>Of the birds.</p><a href='/b'>b</a>")
    del site.pages["/a"]
    test.button(key=f"sync-{info.id}").click().run()
    wait_for_syncs()
    test.run()
    assert "1 added, 1 updated, 1 removed" in texts(test)

    test.button(key=f"pause-{info.id}").click().run()
    assert library().sources.get(info.id).paused
    assert "paused" in texts(test)
    test.button(key=f"pause-{info.id}").click().run()
    assert not library().sources.get(info.id).paused

    del site.pages["/"]
    test.button(key=f"sync-{info.id}").click().run()
    wait_for_syncs()
    test.run()
    assert "It did not run" in texts(test)
    assert "404" in texts(test)

    test.button(key=f"remove-{info.id}").click().run()
    assert library().sources.list() == []
    paths = {row.path for row in library().documents.list("sample", limit=100)[0]}
    assert not any(path.startswith(site.url) for path in paths)
