"""What is in a web page: links, its canonical address, its main text. No connection is opened."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

from ragcore.errors import UsageError
from ragcore.extras import require_extra
from ragcore.net import parse_url

if TYPE_CHECKING:
    import httpx

HTML_TYPES = frozenset({"text/html", "application/xhtml+xml"})
_KEPT_META = frozenset({"author", "description", "keywords", "date"})
_MOST_LINKS = 5000  # of one page


@dataclass(frozen=True, slots=True)
class PageFacts:
    """`links` are absolute, without repetition, in the page's order.

    `canonical` is the address that the page names as its own ("" for none).
    """

    links: tuple[str, ...]
    canonical: str = ""
    follow: bool = True


def page_facts(body: bytes, charset: str, at: httpx.URL) -> PageFacts:
    """What a page at an address says for a crawl."""
    root = _parsed(body, charset)
    if root is None:
        return PageFacts(())
    base = at
    element = root.find(".//base[@href]")
    if element is not None:
        base = _address(element.get("href"), at) or at
    links = dict.fromkeys(str(link) for link in _links(root, base))
    canonical = ""
    for element in root.iter("link"):
        if "canonical" in (element.get("rel") or "").lower().split():
            named = _address(element.get("href"), base)
            canonical = str(named) if named is not None else ""
            break
    robots = " ".join(
        (meta.get("content") or "").lower()
        for meta in root.iter("meta")
        if (meta.get("name") or "").lower() in ("robots", "ragcore")
    )
    follow = not re.search(r"\b(nofollow|none)\b", robots)
    return PageFacts(tuple(links)[:_MOST_LINKS], canonical, follow)


def main_text(body: bytes, charset: str, url: str) -> bytes:
    """The page's main text as a small HTML page with its title and description, in UTF-8.

    Navigation, footers and advertisements are left out. A page in which they
    cannot be distinguished is returned as it is.
    """
    require_extra("web", "web pages")
    import trafilatura

    text = _decoded(body, charset)
    extracted = trafilatura.extract(
        body if text is None else text,
        url=url,
        output_format="html",
        include_comments=False,
        include_tables=True,
    )
    # One block without headings is what remains where no part of the page stood out.
    if not extracted or (extracted.count("<p>") < 2 and "<h" not in extracted[6:]):
        return body if text is None else text.encode()
    root = _parsed(body, charset)
    inner = extracted[extracted.find("<body>") + 6 : extracted.rfind("</body>")]
    return f"<!doctype html>\n<html>{_head(root)}\n<body>{inner}</body></html>\n".encode()


def _head(root: Any) -> str:
    lines = ['<head><meta charset="utf-8">']
    if root is not None:
        title = root.find(".//title")
        if title is not None:
            lines.append(f"<title>{escape(' '.join(title.text_content().split()))}</title>")
        for meta in root.iter("meta"):
            name = (meta.get("name") or meta.get("property") or "").lower()
            if name in _KEPT_META and meta.get("content"):
                lines.append(f'<meta name="{name}" content="{escape(meta.get("content"))}">')
    return "\n".join([*lines, "</head>"])


def _decoded(body: bytes, charset: str) -> str | None:
    """The text by the charset that the server names; None where the page itself has to say."""
    try:
        return body.decode(charset) if charset else None
    except (LookupError, UnicodeDecodeError):
        return None


def _parsed(body: bytes, charset: str) -> Any:
    from lxml import etree, html

    text = _decoded(body, charset)
    parser = html.HTMLParser(no_network=True, encoding=None if text is None else "utf-8")
    try:
        return html.document_fromstring(body if text is None else text.encode(), parser=parser)
    except (etree.ParserError, etree.XMLSyntaxError, ValueError):
        return None


def _links(root: Any, base: httpx.URL) -> Iterator[httpx.URL]:
    for element in root.iter("a", "area"):
        if "nofollow" in (element.get("rel") or "").lower().split():
            continue
        if (link := _address(element.get("href"), base)) is not None:
            yield link


def _address(text: str | None, base: httpx.URL) -> httpx.URL | None:
    """An absolute address; None for what is none, such as `mailto:` and scripts."""
    text = re.sub(r"[\t\r\n]", "", text or "").strip()
    if not text:
        return None
    try:
        return parse_url(text.replace(" ", "%20"), base=base)
    except UsageError:
        return None
