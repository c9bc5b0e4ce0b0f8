"""Word documents (DOCX): paragraphs, headings, lists, tables, notes and images."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from ragcore.errors import UnreadableFile
from ragcore.readers import container
from ragcore.readers.clean import PageBuilder, one_line
from ragcore.readers.contract import InputFile
from ragcore.readers.coverage import CoverageBuilder
from ragcore.readers.images import describe_all
from ragcore.readers.options import ReadOptions
from ragcore.types import PartKind, ReadDocument

_W = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
_MC = "{http://schemas.openxmlformats.org/markup-compatibility/2006}"
_VML_IMAGE = "{urn:schemas-microsoft-com:vml}imagedata"
_CHART = "{http://schemas.openxmlformats.org/drawingml/2006/chart}chart"
_DIAGRAM = "{http://schemas.openxmlformats.org/drawingml/2006/diagram}relIds"
_OLE = "{urn:schemas-microsoft-com:office:office}OLEObject"
_A_BLIP = "{http://schemas.openxmlformats.org/drawingml/2006/main}blip"
_R = "{http://schemas.openxmlformats.org/officeDocument/2006/relationships}"
_DOC_PR = "{http://schemas.openxmlformats.org/drawingml/2006/wordprocessingDrawing}docPr"
_HEADING = re.compile(r"heading\s*(\d)", re.I)
# Alternatives repeat their content for old programs; deleted text is not text; text boxes are
# read on their own, after the paragraph that anchors them.
_SKIPPED = frozenset({_MC + "Fallback", _W + "del", _W + "moveFrom", _W + "instrText"})


def read(file: InputFile, options: ReadOptions) -> ReadDocument:
    """One page: where a page ends is up to the program that prints the document."""
    import docx

    container.check_members(file.path, options)
    try:
        document = docx.Document(str(file.path))
    except Exception as error:
        raise UnreadableFile("the Word document is damaged") from error
    builder = PageBuilder()
    coverage = CoverageBuilder()
    coverage.read("page")
    body = _Body(document, builder)
    body.read(document.element.body)
    coverage.read("table", body.tables)
    _add_notes(document, builder, coverage)
    _count_the_rest(document.element.body, coverage)
    found = _images(document, coverage) if options.max_images else iter(())
    images = describe_all(found, options=options, coverage=coverage)
    page = builder.page(1)
    if not page.text and not images:
        raise UnreadableFile("the document holds no text")
    properties = document.core_properties
    title = one_line(properties.title or "")
    if not title and page.headings:
        title = min(page.headings, key=lambda heading: (heading[1], heading[0]))[2]
    return ReadDocument(
        media_type=file.media_type,
        title=title[:300],
        pages=(page,),
        images=images,
        metadata=properties_of(properties),
        coverage=coverage.done(),
    )


def properties_of(properties: Any) -> dict[str, Any]:
    """Author, dates and the like from an Office file's core properties."""
    found: dict[str, Any] = {}
    for key in ("author", "subject", "keywords", "language"):
        try:
            value = one_line(str(getattr(properties, key) or ""))
        except Exception:  # a malformed property is as good as none
            continue
        if value and value not in {"python-docx", "openpyxl"}:
            found[key] = value[:500]
    for key in ("created", "modified"):
        try:
            value = getattr(properties, key)
        except Exception:
            continue
        if value is not None:
            found[key] = value.isoformat()
    return found


class _Body:
    """Walks a body's paragraphs and tables in order."""

    def __init__(self, document: Any, builder: PageBuilder) -> None:
        self.builder = builder
        self.levels = _style_levels(document)
        self.listed = False
        self.tables = 0

    def read(self, body: Any) -> None:
        for child in body.iterchildren():
            if child.tag == _W + "p":
                self.paragraph(child)
            elif child.tag == _W + "tbl":
                self.table(child)
                self.listed = False
            elif child.tag == _W + "sdt":  # content controls: tables of contents, forms
                for content in child.iterchildren(_W + "sdtContent"):
                    self.read(content)
            elif child.tag in (_W + "ins", _W + "moveTo", _W + "customXml", _W + "smartTag"):
                self.read(child)

    def paragraph(self, paragraph: Any) -> None:
        text = paragraph_text(paragraph)
        level, numbered = self.role(paragraph)
        if text.strip():
            if level:
                self.builder.heading(text, level)
            else:
                mark = "- " if numbered else ""
                self.builder.add(mark + text.strip(), tight=numbered and self.listed)
            self.listed = numbered and not level
        for box in paragraph.iter(_W + "txbxContent"):
            if not _inside(box, _MC + "Fallback"):
                self.read(box)

    def role(self, paragraph: Any) -> tuple[int, bool]:
        """Heading level (0: none) and whether the paragraph is a list item."""
        properties = paragraph.find(_W + "pPr")
        if properties is None:
            return 0, False
        style = properties.find(_W + "pStyle")
        name = style.get(_W + "val") if style is not None else ""
        level = self.levels.get(name or "", 0)
        outline = properties.find(_W + "outlineLvl")
        if outline is not None and (outline.get(_W + "val") or "9").isdigit():
            own = int(outline.get(_W + "val") or 9)
            level = own + 1 if own < 6 else level
        numbered = properties.find(_W + "numPr") is not None or "list" in (name or "").lower()
        return level, numbered

    def table(self, table: Any) -> None:
        rows = [list(_row_cells(row)) for row in table.iterchildren(_W + "tr")]
        if rows and max(len(row) for row in rows) == 1:  # a frame around text
            for row in table.iterchildren(_W + "tr"):
                for cell in row.iterchildren(_W + "tc"):
                    self.read(cell)
        else:
            self.tables += 1
            self.builder.rows(rows)


