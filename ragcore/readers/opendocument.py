"""OpenDocument files (ODT, ODS, ODP): text, tables, notes and images."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator
from typing import Any

from ragcore.errors import UnreadableFile
from ragcore.readers import container
from ragcore.readers.clean import PageBuilder, one_line
from ragcore.readers.contract import InputFile
from ragcore.readers.coverage import CoverageBuilder
from ragcore.readers.images import describe_all
from ragcore.readers.options import ReadOptions
from ragcore.readers.spreadsheet import MAX_COLUMNS, add_rows
from ragcore.types import Page, ReadDocument

_NAMES = "urn:oasis:names:tc:opendocument:xmlns:"
_OFFICE, _TEXT, _TABLE = (
    f"{{{_NAMES}office:1.0}}",
    f"{{{_NAMES}text:1.0}}",
    f"{{{_NAMES}table:1.0}}",
)
_DRAW, _SHOW = f"{{{_NAMES}drawing:1.0}}", f"{{{_NAMES}presentation:1.0}}"
_SVG = f"{{{_NAMES}svg-compatible:1.0}}"
_HREF = "{http://www.w3.org/1999/xlink}href"
_PROPERTIES = {
    "{http://purl.org/dc/elements/1.1/}title": "title",
    "{http://purl.org/dc/elements/1.1/}creator": "author",
    "{http://purl.org/dc/elements/1.1/}subject": "subject",
    "{http://purl.org/dc/elements/1.1/}language": "language",
    f"{{{_NAMES}meta:1.0}}creation-date": "created",
    f"{{{_NAMES}meta:1.0}}keyword": "keywords",
}
# Comments and deleted text are not the document's; the others are read where they are met.
_SKIPPED = frozenset(
    {
        f"{_OFFICE}annotation", f"{_OFFICE}forms", f"{_OFFICE}event-listeners",
        f"{_OFFICE}scripts", f"{_TEXT}tracked-changes", f"{_TEXT}sequence-decls",
        f"{_SVG}title", f"{_SVG}desc",
    }
)  # fmt: skip
_ROWS = frozenset(f"{_TABLE}table-{name}" for name in ("rows", "header-rows", "row-group"))
_RASTER = (".png", ".jpg", ".jpeg", ".gif", ".bmp", ".tif", ".tiff", ".webp")
_MOST_SPACES = 100  # of one run
_DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, KeyError)


def read(file: InputFile, options: ReadOptions) -> ReadDocument:
    """A text is one page; a page a sheet or slide in the others."""
    container.check_members(file.path, options)
    coverage = CoverageBuilder()
    with zipfile.ZipFile(file.path) as archive:
        if b"encryption-data" in _member(archive, "META-INF/manifest.xml", required=False):
            raise UnreadableFile("locked: its parts are encrypted; save it without a password")
        body = _parsed(_member(archive, "content.xml")).find(f"{_OFFICE}body")
        content = next((part for part in body if isinstance(part.tag, str)), None)
        if content is None:
            raise UnreadableFile("the document holds no text")
        reading = _Reading(coverage, options)
        reading.read(content)
        items = list(_images(archive, reading.images, coverage)) if options.max_images else []
        properties = _properties(_member(archive, "meta.xml", required=False))
    images = describe_all(items, options=options, coverage=coverage)
    if not images and not any(page.text.strip() for page in reading.pages):
        raise UnreadableFile("the document holds no text")
    headings = [one for page in reading.pages for one in page.headings]
    title = properties.pop("title", "") or (headings[0][2] if headings else "")
    return ReadDocument(
        media_type=file.media_type,
        title=title[:300],
        pages=tuple(reading.pages),
        images=images,
        paged=reading.paged,
        metadata=properties,
        coverage=coverage.done(),
    )


def _member(archive: zipfile.ZipFile, name: str, *, required: bool = True) -> bytes:
    try:
        return archive.read(name)
    except _DAMAGED as error:
        if not required:
            return b""
        raise UnreadableFile("the document is damaged: its content cannot be unpacked") from error


def _parsed(data: bytes) -> Any:
    from lxml import etree

    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False)
    try:
        root = etree.fromstring(data, parser)
    except etree.XMLSyntaxError as error:
        raise UnreadableFile("the document is damaged: its content is no XML") from error
    if root.getroottree().docinfo.internalDTD is not None:
        raise UnreadableFile("it defines entities of its own, as no document does: refused")
    return root


def _properties(data: bytes) -> dict[str, str]:
    found: dict[str, str] = {}
    if data:
        for element in _parsed(data).iter(*_PROPERTIES):
            text = one_line(element.text or "")[:500]
            name = _PROPERTIES[element.tag]
            if text:
                found[name] = f"{found[name]}, {text}"[:500] if name in found else text
    return found


class _Reading:
    """Walks a document's content, without recursion where it can be deep."""

    def __init__(self, coverage: CoverageBuilder, options: ReadOptions) -> None:
        self.coverage = coverage
        self.pages: list[Page] = []
        self.images: list[tuple[str, int, str]] = []  # name in the archive, page, caption
        self.paged = False
        self._left = options.max_characters
        self._max_pages = options.max_pages
        self._builder = PageBuilder()

    def read(self, content: Any) -> None:
        kind = content.tag.removeprefix(_OFFICE)
        if kind == "spreadsheet":
            self.paged = True
            for sheet in content.iterchildren(f"{_TABLE}table"):
                self._sheet(sheet)
        elif kind in ("presentation", "drawing"):
            self.paged = True
            for slide in content.iterchildren(f"{_DRAW}page"):
                self._slide(slide)
        else:
            self._blocks(content)
            if len(self._builder) > self._left:
                why = "the document is very large"
                self.coverage.skip("page", f"{why}: its end is not kept", 1, partial=True)
            else:
                self.coverage.read("page")
            self._end_page(None)

    @property
    def number(self) -> int:
        return len(self.pages) + 1

    def _end_page(self, label: str | None) -> None:
        page = self._builder.page(self.number, label=(label or "")[:50] or None)
        self._left = max(0, self._left - len(page.text))
        self.pages.append(page)
        self._builder = PageBuilder()

    def _sheet(self, sheet: Any) -> None:
        name = one_line(sheet.get(f"{_TABLE}name") or "")
        if self.number > self._max_pages:
            self.coverage.skip("sheet", f"only the first {self._max_pages} are read", name)
            return
        self._builder.heading(name, 1)
        problems = add_rows(self._builder, _rows(sheet), self._left)
        if problems:
            self.coverage.skip("sheet", "; ".join(problems), name, partial=True)
        else:
            self.coverage.read("sheet")
        for frame in _frames(sheet):
            self._frame(frame)
        self._end_page(name)

    def _slide(self, slide: Any) -> None:
        if self.number > self._max_pages:
            self.coverage.skip("page", f"only the first {self._max_pages} slides are read")
            return
        titles = [
            frame
            for frame in slide.iterchildren(f"{_DRAW}frame")
            if frame.get(f"{_SHOW}class") == "title"
        ]
        for frame in titles:
            self._builder.heading(" ".join(_inline(p) for p in frame.iter(f"{_TEXT}p")), 1)
        heading = self._builder.page(1).headings
        for part in slide:
            if part not in titles:
                self._blocks(part, itself=True)
        self.coverage.read("page")
        self._end_page(heading[0][2] if heading else slide.get(f"{_DRAW}name"))

    def _blocks(self, root: Any, *, itself: bool = False) -> None:
        """Paragraphs, headings, lists and tables below an element, in order."""
        stack = [root] if itself else list(reversed(root))
        listed = False
        while stack and len(self._builder) <= self._left:
            element = stack.pop()
            tag = element.tag
            if not isinstance(tag, str) or tag in _SKIPPED:
                continue
            if tag == f"{_TEXT}h":
                level = element.get(f"{_TEXT}outline-level") or "1"
                self._builder.heading(
                    _inline(element), min(6, int(level)) if level.isdigit() else 1
                )
                listed = False
            elif tag == f"{_TEXT}p":
                text = _inline(element).strip()
                item = element.getparent().tag == f"{_TEXT}list-item"
                first = item and element.getprevious() is None
                if text:
                    self._builder.add(f"- {text}" if first else text, tight=first and listed)
                    listed = item
                stack.extend(reversed(list(_frames(element))))
            elif tag == f"{_TABLE}table":
                self._builder.rows(list(_rows(element)))
                self.coverage.read("table")
                stack.extend(reversed(list(_frames(element))))
                listed = False
            elif tag == f"{_DRAW}frame":
                self._frame(element)
                stack.extend(reversed(list(element.iterchildren(f"{_DRAW}text-box"))))
            else:
                stack.extend(reversed(element))

    def _frame(self, frame: Any) -> None:
        """What a frame shows that is no text: an image, or something that is not read."""
        if frame.find(f"{_DRAW}object") is not None:
            self.coverage.skip("image", "a chart or formula, which is not read")
            return
        # Several images in a frame are the same one in several formats: the first one counts.
        image = frame.find(f"{_DRAW}image")
        if image is not None:
            texts = (frame.findtext(f"{_SVG}title"), frame.findtext(f"{_SVG}desc"))
            caption = one_line(": ".join(text for text in texts if text))
            self.images.append((image.get(_HREF) or "", self.number, caption[:300]))


