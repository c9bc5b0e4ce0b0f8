"""Lists of addresses that web sites publish: robots.txt, sitemaps, RSS and Atom feeds."""

from __future__ import annotations

import gzip
import io
import zlib
from typing import TYPE_CHECKING, Any

from ragcore.errors import UnreadableFile, UsageError
from ragcore.extras import require_extra
from ragcore.net import parse_url

if TYPE_CHECKING:
    import httpx

FEED_TYPES = frozenset({"application/rss+xml", "application/atom+xml", "application/rdf+xml"})
_XML_TYPES = frozenset({"application/xml", "text/xml"})
_FEED_ROOTS = (b"<rss", b"<feed", b"<rdf:rdf")
_MOST_BYTES = 50 << 20  # of one sitemap, as the protocol allows


class Robots:
    """What a site's robots.txt allows; an empty one allows everything."""

    def __init__(self, text: str, agent: str) -> None:
        require_extra("web", "web pages")
        from protego import Protego

        self._rules = Protego.parse(text)
        self._agent = agent

    def allows(self, url: httpx.URL) -> bool:
        return bool(self._rules.can_fetch(str(url), self._agent))

    @property
    def delay(self) -> float:
        """Seconds that it asks for between two requests."""
        return float(self._rules.crawl_delay(self._agent) or 0)

    @property
    def sitemaps(self) -> list[str]:
        return list(self._rules.sitemaps)


def is_feed(media_type: str, body: bytes) -> bool:
    """Whether an answer is a feed, by its type or its first element."""
    if media_type in FEED_TYPES:
        return True
    return media_type in _XML_TYPES and any(root in body[:1000].lower() for root in _FEED_ROOTS)


def feed_entries(body: bytes, at: httpx.URL) -> list[str]:
    """The addresses of a feed's entries. Raises UnreadableFile for what is no feed."""
    require_extra("web", "web pages")
    import feedparser

    # Text goes in as a stream: an address or file name would be opened.
    found: Any = feedparser.parse(io.BytesIO(body), sanitize_html=False)
    if not found.get("version") and not found.entries:
        raise UnreadableFile(f"{at} is no RSS or Atom feed")
    return _absolute([entry.get("link") or "" for entry in found.entries], at)


def sitemap_entries(body: bytes, at: httpx.URL) -> tuple[list[str], list[str]]:
    """(addresses of pages, addresses of further sitemaps) of a sitemap in XML or plain text.

    Raises UnreadableFile for what is none.
    """
    if body.startswith(b"\x1f\x8b"):
        body = _unpacked(body, at)
    if not body.lstrip().startswith(b"<"):
        return _absolute(body.decode("utf-8", "replace").splitlines(), at), []
    from lxml import etree

    parser = etree.XMLParser(resolve_entities=False, no_network=True, recover=False)
    try:
        root = etree.fromstring(body.lstrip(), parser)
    except (etree.XMLSyntaxError, ValueError) as error:
        raise UnreadableFile(f"the sitemap {at} is damaged: {error}") from None
    found = _absolute([entry.findtext("{*}loc") or "" for entry in root], at)
    return ([], found) if etree.QName(root).localname == "sitemapindex" else (found, [])


def _absolute(texts: list[str], base: httpx.URL) -> list[str]:
    found = []
    for text in texts:
        try:
            if text.strip():
                found.append(str(parse_url(text, base=base)))
        except UsageError:
            continue
    return list(dict.fromkeys(found))


def _unpacked(body: bytes, at: httpx.URL) -> bytes:
    try:
        with gzip.open(io.BytesIO(body)) as stream:
            unpacked = stream.read(_MOST_BYTES + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise UnreadableFile(f"the sitemap {at} is damaged: {error}") from None
    if len(unpacked) > _MOST_BYTES:
        raise UnreadableFile(f"the sitemap {at} is larger than {_MOST_BYTES >> 20} MiB")
    return unpacked
