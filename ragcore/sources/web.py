"""Web addresses: one page or file, the pages of a site (a crawl), the entries of a feed."""

from __future__ import annotations

import base64
import hashlib
import mimetypes
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from urllib.parse import unquote

import httpx

from ragcore.errors import UnreadableFile, UsageError
from ragcore.extras import require_extra
from ragcore.net import (
    AddressPolicy,
    HttpStatus,
    WebClient,
    WebResponse,
    origin,
    parse_url,
)
from ragcore.settings import Settings
from ragcore.sources.contract import Skipped, Source, SourceContext, SourceItem
from ragcore.sources.copies import own_folder, write_limited
from ragcore.sources.credentials import credentials
from ragcore.sources.web_lists import feed_entries, is_feed
from ragcore.sources.web_page import HTML_TYPES, main_text, page_facts
from ragcore.sources.web_state import Seen, WebState

MOST_PAGE_BYTES = 10 << 20  # of a page whose links and text are looked for
GONE = frozenset({404, 410})
_BUSY = frozenset({429, 503})
_LONGEST_PAUSE = 60.0  # seconds that a busy server may have us wait
_LONGEST_NAME = 120  # characters
_LONGEST_VERSION = 200


def web(url: str, context: SourceContext) -> Source:
    """An http or https address; with the option `crawl`, the site that it is on.

    Raises UsageError for what is no address, and for options that do not go together.
    """
    require_extra("web", "web pages")
    context.check_options("crawl", "depth", "pages")
    site = Web(context.settings)
    at = parse_url(url)
    if context.options.get("crawl", "no") == "yes":
        from ragcore.sources.web_crawl import Crawl

        settings = context.settings
        depth = _number(context, "depth", settings.crawl_depth)
        return Crawl(at, site, depth=depth, pages=_number(context, "pages", settings.crawl_pages))
    if len(context.options) > ("crawl" in context.options):
        raise UsageError("depth and pages are for crawls: add --crawl")
    return WebPage(at, site)


class WebPage:
    """One page or file, or, where the address is a feed's, the pages of its entries."""

    is_folder = False  # entries of a feed lie anywhere; a single page has nothing below it

    def __init__(self, at: httpx.URL, site: Web) -> None:
        self._at, self._site = at, site

    @property
    def location(self) -> str:
        return str(self._at)

    def list(self) -> Iterator[SourceItem | Skipped]:
        with self._site.state(self._at) as state:
            try:
                seen = self._site.look(str(self._at), state)
            except HttpStatus as error:
                if error.status in GONE:
                    raise UsageError(f"there is nothing at {self._at}: {error}") from None
                raise
            if not seen.feed:
                yield self._site.item(seen)
                return
            for url in seen.links:
                try:
                    yield self._site.item(self._site.look(url, state))
                except HttpStatus as error:
                    gone = error.status in GONE
                    yield Skipped(url, str(error), "dropped" if gone else "failed")
                except UnreadableFile as error:
                    yield Skipped(url, str(error), "failed")

    def fetch(self, item: SourceItem, folder: Path, *, most_bytes: int) -> Path:
        return self._site.fetch(item, folder, most_bytes=most_bytes)


@dataclass(frozen=True, slots=True)
class _Body:
    """A page that was received while it was listed, until its document is read."""

    path: Path
    charset: str
    url: str