def _frames(root: Any) -> Iterator[Any]:
    """The frames in an element, without those that are in another one of it."""
    stack = list(reversed(root))
    while stack:
        element = stack.pop()
        if element.tag == f"{_DRAW}frame":
            yield element
        elif element.tag not in _SKIPPED:
            stack.extend(reversed(element))


def _inline(paragraph: Any) -> str:
    """A paragraph's text; footnotes in parentheses, without comments and what is in frames."""
    parts: list[str] = []
    stack: list[Any] = [paragraph]
    while stack:
        element = stack.pop()
        if isinstance(element, str):
            parts.append(element)
            continue
        if element is not paragraph:
            stack.append(element.tail or "")
        tag = element.tag
        if not isinstance(tag, str) or tag in _SKIPPED or tag in (
            f"{_DRAW}frame", f"{_TEXT}note-citation"
        ):  # fmt: skip
            continue
        if tag == f"{_TEXT}s":
            count = element.get(f"{_TEXT}c") or "1"
            parts.append(" " * min(_MOST_SPACES, int(count) if count.isdigit() else 1))
        elif tag == f"{_TEXT}tab":
            parts.append("\t")
        elif tag == f"{_TEXT}line-break":
            parts.append("\n")
        elif tag == f"{_TEXT}note":
            parts.append(" (")
            stack.append(")")
            stack.extend(reversed(element))
        else:
            stack.extend(reversed(element))
            stack.append(element.text or "")
    return "".join(parts)


