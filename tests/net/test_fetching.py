"""Fetching from real servers: limits, redirects, credentials, packed bodies."""

from __future__ import annotations

import gzip
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler

import pytest

from ragcore.errors import RagcoreError, UnreadableFile
from ragcore.net import AddressPolicy, Limits, WebClient
from tests.web_site import Page, Site, web_site

LOOPBACK = AddressPolicy(["127.0.0.0/8"])


@pytest.fixture
def site() -> Iterator[Site]:
    with web_site() as opened:
        yield opened


@pytest.fixture
def client() -> Iterator[WebClient]:
    opened = WebClient(LOOPBACK)
    yield opened
    opened.close()


def test_a_page_is_fetched(site: Site, client: WebClient) -> None:
    site.pages["/"] = Page("Größe".encode("latin-1"), "Text/HTML; charset=Latin-1")
    with client.get(site.url) as page:
        assert (page.status, page.media_type, page.charset) == (200, "text/html", "latin-1")
        assert page.size == 5
        assert page.read(5) == "Größe".encode("latin-1")
        assert str(page.url) == f"{site.url}/"
    assert site.requests[0].headers["User-Agent"].startswith("ragcore/")


def test_the_size_is_limited_while_it_arrives(site: Site, client: WebClient) -> None:
    site.pages["/"] = Page(b"x" * 1_000_000)
    with client.get(site.url) as page, pytest.raises(UnreadableFile, match="larger than 97 KiB"):
        page.read(100_000)


def test_a_small_packed_body_does_not_unpack_without_bounds(site: Site, client: WebClient) -> None:
    bomb = gzip.compress(b"\0" * 50_000_000)
    site.pages["/"] = Page(bomb, headers={"Content-Encoding": "gzip"})
    with client.get(site.url) as page, pytest.raises(UnreadableFile, match="larger than"):
        page.read(1_000_000)
    site.pages["/twice"] = Page(gzip.compress(bomb), headers={"Content-Encoding": "gzip, gzip"})
    with pytest.raises(UnreadableFile, match="not asked for"), client.get(f"{site.url}/twice"):
        pass


def test_types_that_are_not_taken_are_refused_before_the_body(
    site: Site, client: WebClient
) -> None:
    site.pages["/"] = Page(b"x" * 1000, "video/mp4")
    with (
        pytest.raises(UnreadableFile, match="video/mp4"),
        client.get(site.url, types={"text/html"}),
    ):
        pass


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 429, 500, 503])
def test_what_is_no_success_is_an_error(site: Site, client: WebClient, status: int) -> None:
    site.pages["/"] = Page(b"sorry", status=status)
    with pytest.raises(UnreadableFile, match=str(status)), client.get(site.url):
        pass


def test_an_answer_cannot_be_stretched_byte_by_byte(site: Site) -> None:
    def drip(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\n")
        for number in range(200):
            handler.wfile.write(f"X-{number}: drop\r\n".encode())
            handler.wfile.flush()
            time.sleep(0.05)

    site.pages["/"] = drip
    client = WebClient(LOOPBACK, limits=Limits(total=0.4))
    started = time.monotonic()
    with pytest.raises(RagcoreError, match="too long"), client.get(site.url):
        pass
    assert time.monotonic() - started < 5


def test_redirects_are_followed_and_counted(site: Site, client: WebClient) -> None:
    for number in range(8):
        site.pages[f"/{number}"] = Page(status=302, headers={"Location": f"/{number + 1}"})
    site.pages["/8"] = Page(b"arrived")
    with client.get(f"{site.url}/3") as page:
        assert page.read(100) == b"arrived"
        assert str(page.url) == f"{site.url}/8"
    with pytest.raises(UnreadableFile, match="more than 5 redirects"), client.get(f"{site.url}/0"):
        pass
    site.pages["/loop"] = Page(status=301, headers={"Location": "/loop"})
    with pytest.raises(UnreadableFile, match="redirects"), client.get(f"{site.url}/loop"):
        pass


def test_a_caller_may_refuse_a_redirect(site: Site, client: WebClient) -> None:
    site.pages["/"] = Page(status=302, headers={"Location": "/elsewhere"})
    with (
        pytest.raises(UnreadableFile, match="which is not taken"),
        client.get(site.url, allow=lambda url: url.path != "/elsewhere"),
    ):
        pass
    assert site.paths() == ["/"]


def test_credentials_stay_with_their_host(site: Site) -> None:
    with web_site() as other:
        site.pages["/in"] = Page(status=302, headers={"Location": "/page"})
        site.pages["/out"] = Page(status=302, headers={"Location": f"{other.url}/back"})
        site.pages["/page"] = Page(b"page")
        other.pages["/back"] = Page(status=302, headers={"Location": f"{site.url}/page"})
        client = WebClient(LOOPBACK, authorize=lambda url: "Bearer token")
        with client.get(f"{site.url}/in"):
            pass
        with client.get(f"{site.url}/out"):
            pass
        sent = [(one.path, "Authorization" in one.headers) for one in site.requests]
        assert sent == [("/in", True), ("/page", True), ("/out", True), ("/page", False)]
        assert ["Authorization" in one.headers for one in other.requests] == [False]


def test_no_cookies_are_kept(site: Site, client: WebClient) -> None:
    site.pages["/"] = Page(b"x", headers={"Set-Cookie": "session=1"})
    for _ in range(2):
        with client.get(site.url):
            pass
    assert all("Cookie" not in one.headers for one in site.requests)


def test_what_did_not_change_is_an_answer(site: Site, client: WebClient) -> None:
    site.pages["/"] = Page(b"page")
    with client.get(site.url) as page:
        tag = page.headers["ETag"]
    with client.get(site.url, headers={"If-None-Match": tag}) as page:
        assert page.status == 304


def test_a_server_that_is_not_there_is_one_sentence(client: WebClient) -> None:
    with web_site() as gone:
        url = gone.url
    with pytest.raises(RagcoreError, match="cannot be fetched") as error, client.get(url):
        pass
    assert "\n" not in str(error.value)
    missing = WebClient(LOOPBACK, resolve=_nowhere)
    with pytest.raises(RagcoreError, match="not known"), missing.get("http://nowhere.example/"):
        pass


def _nowhere(host: str, port: int) -> list[str]:
    raise OSError(-2, "Name or service not known")
