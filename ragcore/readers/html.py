"""HTML: the text that a reader would see, with its headings, lists and tables."""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass, field
from typing import Any

from ragcore.errors import UnreadableFile
from ragcore.readers.clean import PageBuilder, decode, one_line
from ragcore.readers.contract import InputFile
from ragcore.readers.coverage import CoverageBuilder
from ragcore.readers.options import ReadOptions
from ragcore.types import ReadDocument, ReadImage

_DROPPED_TAGS = """
script style template noscript head iframe object embed svg math canvas audio video nav
select button input textarea dialog map
"""
_BLOCK_TAGS = """
address article aside blockquote body center dd details div dl dt fieldset figcaption figure
footer form header hgroup hr html legend main menu ol p section summary ul caption
"""
_DROPPED = frozenset(_DROPPED_TAGS.split())
_BLOCKS = frozenset(_BLOCK_TAGS.split())
_STRUCK = {"s", "del", "strike"}  # what is struck out does not hold any more: it stays marked
_HEADINGS = {f"h{level}": level for level in range(1, 7)}
_INVISIBLE = re.compile(r"display\s*:\s*none|visibility\s*:\s*hidden|font-size\s*:\s*0(?!\.)", re.I)
_DATA_URI = re.compile(r"data:image/(?:png|jpe?g|webp|gif);base64,", re.I)


@dataclass(slots=True)
class HtmlText:
    """What `read_markup` found: the text as a page builder, and what the head says."""

    page: PageBuilder
    title: str = ""
    metadata: dict[str, Any] = field(default_factory=dict)
    embedded_images: list[tuple[bytes, str]] = field(
        default_factory=list
    )  # encoded bytes, alt text
    linked_images: list[tuple[str, str]] = field(default_factory=list)  # addresses, alt text
    tables: int = 0
    damaged_images: int = 0  # embedded as data that cannot be decoded


def read(file: InputFile, options: ReadOptions) -> ReadDocument:
    """One page; images are those embedded as data addresses."""
    found = read_markup(file.read_bytes())
    if not len(found.page) and not found.embedded_images:
        raise UnreadableFile("the page holds no text")
    coverage = CoverageBuilder()
    coverage.read("page")
    images = embedded_images(found, options, coverage)
    return ReadDocument(
        media_type=file.media_type,
        title=found.title,
        pages=(found.page.page(1),),
        images=images,
        metadata=found.metadata,
        coverage=coverage.done(),
    )


def embedded_images(
    found: HtmlText, options: ReadOptions, coverage: CoverageBuilder
) -> tuple[ReadImage, ...]:
    """The images of a page that are embedded in it; tables and linked images are counted."""
    from ragcore.readers.images import describe_all

    coverage.read("table", found.tables)
    coverage.ignore("image", len(found.linked_images))
    if found.damaged_images:
        coverage.skip("image", "its data is damaged", count=found.damaged_images)
    items = ((data, 1, alt) for data, alt in found.embedded_images)
    return describe_all(items, options=options, coverage=coverage)


def read_markup(data: bytes | str) -> HtmlText:
    """The visible text of an HTML page or fragment, headings and tables kept.

    Scripts, styles, comments, navigation and hidden elements are dropped. Nothing is fetched.
    """
    from lxml import etree, html

    text = data if isinstance(data, str) else decode_html(data)
    # An XML declaration in a str is refused by lxml, and NULs end the parse early.
    text = re.sub(r"^\s*<\?xml[^>]*\?>", "", text, count=1).replace("\0", "")
    found = HtmlText(PageBuilder())
    if not text.strip():
        return found
    parser = html.HTMLParser(
        remove_comments=True, remove_pis=True, no_network=True, huge_tree=True, encoding="utf-8"
    )
    try:
        root = html.document_fromstring(text.encode("utf-8", "replace"), parser=parser)
    except (etree.ParserError, etree.XMLSyntaxError, ValueError):
        root = None
    if root is None or any("depth" in entry.message for entry in parser.error_log):
        found.page.add(_without_tags(text))
        return found
    _read_head(root, found)
    _Walker(found).walk(root)
    return found


def _without_tags(text: str) -> str:
    """The words of a page that is nested too deeply, or too broken, for the parser."""
    from html import unescape

    text = re.sub(r"(?is)<(script|style|template)\b.*?(?:</\1\s*>|\Z)|<!--.*?(?:-->|\Z)", " ", text)
    text = re.sub(r"(?i)<(?:br|/p|/div|/h[1-6]|/li|/tr)\b[^<>]*>", "\n", text)
    return _lines(unescape(re.sub(r"<[^<>]*>", " ", text)))


def decode_html(data: bytes) -> str:
    """As `decode`, but a charset declared in the page wins over guessing."""
    declared = re.search(rb"charset\s*=\s*[\"']?\s*([\w-]+)", data[:4096], re.I)
    if declared and not data.startswith((b"\xff\xfe", b"\xfe\xff", b"\xef\xbb\xbf")):
        name = declared.group(1).decode("ascii")
        name = "cp1252" if name.lower() in {"iso-8859-1", "latin-1", "latin1"} else name
        try:
            return data.decode(name)
        except (LookupError, UnicodeDecodeError):
            pass
    return decode(data)