def _rows(table: Any) -> Iterator[list[str]]:
    """A table's rows; those that are repeated are repeated, unless they are empty."""
    stack = list(reversed(table))
    while stack:
        element = stack.pop()
        if element.tag in _ROWS:
            stack.extend(reversed(element))
        elif element.tag == f"{_TABLE}table-row":
            cells = _cells(element)
            repeated = _count(element.get(f"{_TABLE}number-rows-repeated"))
            for _ in range(repeated if any(cells) else 1):
                yield cells


def _cells(row: Any) -> list[str]:
    cells: list[str] = []
    for cell in row:
        if cell.tag not in (f"{_TABLE}table-cell", f"{_TABLE}covered-table-cell"):
            continue
        text = " ".join(filter(None, (_inline(p).strip() for p in cell.iter(f"{_TEXT}p"))))
        text = text or cell.get(f"{_OFFICE}value") or cell.get(f"{_OFFICE}date-value") or ""
        # One more than is kept, so that what follows is known to be left out.
        room = MAX_COLUMNS + 1 - len(cells)
        cells += [text] * min(max(0, room), _count(cell.get(f"{_TABLE}number-columns-repeated")))
    while cells and not cells[-1]:
        cells.pop()
    return cells


def _count(value: str | None) -> int:
    return max(1, int(value)) if value and value.isdigit() and len(value) < 10 else 1


def _images(
    archive: zipfile.ZipFile, found: list[tuple[str, int, str]], coverage: CoverageBuilder
) -> Iterator[tuple[bytes, int, str]]:
    for address, page, caption in found:
        name = address.removeprefix("./")
        if not name.lower().endswith(_RASTER):
            coverage.skip("image", "it is linked, or a drawing (SVM, WMF, SVG)", page, count=1)
            continue
        try:
            yield archive.read(name), page, caption
        except _DAMAGED:
            coverage.skip("image", "it is missing or damaged in the file", page, count=1)