def _row_cells(row: Any) -> Iterator[str]:
    for cell in row.iterchildren(_W + "tc"):
        merge = cell.find(f"{_W}tcPr/{_W}vMerge")
        if merge is not None and merge.get(_W + "val") != "restart":
            yield ""
            continue
        texts = [paragraph_text(p) for p in cell.iter(_W + "p")]
        yield " ".join(text for text in texts if text)


def paragraph_text(paragraph: Any) -> str:
    """The paragraph's own text; without its text boxes, deletions and field codes."""
    parts: list[str] = []
    stack = list(reversed(list(paragraph)))
    while stack:
        element = stack.pop()
        tag = element.tag
        if tag in _SKIPPED or tag == _W + "txbxContent" or not isinstance(tag, str):
            continue
        if tag == _W + "t":
            parts.append(element.text or "")
        elif tag == _W + "tab":
            parts.append("\t" if _inside(element, _W + "r") else "")
        elif tag in (_W + "br", _W + "cr"):
            parts.append("\n")
        elif tag == _W + "noBreakHyphen":
            parts.append("-")
        else:
            stack.extend(reversed(list(element)))
    return "".join(parts)


def _inside(element: Any, tag: str) -> bool:
    return next(element.iterancestors(tag), None) is not None


def _style_levels(document: Any) -> dict[str, int]:
    """Style id to heading level, by the style's name or outline level, base styles included."""
    levels: dict[str, int] = {}
    bases: dict[str, str] = {}
    for style in document.styles.element.iterchildren(_W + "style"):
        key = style.get(_W + "styleId") or ""
        name = style.find(_W + "name")
        title = (name.get(_W + "val") or "") if name is not None else ""
        match = _HEADING.fullmatch(title.strip())
        outline = style.find(f"{_W}pPr/{_W}outlineLvl")
        if title.lower() == "title":
            levels[key] = 1
        elif match:
            levels[key] = min(6, max(1, int(match.group(1))))
        elif outline is not None and (outline.get(_W + "val") or "9") in "012345":
            levels[key] = int(outline.get(_W + "val")) + 1
        base = style.find(_W + "basedOn")
        if base is not None:
            bases[key] = base.get(_W + "val") or ""
    for key in bases:
        base, steps = key, 0
        while base in bases and base not in levels and steps < 20:
            base, steps = bases[base], steps + 1
        if base in levels:
            levels.setdefault(key, levels[base])
    return levels


def _add_notes(document: Any, builder: PageBuilder, coverage: CoverageBuilder) -> None:
    """Footnotes and endnotes, at the end."""
    from lxml import etree

    for relation in document.part.rels.values():
        if relation.is_external or not relation.reltype.endswith(("/footnotes", "/endnotes")):
            continue
        try:
            parser = etree.XMLParser(resolve_entities=False, no_network=True)
            root = etree.fromstring(relation.target_part.blob, parser)
        except etree.XMLSyntaxError:
            coverage.skip("text", "its notes are damaged")
            continue
        for note in root.iterchildren():
            if note.get(_W + "type") in {"separator", "continuationSeparator"}:
                continue
            texts = [paragraph_text(p).strip() for p in note.iter(_W + "p")]
            builder.add(" ".join(text for text in texts if text))


def _count_the_rest(body: Any, coverage: CoverageBuilder) -> None:
    """What is not read: charts, diagrams, embedded objects, parts in other formats."""
    kinds: tuple[tuple[str, PartKind, str], ...] = (
        (_CHART, "image", "a chart, whose numbers are not read"),
        (_DIAGRAM, "image", "a diagram, whose text is not read"),
        (_OLE, "attachment", "an embedded object, which is not read"),
        (_W + "altChunk", "text", "an embedded document, which is not read"),
    )
    for tag, part, why in kinds:
        count = sum(1 for one in body.iter(tag) if not _inside(one, _MC + "Fallback"))
        if count:
            coverage.skip(part, why, count=count)


def _images(document: Any, coverage: CoverageBuilder) -> Iterator[tuple[bytes, int, str]]:
    parts = document.part.related_parts
    for image in document.element.body.iter(_A_BLIP, _VML_IMAGE):
        vml = image.tag == _VML_IMAGE
        if vml and (_inside(image, _MC + "Fallback") or _inside(image, _W + "object")):
            continue  # the same image for old programs, or an embedded object's icon
        part = parts.get(image.get(_R + ("id" if vml else "embed")) or "")
        if part is None:
            coverage.skip("image", "it is linked or missing: the file does not hold it")
            continue
        if str(part.partname).lower().endswith((".emf", ".wmf", ".svg")):
            coverage.skip("image", "a vector drawing (EMF, WMF or SVG), which is not read")
            continue
        caption = ""
        for ancestor in image.iterancestors():
            described = ancestor.find(_DOC_PR)
            if described is not None:
                caption = one_line(described.get("descr") or "")
                break
        yield part.blob, 1, caption[:300]