class Web:
    """What pages, feeds and crawls share: one client, the pace, bodies that were received."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._client = WebClient(AddressPolicy(settings.private_hosts), authorize=self._authorize)
        self._lock = threading.Lock()
        self._bodies: dict[str, _Body] = {}
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    @contextmanager
    def state(self, start: httpx.URL) -> Iterator[WebState]:
        """What earlier runs from an address saw, saved when the listing comes to its end."""
        state = WebState(self._settings.home / "web", str(start))
        yield state
        state.save()

    @contextmanager
    def get(
        self,
        url: str,
        *,
        headers: dict[str, str] | None = None,
        allow: Callable[[httpx.URL], bool] = lambda url: True,
        delay: float = 0.0,
    ) -> Iterator[WebResponse]:
        """As `WebClient.get`, at the pace of the setting and of `delay`.

        A server that is busy is asked a second time.
        """
        wait_for_turn(parse_url(url), max(delay, self._settings.crawl_delay))
        try:
            with self._client.get(url, headers=headers, allow=allow) as answer:
                yield answer
                return
        except HttpStatus as error:
            if error.status not in _BUSY or (error.retry_after or 0) > _LONGEST_PAUSE:
                raise
            time.sleep(error.retry_after or min(1.0, self._settings.crawl_delay))
        with self._client.get(url, headers=headers, allow=allow) as answer:
            yield answer

    def look(
        self,
        url: str,
        state: WebState,
        *,
        allow: Callable[[httpx.URL], bool] = lambda url: True,
        delay: float = 0.0,
    ) -> Seen:
        """What is at an address now; a page that did not change is not sent again.

        Raises what `WebClient.get` raises.
        """
        known = state.get(url)
        headers = known.conditions if known else {}
        with self.get(url, headers=headers, allow=allow, delay=delay) as answer:
            if answer.status != httpx.codes.NOT_MODIFIED:
                seen = self._seen(answer)
                state.put(url, seen)
                return seen
            if known is not None and str(answer.url) == known.url:
                state.put(url, known)
                return known
        state.forget(url)  # it leads elsewhere than before
        return self.look(url, state, allow=allow, delay=delay)

    def item(self, seen: Seen) -> SourceItem:
        return SourceItem(
            seen.location,
            _name(seen.location, seen.media_type),
            seen.size,
            seen.modified_ns,
            seen.version,
        )

    def fetch(self, item: SourceItem, folder: Path, *, most_bytes: int) -> Path:
        """The file at an item's location; of a page, its main text as HTML."""
        path = folder / "content"
        with self._lock:
            body = self._bodies.pop(item.location, None)
        if body is not None:
            data = body.path.read_bytes()
            body.path.unlink()
            return write_limited([main_text(data, body.charset, body.url)], path, most_bytes)
        with self.get(item.location) as answer:
            if answer.media_type not in HTML_TYPES:
                return write_limited(answer.blocks(), path, most_bytes)
            data = answer.read(MOST_PAGE_BYTES)
            text = main_text(data, answer.charset, str(answer.url))
            return write_limited([text], path, most_bytes)

    def _seen(self, answer: WebResponse) -> Seen:
        """What an answer says; the body of a page or feed is read, of other files it is left."""
        found = Seen(
            url=str(answer.url),
            location=str(answer.url),
            media_type=answer.media_type,
            etag=answer.headers.get("ETag", ""),
            modified=answer.headers.get("Last-Modified", ""),
        )
        is_page = answer.media_type in HTML_TYPES
        if not is_page and not answer.media_type.endswith("xml"):
            packed = answer.headers.get("Content-Encoding")
            return replace(found, size=None if packed else answer.size, version=_version(found))
        body = answer.read(MOST_PAGE_BYTES)
        version = _version(found) or hashlib.sha256(body).hexdigest()
        if is_feed(answer.media_type, body):
            links = tuple(feed_entries(body, answer.url))
            return replace(found, version=version, feed=True, links=links)
        if not is_page:
            return replace(found, version=version, size=len(body))
        facts = page_facts(body, answer.charset, answer.url)
        location = found.url
        if facts.canonical and same_site(parse_url(facts.canonical), answer.url):
            location = facts.canonical
        self._keep(location, body, answer)
        links = facts.links if facts.follow else ()
        return replace(found, location=location, version=version, links=links)

    def _keep(self, location: str, body: bytes, answer: WebResponse) -> None:
        with self._lock:
            if self._folder is None:
                self._folder = own_folder(self._settings.home / "fetched")
            path = Path(self._folder.name, hashlib.sha256(location.encode()).hexdigest())
            path.write_bytes(body)
            self._bodies[location] = _Body(path, answer.charset, str(answer.url))

    def _authorize(self, url: httpx.URL) -> str:
        found = credentials(str(url), self._settings)
        if token := found.get("token"):
            return f"Bearer {token}"
        if "user" in found:
            pair = f"{found['user']}:{found.get('password', '')}"
            return f"Basic {base64.b64encode(pair.encode()).decode()}"
        return ""


def same_site(one: httpx.URL, other: httpx.URL) -> bool:
    """Whether two addresses are on the same site: host (with or without www.) and port."""
    if one.port or other.port:
        return origin(one)[1:] == origin(other)[1:]
    return one.host.removeprefix("www.") == other.host.removeprefix("www.")


_turns: dict[tuple[str, int], float] = {}
_turns_lock = threading.Lock()


def wait_for_turn(url: httpx.URL, delay: float) -> None:
    """Wait until `delay` seconds have passed since this process last asked the same server."""
    if delay <= 0:
        return
    server = origin(url)[1:]
    with _turns_lock:
        now = time.monotonic()
        turn = max(now, _turns.get(server, 0.0))
        _turns[server] = turn + delay
    if turn > now:
        time.sleep(turn - now)


def _number(context: SourceContext, name: str, otherwise: int) -> int:
    given = context.options.get(name)
    if given is None:
        return otherwise
    if not given.isascii() or not given.isdigit() or (name == "pages" and int(given) < 1):
        raise UsageError(f"the option {name} is a whole number, not {given!r}")
    return int(given)


def _version(seen: Seen) -> str:
    version = seen.etag or seen.modified
    if len(version) > _LONGEST_VERSION:
        return hashlib.sha256(version.encode()).hexdigest()
    return version


def _name(location: str, media_type: str) -> str:
    """A file name for an address, with a suffix that goes with its type."""
    url = httpx.URL(location)
    last = PurePosixPath(unquote(url.path)).name or "index"
    name = "".join(c if c.isprintable() and c not in '/\\\0:*?"<>|' else "_" for c in last)
    name = name.strip(". ")[-_LONGEST_NAME:] or "index"
    suffix = PurePosixPath(name).suffix.lower()
    if media_type in HTML_TYPES:
        return name if suffix in (".html", ".htm", ".xhtml") else f"{name}.html"
    expected = mimetypes.guess_all_extensions(media_type, strict=False)
    if not expected or suffix in expected or media_type.startswith("text/plain"):
        return name
    return name + (mimetypes.guess_extension(media_type, strict=False) or "")
