"""A crawl: the pages of a site by its links and sitemaps, as its robots.txt allows."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from pathlib import Path

import httpx

from ragcore import extensions
from ragcore.errors import RagcoreError, UnreadableFile, UsageError
from ragcore.net import AGENT, HttpStatus, RedirectRefused, parse_url
from ragcore.sources.contract import Skipped, SourceItem
from ragcore.sources.web import GONE, MOST_PAGE_BYTES, Web, same_site
from ragcore.sources.web_lists import Robots, sitemap_entries
from ragcore.sources.web_page import HTML_TYPES
from ragcore.sources.web_state import Seen, WebState

_MOST_SITEMAPS = 50
_MOST_SITEMAP_BYTES = 50 << 20
_MOST_FAILURES = 5  # in a row, after which the site counts as down
_LONGEST_DELAY = 60.0  # seconds that robots.txt may ask for


class Crawl:
    """The pages and files of one site, from a first page on, breadth first."""

    def __init__(self, start: httpx.URL, site: Web, *, depth: int, pages: int) -> None:
        """`depth` links are followed in a row, `pages` items listed at most."""
        self._start, self._site = start, site
        self._depth, self._pages = depth, pages
        self._delay = 0.0

    @property
    def location(self) -> str:
        """The whole site: pages lie beside and above the first one."""
        return f"{self._start.scheme}://{self._start.netloc.decode('ascii')}"

    def list(self) -> Iterator[SourceItem | Skipped]:
        with self._site.state(self._start) as state:
            robots = self._robots()
            if not robots.allows(self._start):
                raise UsageError(f"the robots.txt of {self.location} does not allow {self._start}")
            yield from self._walk(robots, state)

    def fetch(self, item: SourceItem, folder: Path, *, most_bytes: int) -> Path:
        return self._site.fetch(item, folder, most_bytes=most_bytes)

    def _walk(self, robots: Robots, state: WebState) -> Iterator[SourceItem | Skipped]:
        queue = _Queue(self._depth)
        queue.add([str(self._start)], 0)
        for named in self._sitemaps(robots) if self._depth else ():
            if isinstance(named, Skipped):
                yield named
            else:
                queue.add([named], 1)
        listed: set[str] = set()
        failures = 0
        while (entry := queue.next()) is not None:
            url, depth = entry
            if len(listed) >= self._pages:
                yield Skipped(
                    self.location,
                    f"the limit of {self._pages} pages is reached, {len(queue) + 1} or more are "
                    "left: --pages N or the setting crawl_pages raises it",
                )
                return
            if not robots.allows(parse_url(url)):
                yield Skipped(url, "robots.txt does not allow it")
                continue
            found = self._look(url, state, first=not depth)
            failed = isinstance(found, Skipped) and found.kind == "failed"
            failures = failures + 1 if failed else 0
            if isinstance(found, Skipped):
                yield found
                if failures >= _MOST_FAILURES:
                    raise RagcoreError(
                        f"{failures} pages of {self.location} failed one after another: "
                        f"{found.reason}"
                    )
                continue
            queue.add(filter(self._is_ours, found.links), depth + 1)
            yield from self._listed(url, found, listed)
        if queue.too_far:
            yield Skipped(
                f"{self.location}/",
                f"{len(queue.too_far)} pages are more than {self._depth} links away: --depth N or "
                "the setting crawl_depth raises it",
                "dropped",
            )

    def _listed(self, url: str, found: Seen, listed: set[str]) -> Iterator[SourceItem | Skipped]:
        """What becomes of one answer."""
        if found.location in listed:
            if found.location != found.url:
                reason = f"a copy of {found.location}, by its own words"
                yield Skipped(url, reason, "dropped")
        elif found.feed or not _is_read(found.media_type):
            kind = "a feed" if found.feed else found.media_type or "of no type"
            yield Skipped(url, f"{kind}, which no reader reads", "dropped")
        else:
            listed.add(found.location)
            yield self._site.item(found)

    def _look(self, url: str, state: WebState, *, first: bool) -> Seen | Skipped:
        """One answer. Raises for the first page what is one line for others."""
        try:
            return self._site.look(url, state, allow=self._is_near, delay=self._delay)
        except RedirectRefused as error:
            if first:
                raise UsageError(f"{url}: {error}: name that address") from None
            return Skipped(url, f"{error}: it is on another site", "dropped")
        except HttpStatus as error:
            gone = error.status in GONE
            if first:
                if gone:
                    raise UsageError(f"there is nothing at {url}: {error}") from None
                raise
            return Skipped(url, str(error), "dropped" if gone else "failed")
        except RagcoreError as error:
            if first:
                raise
            return Skipped(url, str(error), "failed")

    def _robots(self) -> Robots:
        """The site's rules. Raises RagcoreError where they cannot be had: then nothing is."""
        try:
            with self._site.get(f"{self.location}/robots.txt") as answer:
                text = answer.read(MOST_PAGE_BYTES).decode("utf-8", "replace")
        except HttpStatus as error:
            if error.status >= 500 or error.status == 429:
                raise RagcoreError(f"the rules of the site cannot be had: {error}") from None
            text = ""
        except UnreadableFile:  # a redirect into nothing: RFC 9309 counts it as absent
            text = ""
        robots = Robots(text, AGENT)
        self._delay = min(robots.delay, _LONGEST_DELAY)
        return robots

    def _sitemaps(self, robots: Robots) -> Iterator[str | Skipped]:
        """The addresses in the sitemaps of robots.txt, else in /sitemap.xml."""
        announced = [one for one in robots.sitemaps if self._is_ours(one)]
        waiting = deque(announced or [f"{self.location}/sitemap.xml"])
        seen: set[str] = set()
        while waiting and len(seen) < _MOST_SITEMAPS:
            url = waiting.popleft()
            if url in seen:
                continue
            seen.add(url)
            try:
                with self._site.get(url, allow=self._is_near, delay=self._delay) as answer:
                    body = answer.read(_MOST_SITEMAP_BYTES)
                    if answer.media_type in HTML_TYPES:
                        continue
                    found, further = sitemap_entries(body, answer.url)
            except RagcoreError as error:
                if announced:
                    yield Skipped(url, f"a sitemap: {error}", "dropped")
                continue
            yield from filter(self._is_ours, found)
            waiting += filter(self._is_ours, further)
        if waiting:
            yield Skipped(
                waiting[0], f"only {_MOST_SITEMAPS} sitemaps of a site are read", "dropped"
            )

    def _is_near(self, url: httpx.URL) -> bool:
        return same_site(url, self._start)

    def _is_ours(self, url: str) -> bool:
        try:
            return same_site(parse_url(url), self._start)
        except UsageError:
            return False


class _Queue:
    """Addresses to look at, each once, the nearest first."""

    def __init__(self, depth: int) -> None:
        self._depth = depth
        self._waiting: deque[tuple[str, int]] = deque()
        self._added: set[str] = set()
        self._too_far: set[str] = set()

    @property
    def too_far(self) -> set[str]:
        return self._too_far - self._added

    def add(self, urls: Iterator[str] | list[str], depth: int) -> None:
        for url in urls:
            if depth > self._depth:
                self._too_far.add(url)
            elif url not in self._added:
                self._added.add(url)
                self._waiting.append((url, depth))

    def next(self) -> tuple[str, int] | None:
        return self._waiting.popleft() if self._waiting else None

    def __len__(self) -> int:
        return len(self._waiting)


def _is_read(media_type: str) -> bool:
    """Whether a reader of this installation takes files of that type."""
    if media_type in HTML_TYPES or media_type.startswith("text/"):
        return True
    return any(
        media_type in reader.media_types for reader in extensions.load_all("readers").values()
    )