def _read_head(root: Any, found: HtmlText) -> None:
    title = root.find(".//title")
    if title is not None:
        found.title = one_line(title.text_content())
    language = root.get("lang") or root.get("{http://www.w3.org/XML/1998/namespace}lang")
    if language:
        found.metadata["language"] = language[:35]
    for meta in root.iter("meta"):
        name = (meta.get("name") or meta.get("property") or "").lower()
        content = one_line(meta.get("content") or "")
        if content and name in {"author", "description", "keywords", "date"}:
            found.metadata[name] = content[:1000]


class _Walker:
    """One pass over the tree, without recursion: pages can be nested thousands deep."""

    def __init__(self, found: HtmlText) -> None:
        self.found = found
        self.inline: list[str] = []  # of the block being collected
        self.prefix = ""  # a list mark before the next block
        self.tight = False
        self.preformatted = 0
        self.heading = 0
        self.table: list[list[str]] | None = None
        self.table_depth = 0

    def walk(self, root: Any) -> None:
        stack: list[tuple[Any, bool]] = [(root, False)]
        while stack:
            element, leaving = stack.pop()
            if leaving:
                self.leave(element.tag)
                self.text(element.tail)
                continue
            if not isinstance(element.tag, str) or self.hidden(element):
                self.text(element.tail)
                continue
            self.enter(element)
            self.text(element.text)
            stack.append((element, True))
            stack.extend((child, False) for child in reversed(element))
        self.flush()
        self.end_table(force=True)

    @staticmethod
    def hidden(element: Any) -> bool:
        if element.tag in _DROPPED:
            return True
        style = element.get("style")
        return element.get("hidden") is not None or bool(style and _INVISIBLE.search(style))

    def text(self, text: str | None) -> None:
        if text:
            self.inline.append(text if self.preformatted else re.sub(r"\s+", " ", text))

    def enter(self, element: Any) -> None:
        tag = element.tag
        if tag == "br":
            self.inline.append("\n")
        elif tag in _STRUCK:
            self.inline.append("~~")
        elif tag == "img":
            self.image(element)
        elif tag in _HEADINGS:
            self.flush()
            self.heading = _HEADINGS[tag]
        elif tag == "pre":
            self.flush()
            self.preformatted += 1
        elif tag == "li":
            self.flush()
            self.prefix = "- "
        elif tag == "table":
            self.flush()
            self.table_depth += 1
            if self.table is None:
                self.table = []
        elif tag == "tr" and self.table is not None and self.table_depth == 1:
            self.table.append([])
        elif tag in {"td", "th"} or tag in _BLOCKS:
            self.break_block()

    def leave(self, tag: str) -> None:
        if tag in _HEADINGS:
            self.flush()
            self.heading = 0
        elif tag in _STRUCK:
            self.inline.append("~~")
        elif tag == "pre":
            self.flush()
            self.preformatted = max(0, self.preformatted - 1)
        elif tag in {"td", "th"} and self.table is not None and self.table_depth == 1:
            if not self.table:
                self.table.append([])
            self.table[-1].append("".join(self.inline))
            self.inline = []
        elif tag == "table":
            self.table_depth -= 1
            self.end_table()
        elif tag == "li":
            self.flush()
            self.prefix = ""
        elif tag in {"ul", "ol"}:
            self.flush()
            self.tight = False
        elif tag in _BLOCKS or tag == "tr":
            self.break_block()

    def break_block(self) -> None:
        if self.table is None:
            self.flush()
        else:
            self.inline.append(" ")

    def end_table(self, *, force: bool = False) -> None:
        if self.table is None or (self.table_depth > 0 and not force):
            return
        rows, self.table = self.table, None
        self.table_depth = 0
        rest = "".join(self.inline)
        self.inline = []
        if sum(1 for row in rows if row) and max(len(row) for row in rows) == 1:
            for row in rows:  # a table for layout only
                for cell in row:
                    self.found.page.add(_lines(cell))
        else:
            self.found.tables += 1
            self.found.page.rows(rows)
        if rest.strip():
            self.found.page.add(_lines(rest))

    def flush(self) -> None:
        if self.table is not None:
            self.inline.append(" ")
            return
        joined = "".join(self.inline)
        self.inline = []
        text = joined.strip("\n") if self.preformatted else _lines(joined)
        if not text.strip():
            return
        if self.heading:
            self.found.page.heading(text, self.heading)
            self.tight = False
        else:
            listed = bool(self.prefix)
            self.found.page.add(self.prefix + text, tight=listed and self.tight)
            self.tight = listed
        self.prefix = ""

    def image(self, element: Any) -> None:
        alt = one_line(element.get("alt") or "")
        source = element.get("src") or ""
        match = _DATA_URI.match(source)
        if match:
            try:
                data = base64.b64decode(source[match.end() :], validate=False)
            except (binascii.Error, ValueError):
                self.found.damaged_images += 1
                return
            self.found.embedded_images.append((data, alt))
        elif source:
            self.found.linked_images.append((source, alt))


def _lines(text: str) -> str:
    return "\n".join(" ".join(line.split()) for line in text.split("\n")).strip()
