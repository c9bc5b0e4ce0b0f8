"""Web pages, sites and feeds, from real servers on loopback addresses."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ragcore.errors import RagcoreError, UsageError
from ragcore.library import Library
from ragcore.settings import Settings
from ragcore.sources import Skipped, Source, SourceItem, open_source
from ragcore.testing import SourceConformance
from tests.ingest.ingest_samples import outcome
from tests.web_site import Page, Site, web_site

BIRDS = ("heron", "cormorant", "kingfisher", "ousel", "grebe", "osprey", "bittern", "egret")


def article(title: str, text: str, links: tuple[str, ...] = (), head: str = "") -> Page:
    anchors = "".join(f'<li><a href="{link}">see {link}</a></li>' for link in links)
    return Page(
        f"<!doctype html><html><head><title>{title}</title>{head}</head><body>"
        f"<nav><a href='/'>The navigation of every page</a></nav>"
        f"<main><h1>{title}</h1><p>{text}</p><h2>More</h2>"
        f"<p>The second paragraph of this page says a few words more about the same matter.</p>"
        f"<ul>{anchors}</ul></main><footer>Imprint and cookies</footer></body></html>".encode()
    )


@pytest.fixture
def site() -> Iterator[Site]:
    with web_site() as opened:
        yield opened


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(
        home=tmp_path / "home",
        workers=1,
        ocr="off",
        private_hosts=["127.0.0.1"],
        crawl_delay=0,
    )


def crawled(site: Site, settings: Settings, **options: str) -> list[SourceItem | Skipped]:
    return list(open_source(site.url, settings, {"crawl": "yes", **options}).list())


def paths(listed: list[SourceItem | Skipped], site: Site) -> list[str]:
    return [one.location.removeprefix(site.url) for one in listed if isinstance(one, SourceItem)]


def reasons(listed: list[SourceItem | Skipped], site: Site) -> dict[str, str]:
    return {
        one.location.removeprefix(site.url): f"{one.kind}: {one.reason}"
        for one in listed
        if isinstance(one, Skipped)
    }


class TestCrawl(SourceConformance):
    @pytest.fixture
    def url(self, site: Site) -> str:
        site.pages["/"] = article("Home", "Where it begins.", ("/heron", "/notes.txt"))
        site.pages["/heron"] = article("Heron", "The grey heron stands in shallow water.")
        site.pages["/notes.txt"] = Page(b"Notes without markup.", "text/plain")
        return site.url

    @pytest.fixture
    def open(self, url: str, settings: Settings) -> Callable[[str], Source]:
        def opened(at: str) -> Source:
            crawl = at.rstrip("/") == url
            return open_source(at, settings, {"crawl": "yes"} if crawl else {})

        return opened

    def test_a_location_is_a_source_of_that_item(
        self, source: Source, settings: Settings, tmp_path: Path
    ) -> None:
        for item in self.items(source):
            alone = open_source(item.location, settings)
            assert alone.location == item.location
            assert self.items(alone) == [item]


def test_a_page_is_its_main_text(site: Site, settings: Settings, tmp_path: Path) -> None:
    site.pages["/heron"] = article("Heron", "The grey heron stands in shallow water.")
    source = open_source(f"{site.url}/heron", settings)
    (item,) = source.list()
    assert isinstance(item, SourceItem)
    assert (item.location, item.name) == (f"{site.url}/heron", "heron.html")
    text = source.fetch(item, tmp_path, most_bytes=1 << 20).read_text("utf-8")
    assert "grey heron" in text
    assert "<title>Heron</title>" in text
    assert "<h2>More</h2>" in text
    assert "navigation" not in text
    assert "Imprint" not in text
    assert site.paths() == ["/heron"], "what was received is not asked for again"


def test_text_in_other_encodings(site: Site, settings: Settings, tmp_path: Path) -> None:
    body = article("Störche", "Die Störche fressen Frösche und Mäuse.").body.decode()
    site.pages["/a"] = Page(body.encode("latin-1"), "text/html; charset=iso-8859-1")
    site.pages["/b"] = Page(
        body.replace("<head>", '<head><meta charset="windows-1252">').encode("cp1252"), "text/html"
    )
    for name in ("a", "b"):
        source = open_source(f"{site.url}/{name}", settings)
        (item,) = source.list()
        assert isinstance(item, SourceItem)
        (tmp_path / name).mkdir()
        fetched = source.fetch(item, tmp_path / name, most_bytes=1 << 20).read_text("utf-8")
        assert "Störche fressen Frösche" in fetched


def test_a_crawl_follows_links_on_its_site_only(site: Site, settings: Settings) -> None:
    with web_site() as other:
        other.pages["/"] = article("Other", "Of somebody else.")
        site.pages["/"] = article(
            "Home", "Hello.", ("/a", "/a#part", "b?x=1", f"{other.url}/", "mailto:a@b.example")
        )
        site.pages["/a"] = article("A", "A page.", ("/away", "javascript:alert(1)"))
        site.pages["/b?x=1"] = Page(b"A file.", "text/plain")
        site.pages["/away"] = Page(status=302, headers={"Location": f"{other.url}/"})
        listed = crawled(site, settings)
        assert paths(listed, site) == ["/", "/a", "/b?x=1"]
        assert "it is on another site" in reasons(listed, site)["/away"]
        assert other.requests == []


def test_robots_txt_is_kept_to(site: Site, settings: Settings) -> None:
    site.pages["/robots.txt"] = Page(
        b"User-agent: *\nDisallow: /private\nDisallow: /*.txt$\nAllow: /private/open\n",
        "text/plain",
    )
    site.pages["/"] = article("Home", "Hello.", ("/private/a", "/private/open", "/n.txt"))
    site.pages["/private/open"] = article("Open", "This is open.")
    listed = crawled(site, settings)
    assert paths(listed, site) == ["/", "/private/open"]
    assert set(reasons(listed, site)) == {"/private/a", "/n.txt"}
    assert not {"/private/a", "/n.txt"} & set(site.paths())
    site.pages["/robots.txt"] = Page(b"User-agent: ragcore\nDisallow: /\n", "text/plain")
    with pytest.raises(UsageError, match=r"robots\.txt"):
        crawled(site, settings)
    site.pages["/robots.txt"] = Page(b"down", status=500)
    with pytest.raises(RagcoreError, match="rules of the site"):
        crawled(site, settings)


def test_the_pace_is_the_site_s(site: Site, settings: Settings) -> None:
    import time

    site.pages["/robots.txt"] = Page(b"User-agent: *\nCrawl-delay: 0.2\n", "text/plain")
    site.pages["/"] = article("Home", "Hello.", ("/a", "/b"))
    site.pages |= {"/a": article("A", "First."), "/b": article("B", "Second.")}
    started = time.monotonic()
    assert len(paths(crawled(site, settings), site)) == 3
    assert time.monotonic() - started > 0.5, "three pages and a sitemap after the rules"


def test_sitemaps_lead_to_pages_that_nothing_links_to(site: Site, settings: Settings) -> None:
    def urls(*names: str) -> bytes:
        entries = "".join(f"<url><loc>{site.url}{name}</loc></url>" for name in names)
        return f'<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">{entries}</urlset>'.encode()

    site.pages["/robots.txt"] = Page(f"Sitemap: {site.url}/index.xml".encode(), "text/plain")
    site.pages["/index.xml"] = Page(
        f'<sitemapindex xmlns="http://www.sitemaps.org/schemas/sitemap/0.9"><sitemap><loc>'
        f"{site.url}/one.xml.gz</loc></sitemap><sitemap><loc>{site.url}/bad.xml</loc></sitemap>"
        f"<sitemap><loc>{site.url}/list.txt</loc></sitemap></sitemapindex>".encode(),
        "application/xml",
    )
    site.pages["/one.xml.gz"] = Page(gzip.compress(urls("/alone")), "application/gzip")
    site.pages["/bad.xml"] = Page(
        b'<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/hostname">]><urlset><url><loc>&e;',
        "application/xml",
    )
    site.pages["/list.txt"] = Page(
        f"{site.url}/listed\nhttp://127.0.0.9/no\n".encode(), "text/plain"
    )
    site.pages["/"] = article("Home", "Hello.")
    site.pages["/alone"] = article("Alone", "Nothing links to this page.")
    site.pages["/listed"] = article("Listed", "This one neither.")
    found = crawled(site, settings)
    assert paths(found, site) == ["/", "/alone", "/listed"]
    assert "damaged" in reasons(found, site)["/bad.xml"]
    assert paths(crawled(site, settings, depth="0"), site) == ["/"]


def test_depth_and_count_are_limits_that_are_said(site: Site, settings: Settings) -> None:
    for number in range(6):
        site.pages["/" if not number else f"/{number}"] = article(
            f"Page {number}", "One of a chain of pages.", (f"/{number + 1}",)
        )
    listed = crawled(site, settings, depth="2")
    assert paths(listed, site) == ["/", "/1", "/2"]
    assert "1 pages are more than 2 links away" in "".join(reasons(listed, site).values())
    listed = crawled(site, settings, pages="4")
    assert paths(listed, site) == ["/", "/1", "/2", "/3"]
    assert "the limit of 4 pages is reached" in "".join(reasons(listed, site).values())


def test_the_canonical_address_is_the_identity(site: Site, settings: Settings) -> None:
    def head(target: str) -> str:
        return f'<link rel="canonical" href="{target}">'

    site.pages["/"] = article("Home", "Hello.", ("/p?ref=1", "/p?ref=2", "/old", "/theft"))
    for ref in (1, 2):
        site.pages[f"/p?ref={ref}"] = article("P", "The same page.", head=head("/p"))
    site.pages["/old"] = Page(status=301, headers={"Location": "/new"})
    site.pages["/new"] = article("New", "Where the old one went.")
    site.pages["/theft"] = article("Theft", "Not theirs.", head=head("https://bank.example/"))
    listed = crawled(site, settings)
    assert paths(listed, site) == ["/", "/p", "/new", "/theft"]
    assert "a copy of" in reasons(listed, site)["/p?ref=2"]


def test_what_is_gone_or_broken_does_not_end_a_crawl(site: Site, settings: Settings) -> None:
    site.pages["/"] = article("Home", "Hello.", ("/gone", "/broken", "/font", "/a"))
    site.pages["/broken"] = Page(b"oh", status=500)
    site.pages["/font"] = Page(b"\0" * 100, "font/woff2")
    site.pages["/a"] = article("A", "A page.")
    listed = crawled(site, settings)
    assert paths(listed, site) == ["/", "/a"]
    assert {path: reason.partition(":")[0] for path, reason in reasons(listed, site).items()} == {
        "/gone": "dropped",
        "/broken": "failed",
        "/font": "dropped",
    }
    with pytest.raises(UsageError, match="there is nothing"):
        list(open_source(f"{site.url}/gone", settings).list())


RSS = """<?xml version="1.0"?><rss version="2.0"><channel><title>News</title>
<item><title>One</title><link>{url}/one</link></item>
<item><title>Two</title><link>{url}/two</link></item>
<item><title>Gone</title><link>{url}/gone</link></item></channel></rss>"""
ATOM = """<?xml version="1.0"?><feed xmlns="http://www.w3.org/2005/Atom"><title>News</title>
<entry><title>One</title><link href="/one"/></entry>
<entry><title>Two</title><link href="two"/></entry>
<entry><title>Gone</title><link href="/gone"/></entry></feed>"""


@pytest.mark.parametrize(("feed", "media_type"), [(RSS, "application/rss+xml"), (ATOM, "text/xml")])
def test_a_feed_is_its_entries(site: Site, settings: Settings, feed: str, media_type: str) -> None:
    site.pages["/feed"] = Page(feed.format(url=site.url).encode(), media_type)
    site.pages["/one"] = article("One", "The first news of the day.")
    site.pages["/two"] = article("Two", "The second news of the day.")
    with Library(settings) as library:
        report = library.ingest([f"{site.url}/feed"])
        assert outcome(report) == (2, 0, 0, 0, 0, 0)
        assert [left.path for left in report.skipped] == [f"{site.url}/gone"]
        site.requests.clear()
        assert outcome(library.ingest([f"{site.url}/feed"], sync=True)) == (0, 0, 2, 0, 0, 0)
        assert site.paths(304) == ["/feed", "/one", "/two"]


def test_without_etags_last_modified_and_then_the_content_decide(
    site: Site, settings: Settings
) -> None:
    def put(dated: str, undated: str, date: str) -> None:
        site.pages["/"] = article("Home", "Hello.", ("/dated", "/undated"))
        for path, text in (("/dated", dated), ("/undated", undated)):
            page = article("Page", text)
            page.etag = False
            site.pages[path] = page
        site.pages["/dated"].headers = {"Last-Modified": date}  # type: ignore[union-attr]

    first, second = "Sat, 01 Nov 2025 10:00:00 GMT", "Sun, 02 Nov 2025 10:00:00 GMT"
    with Library(settings) as library:

        def run() -> tuple[int, ...]:
            return outcome(library.ingest([site.url], options={"crawl": "yes"}))

        put("One text.", "Another text.", first)
        assert run() == (3, 0, 0, 0, 0, 0)
        assert run() == (0, 0, 3, 0, 0, 0)
        put("One text, changed.", "Another text.", second)
        assert run() == (0, 1, 2, 0, 0, 0)
        put("One text, changed.", "Another text, changed.", second)
        assert run() == (0, 1, 2, 0, 0, 0)


def test_credentials_come_from_the_file_and_go_nowhere_else(
    site: Site, settings: Settings, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    monkeypatch.setenv("WIKI_TOKEN", "t0p-s3cret-token")
    settings.home.mkdir()
    file = settings.home / "credentials.toml"
    file.write_text(f'["{site.url}/wiki"]\ntoken = "env:WIKI_TOKEN"\n')
    file.chmod(0o600)
    site.pages["/wiki/a"] = article("A", "A page for members.")
    site.pages["/b"] = article("B", "A page for all.")
    with Library(settings) as library:
        library.ingest([f"{site.url}/wiki/a", f"{site.url}/b"])
    sent = {one.path: one.headers.get("Authorization") for one in site.requests}
    assert sent == {"/wiki/a": "Bearer t0p-s3cret-token", "/b": None}
    written = [path for path in settings.home.rglob("*") if path.is_file()]
    assert all(b"t0p-s3cret" not in path.read_bytes() for path in written)
    assert "t0p-s3cret" not in caplog.text
    file.chmod(0o644)
    with pytest.raises(UsageError, match="chmod 600"):
        list(open_source(f"{site.url}/wiki/a", settings).list())


@pytest.mark.parametrize("count", [20, pytest.param(200, marks=pytest.mark.full)])
def test_a_site_is_kept_in_step(site: Site, settings: Settings, count: int) -> None:
    """Ingested, found, changed, synced; unchanged pages are not sent again."""
    for number in range(count):
        bird = BIRDS[number % len(BIRDS)]
        links = tuple(f"/page{n}" for n in range(number * 10 + 1, number * 10 + 11) if n < count)
        site.pages["/" if not number else f"/page{number}"] = article(
            f"{bird.title()} {number}", f"The {bird} number {number} was ringed in spring.", links
        )
    ticket, links = (
        "A day ticket for the reserve costs",
        tuple(f"/page{n}" for n in range(71, 81) if n < count),
    )
    site.pages["/page7"] = article("Tariff", f"{ticket} nine guilders.", links)
    crawl = {"crawl": "yes"}
    with Library(settings) as library:
        report = library.ingest([site.url], options=crawl)
        assert outcome(report) == (count, 0, 0, 0, 0, 0)
        hit = library.search("What does a day ticket cost?", kind="passages").hits[0]
        assert (hit.path, hit.document) == (f"{site.url}/page7", "Tariff")
        assert "navigation" not in hit.text

        site.requests.clear()
        assert outcome(library.ingest([site.url], options=crawl, sync=True)) == (
            0, 0, count, 0, 0, 0,
        )  # fmt: skip
        assert len(site.paths(304)) == count
        assert set(site.paths(200)) == set()

        site.pages["/page7"] = article("Tariff", f"{ticket} ten guilders.", links)
        del site.pages[f"/page{count - 1}"]
        site.requests.clear()
        report = library.ingest([site.url], options=crawl, sync=True)
        assert outcome(report) == (0, 1, count - 2, 0, 1, 0)
        assert site.paths(200) == ["/page7"]
        hit = library.search("What does a day ticket cost?", kind="passages").hits[0]
        assert "ten guilders" in hit.text
        answer = library.ask("What does a day ticket cost?")
        assert {one.path for one in answer.citations} <= {f"{site.url}/page7"}

    with web_site() as gone:
        pass
    with Library(settings) as library:
        site.pages["/"] = Page(b"down", status=503)
        report = library.ingest([site.url], options=crawl, sync=True)
        assert report.removed == 0, "a site that is down has lost nothing"
        assert len(report.failed) == 1
        assert len(library.documents.list(limit=500)[0]) == count - 1
        with pytest.raises(RagcoreError):
            list(open_source(gone.url, settings).list())


def test_a_crawl_removes_what_crawls_brought_and_nothing_else(
    site: Site, settings: Settings
) -> None:
    """Pages of the site that were added by hand stay, as do those of a source that is entered."""
    site.pages["/"] = article("Home", "The heron stands.", ("/a", "/b", "/c"))
    for name in ("/a", "/b", "/c", "/hand", "/source"):
        site.pages[name] = article(name, f"Words of the page {name} about birds.")
    crawl = {"crawl": "yes"}

    def paths() -> set[str]:
        return {row.path.removeprefix(site.url) for row in library.documents.list()[0]}

    with Library(settings) as library:
        library.ingest([f"{site.url}/hand", f"{site.url}/b"])
        library.sources.sync(library.sources.add(f"{site.url}/source").id)
        assert outcome(library.ingest([site.url], options=crawl)) == (3, 0, 1, 0, 0, 0)
        library.ingest([f"{site.url}/c"])  # the crawl brought it: from now on it is by hand
        everything = {"/", "/a", "/b", "/c", "/hand", "/source"}
        assert paths() == everything
        assert library.ingest([site.url], options=crawl, sync=True).removed == 0
        assert paths() == everything
        # With other words it is still by hand.
        site.pages["/b"] = article("/b", "Other words of the page b about birds.")
        assert library.ingest([site.url], options=crawl, sync=True).updated == 1
        site.pages["/"] = article("Home", "The heron stands.")
        for name in ("/a", "/b", "/c"):
            del site.pages[name]
        assert library.ingest([site.url], options=crawl, sync=True).removed == 1
        assert paths() == everything - {"/a"}
        # A page with the content of one that was added by hand does not take its place.
        site.pages["/copy"] = site.pages["/hand"]
        site.pages["/"] = article("Home", "The heron stands.", ("/copy",))
        report = library.ingest([site.url], options=crawl, sync=True)
        assert (report.added, report.renamed, report.removed) == (1, 0, 0)
        assert paths() == everything - {"/a"} | {"/copy"}


def test_what_a_source_brought_is_by_hand_once_somebody_adds_it(
    site: Site, settings: Settings
) -> None:
    site.pages["/"] = article("Home", "The heron stands.", ("/a", "/b"))
    for name in ("/a", "/b"):
        site.pages[name] = article(name, f"Words of the page {name} about birds.")
    with Library(settings) as library:
        source = library.sources.add(site.url, options={"crawl": "yes"})
        library.sources.sync(source.id)
        library.ingest([f"{site.url}/a"])
        site.pages["/"] = article("Home", "The heron stands.")
        del site.pages["/a"], site.pages["/b"]
        assert library.sources.sync(source.id).report["removed"] == 1
        names = {row.path.removeprefix(site.url) for row in library.documents.list()[0]}
        assert names == {"/", "/a"}


def test_the_page_links_to_the_original_address() -> None:
    from app.components.viewer import place_html

    assert place_html("/srv/a & b.txt") == "/srv/a &amp; b.txt"
    assert place_html("s3://bucket/a.txt") == "s3://bucket/a.txt"
    html = place_html('https://example.org/?a=1&b="x"')
    assert html.startswith('<a href="https://example.org/?a=1&amp;b=&quot;x&quot;" target="_blank"')
