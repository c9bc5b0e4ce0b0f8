"""Sources that are entered once: synced, paused, removed, and looked at when they are due."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import update

from ragcore.catalog.models import CollectionSource
from ragcore.catalog.sources import claim_due
from ragcore.errors import UsageError
from ragcore.library import Library, SourceInfo, SourceSchedule
from ragcore.settings import Settings
from tests.waiting import wait_until
from tests.web_site import Page, Site, web_site


@pytest.fixture
def site() -> Iterator[Site]:
    with web_site() as opened:
        for name, links in (("", "ab"), ("a", ""), ("b", ""), ("c", "")):
            anchors = "".join(f"<a href='/{link}'>{link}</a> " for link in links)
            text = f"<title>Page {name}</title><h1>Page {name}</h1><p>Of the bird {name}.</p>"
            opened.pages[f"/{name}"] = Page(f"<html>{text}{anchors}</html>".encode())
        yield opened


@pytest.fixture
def library(tmp_path: Path) -> Iterator[Library]:
    settings = Settings(
        home=tmp_path / "home",
        workers=1,
        ocr="off",
        private_hosts=["127.0.0.1"],
        crawl_delay=0,
    )
    with Library(settings) as opened:
        yield opened


def paths(library: Library, site: Site) -> set[str]:
    return {row.path.removeprefix(site.url) for row in library.documents.list()[0]}


def counts(info: SourceInfo) -> tuple[int, ...]:
    names = ("added", "updated", "unchanged", "removed", "failed")
    return tuple(info.report[name] for name in names)


def make_due(library: Library, source_id: int) -> None:
    past = dt.datetime.now(dt.UTC) - dt.timedelta(seconds=1)
    library.admin.catalog.commit(
        lambda session: session.execute(
            update(CollectionSource).where(CollectionSource.id == source_id).values(next_run=past)
        )
    )


def test_a_sync_never_removes_what_was_added_by_hand(library: Library, site: Site) -> None:
    library.ingest([f"{site.url}/b", f"{site.url}/c"])
    source = library.sources.add(site.url, options={"crawl": "yes"})
    assert (source.report, source.last_run, source.next_run) == ({}, None, None)
    done = library.sources.sync(source.id)
    assert counts(done) == (2, 0, 1, 0, 0)
    assert done.last_run is not None
    assert paths(library, site) == {"/", "/a", "/b", "/c"}
    for name in ("/a", "/b", "/c"):
        del site.pages[name]
    done = library.sources.sync(source.id)
    assert counts(done) == (0, 0, 1, 1, 0)
    assert paths(library, site) == {"/", "/b", "/c"}, "those of hand stay, gone as they are"


def test_a_source_that_is_down_removes_nothing_and_says_why(library: Library, site: Site) -> None:
    source = library.sources.add(site.url, options={"crawl": "yes"})
    library.sources.sync(source.id)
    site.pages["/robots.txt"] = Page(b"down", status=500, etag=False)
    done = library.sources.sync(source.id)
    assert done.report["removed"] == 0
    assert "rules of the site" in done.report["failures"][0]["error"]
    site.pages["/robots.txt"] = Page(b"User-agent: *\nDisallow: /\n", "text/plain")
    done = library.sources.sync(source.id)
    assert "robots.txt" in done.error
    assert len(paths(library, site)) == 3


def test_folders_are_sources_too(library: Library, tmp_path: Path) -> None:
    folder = tmp_path / "papers"
    folder.mkdir()
    (folder / "hand.txt").write_text("Added by hand.")
    library.ingest([folder / "hand.txt"])
    (folder / "heron.txt").write_text("The heron stands.")
    source = library.sources.add(str(folder))
    assert counts(library.sources.sync(source.id)) == (1, 0, 1, 0, 0)
    for path in folder.iterdir():
        path.unlink()
    assert counts(library.sources.sync(source.id)) == (0, 0, 0, 1, 0)
    assert [row.name for row in library.documents.list()[0]] == ["hand.txt"]


def test_sources_that_cannot_be(library: Library, site: Site, tmp_path: Path) -> None:
    source = library.sources.add(f"{site.url}/a", every=3600)
    for url, options, every, message in (
        (f"{site.url}/a", {}, 0, "already"),
        (f"{site.url}/b", {}, 30, "every 60 seconds"),
        (f"{site.url}/b", {"colour": "blue"}, 0, "colour"),
        ("s3://user:secret-word@bucket/x", {}, 0, "secret"),
        (str(tmp_path / "nowhere"), {}, 0, "no such file"),
    ):
        with pytest.raises(UsageError, match=message):
            library.sources.add(url, options=options, every=every)
    assert [one.id for one in library.sources.list()] == [source.id]
    for call in (library.sources.sync, library.sources.pause, library.sources.remove):
        with pytest.raises(UsageError, match="no source 99"):
            call(99)


def test_a_source_is_removed_with_or_without_its_documents(library: Library, site: Site) -> None:
    first = library.sources.add(f"{site.url}/a")
    second = library.sources.add(f"{site.url}/b")
    for one in (first, second):
        library.sources.sync(one.id)
    assert library.sources.remove(first.id) == 0
    assert paths(library, site) == {"/a", "/b"}
    assert library.sources.remove(second.id, documents=True) == 1
    assert paths(library, site) == {"/a"}
    assert library.search("bird b", cutoff=0.0).hits[0].path == f"{site.url}/a"
    assert library.sources.list() == []


def test_the_schedule_runs_what_is_due(library: Library, site: Site) -> None:
    by_hand = library.sources.add(f"{site.url}/a")
    hourly = library.sources.add(f"{site.url}/b", every=3600)
    paused = library.sources.add(f"{site.url}/c", every=3600)
    assert library.sources.pause(paused.id).next_run is None
    ran: list[int] = []
    schedule = SourceSchedule(library.sources, lambda info: ran.append(info.id), look_every=0.05)
    schedule.start()
    try:
        wait_until(lambda: ran == [hourly.id], "the first run of the source that is due")
        make_due(library, hourly.id)
        wait_until(lambda: ran == [hourly.id] * 2, "its second run")
        assert library.sources.resume(paused.id).next_run is not None
        wait_until(lambda: paused.id in ran, "the run of the one that goes on")
    finally:
        schedule.stop()
    assert by_hand.id not in ran
    assert paths(library, site) == {"/b", "/c"}
    info = next(one for one in library.sources.list() if one.id == hourly.id)
    assert info.last_run is not None
    assert info.next_run == info.last_run + dt.timedelta(hours=1)


def test_two_processes_share_the_work(library: Library, site: Site) -> None:
    source = library.sources.add(f"{site.url}/a", every=3600)
    assert list(library.admin.catalog.commit(claim_due)) == [source.id]
    assert list(library.admin.catalog.commit(claim_due)) == []
