"""PDF, read by PDFium: text, outline, metadata, page labels and images."""

from __future__ import annotations

import logging
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ragcore.errors import UnreadableFile
from ragcore.readers import layout, ocr, pdf_images
from ragcore.readers.clean import PageBuilder, one_line
from ragcore.readers.contract import InputFile
from ragcore.readers.coverage import CoverageBuilder
from ragcore.readers.layout import Block
from ragcore.readers.options import ReadOptions
from ragcore.readers.pdf_facts import Facts, attached_names, has_notes, read_facts
from ragcore.readers.pdf_limits import check_streams, is_cut_off
from ragcore.readers.pdf_text import TextLayer, page_lines
from ragcore.types import Page, ReadDocument, ReadImage

_OCR_DPI = 200
_RUBBISH = 0.3  # share of a text layer's characters with no meaning that makes it useless
_MARGIN = 0.12  # of the page's height, above and below: where running headers stand


@dataclass(slots=True)
class _PageTask:
    """What is known of a page before headers are removed and headings found."""

    number: int
    blocks: list[Block]
    width: float
    height: float
    ocr: bool = False
    unread: str = ""  # why the page, or the rest of it, is not in `blocks`
    bare: bool = False  # nothing is drawn on it
    rubbish: bool = False  # its text is codes without a meaning


def read(file: InputFile, options: ReadOptions) -> ReadDocument:
    """One `Page` a page; scans are recognized, embedded images kept with their page.

    Raises `UnreadableFile` for locked, cut off and damaged files.
    """
    damaged = check_streams(file.path, max_megapixels=options.max_megapixels)
    document, _ = open_pdf(file.path, options.passwords)
    coverage = CoverageBuilder()
    try:
        facts = read_facts(document)
        works: list[_PageTask] = []
        images: list[pdf_images.EmbeddedImage] = []
        count = len(document)
        if count == 0:
            raise UnreadableFile("the PDF has no pages")
        for index in range(min(count, options.max_pages)):
            work, found = _read_page(document, index, options, coverage)
            works.append(work)
            images += found
        if count > options.max_pages:
            why = f"only the first {options.max_pages:,} of {count:,} pages are read"
            coverage.skip("page", why, range(options.max_pages + 1, count + 1))
        for name in attached_names(document):
            coverage.skip("attachment", "files attached to a PDF are not read", name)
        outline = _outline(document)
    finally:
        document.close()
    _count_pages(works, coverage, damaged=damaged, cut_off=is_cut_off(file.path))
    _remove_running_lines(works)
    pages = _pages(works, outline, facts.labels)
    described = pdf_images.describe(images, pages, options=options, coverage=coverage)
    title = _largest_line(works) or _first_heading(pages)
    return _document(file.media_type, facts, title, pages, described, coverage)


def _document(
    media_type: str,
    facts: Facts,
    title: str,
    pages: tuple[Page, ...],
    images: tuple[ReadImage, ...],
    coverage: CoverageBuilder,
) -> ReadDocument:
    empty = not any(page.text for page in pages) and not images
    return ReadDocument(
        media_type=media_type,
        title=facts.title or title,
        pages=pages,
        images=images,
        paged=True,
        metadata=facts.metadata,
        warnings=("no text was found in it",) if empty else (),
        coverage=coverage.done(),
    )


def _count_pages(
    works: list[_PageTask], coverage: CoverageBuilder, *, damaged: int, cut_off: bool
) -> None:
    """What became of each page.

    Of a damaged file, pages with nothing on them are not taken for blank ones.
    """
    for work in works:
        why = work.unread
        if work.bare and not why and (damaged or cut_off):
            why = "nothing of its content can be found: the file is damaged or cut off"
        if work.rubbish and not why:
            why = "its fonts do not say what their letters are, and none were recognized"
        if why:
            partial = bool(work.blocks) and not work.rubbish
            coverage.skip("page", why, work.number, partial=partial, ocr=int(work.ocr))
        else:
            coverage.read("page", ocr=int(work.ocr))
        tables = sum(any(layout.CELL_GAP in x.text for x in block.lines) for block in work.blocks)
        coverage.read("table", tables)
    if cut_off:
        coverage.skip("text", "the file's end is missing: pages may be missing too", partial=True)
    elif damaged:
        why = f"{damaged} streams of the file are damaged: words may be missing"
        coverage.skip("text", why, partial=True)


def open_pdf(path: Path, passwords: tuple[str, ...] = ()) -> tuple[Any, str | None]:
    """An open `pypdfium2.PdfDocument` and the password that opened it (None where none is needed).

    Raises `UnreadableFile`.
    """
    import pypdfium2

    locked = False
    for password in (None, *passwords):
        try:
            return pypdfium2.PdfDocument(path, password=password), password
        except pypdfium2.PdfiumError as error:
            if "password" not in str(error).lower():
                if "security" in str(error).lower():
                    raise UnreadableFile("locked in a way that is not supported") from error
                raise UnreadableFile("the PDF is cut off or damaged") from error
            locked = True
    if locked and passwords:
        raise UnreadableFile("locked: the password does not fit")
    raise UnreadableFile("locked: give --password")


def _read_page(
    document: Any, index: int, options: ReadOptions, coverage: CoverageBuilder
) -> tuple[_PageTask, list[pdf_images.EmbeddedImage]]:
    number = index + 1
    try:
        page = document[index]
    except Exception:
        return _PageTask(number, [], 1, 1, unread="the page is damaged"), []
    try:
        width, height = page.get_size()
        work = _PageTask(number, [], max(width, 1.0), max(height, 1.0))
        textpage = page.get_textpage()
        try:
            layer = TextLayer(textpage, page, upright=True)
            work.blocks = layout.blocks(page_lines(layer))
            text = layer.text
        finally:
            textpage.close()
        work.bare = not text.strip() and next(iter(page.get_objects(max_depth=1)), None) is None
        found = pdf_images.find(page, number, options=options, coverage=coverage)
        if has_notes(page):
            coverage.skip("text", "filled form fields and notes of a PDF are not read", number)
        needed = options.ocr != "always" and _needs_ocr(page, text)
        if options.ocr == "always" or (options.ocr == "auto" and needed):
            _recognize(page, work, options)
        elif needed:
            work.unread = "its text is an image, and text recognition is off (setting ocr)"
        work.rubbish = not work.ocr and _is_rubbish(text)
        if work.ocr and sum(len(line.text) for b in work.blocks for line in b.lines) > 100:
            scans = [image for image in found if image.covers >= 0.6]
            coverage.ignore("image", len(scans))
            found = [image for image in found if image.covers < 0.6]
        return work, found
    except Exception as error:
        reason = " ".join(str(error).split())[:80]
        return _PageTask(number, [], 1, 1, unread=f"the page is damaged: {reason}"), []
    finally:
        page.close()


def _needs_ocr(page: Any, text: str) -> bool:
    """Whether a page shows text that its text layer does not contain.

    That is so for scans (no text beside an image), for letters drawn as shapes, and for fonts
    without a character map, which give rubbish.
    """
    import pypdfium2.raw as raw

    if _is_rubbish(text):
        return True
    visible = [c for c in text if not c.isspace()]
    if len(visible) >= 40:
        return False
    width, height = page.get_size()
    covered, shapes = 0.0, 0
    for item in page.get_objects(max_depth=4):
        if item.type == raw.FPDF_PAGEOBJ_IMAGE:
            left, bottom, right, top = item.get_bounds()
            covered += max(0.0, right - left) * max(0.0, top - bottom)
        elif item.type == raw.FPDF_PAGEOBJ_TEXT and not visible:
            return True
        else:
            shapes += 1
        if covered > 0.25 * width * height or shapes > 150:
            return True
    return False


def _is_rubbish(text: str) -> bool:
    """Whether a text layer's codes stand for no letters."""
    visible = [c for c in text if not c.isspace()]
    rubbish = sum(c == "\ufffd" or "\ue000" <= c <= "\uf8ff" or c < " " for c in visible)
    return rubbish > _RUBBISH * len(visible)


def _recognize(page: Any, work: _PageTask, options: ReadOptions) -> None:
    # Never more than some 16 megapixels, however large the page claims to be.
    scale = min(_OCR_DPI / 72, (16e6 / (work.width * work.height)) ** 0.5)
    try:
        image = page.render(scale=scale, may_draw_forms=False).to_pil().convert("RGB")
        found = ocr.recognize(image, threads=options.threads)
    except ocr.OcrUnavailable as error:
        work.unread = f"its text is an image: {error}"
        return
    except Exception as error:
        work.unread = f"text recognition failed: {' '.join(str(error).split())[:80]}"
        return
    if sum(len(r.text) for r in found) > sum(len(x.text) for b in work.blocks for x in b.lines):
        work.blocks = ocr.page_blocks(found)
        work.width, work.height = image.size
        work.ocr = True


# --- running headers and footers ----------------------------------------------


def _remove_running_lines(works: list[_PageTask]) -> None:
    """Drops the first and last lines of pages that only repeat from page to page.

    A line counts as running where it stands in the top or bottom margin and the same words,
    page numbers aside, stand there on at least three pages and a third of the neighbours.
    """
    if len(works) < 4:
        return
    seen: Counter[tuple[str, int, str]] = Counter()
    spots: list[list[tuple[Block, tuple[str, int, str]]]] = []
    for work in works:
        here = []
        for block in work.blocks:
            key = _running_key(block, work)
            if key is not None:
                here.append((block, key))
        spots.append(here)
        seen.update({key for _, key in here})
    for work, here in zip(works, spots, strict=True):
        running = {
            id(block)
            for block, key in here
            if seen[key] >= (max(3, len(works) // 3) if key[2] == "#" else 3)
        }
        blocks = [block for block in work.blocks if id(block) not in running]
        if blocks:  # a page of nothing but such lines is kept as it is
            work.blocks = blocks


def _running_key(block: Block, work: _PageTask) -> tuple[str, int, str] | None:
    if len(block.lines) > 2:
        return None
    if block.bottom < _MARGIN * work.height:
        where = "top"
    elif block.top > (1 - _MARGIN) * work.height:
        where = "bottom"
    else:
        return None
    text = " ".join(line.text for line in block.lines)
    if len(text) > 120:
        return None
    text = re.sub(r"\d+|\b[ivxlc]+\b", "#", one_line(text).lower())
    return where, round(block.top / work.height * 50), text


# --- headings and pages ---------------------------------------------------------


def _outline(document: Any) -> dict[int, list[tuple[int, str]]]:
    """Page number to the (level, title) entries of the outline on it."""
    found: dict[int, list[tuple[int, str]]] = {}
    try:
        for count, entry in enumerate(document.get_toc(max_depth=6)):
            if count > 20_000:
                break
            target = entry.get_dest()
            index = None if target is None else target.get_index()
            title = one_line(entry.get_title() or "")
            if index is not None and title:
                found.setdefault(index + 1, []).append((entry.level + 1, title))
    except Exception:  # damaged outlines are common and cost only headings
        logging.getLogger(__name__).debug("outline not read", exc_info=True)
    return found


def _pages(
    works: list[_PageTask], outline: dict[int, list[tuple[int, str]]], labels: list[str]
) -> tuple[Page, ...]:
    sizes: Counter[float] = Counter()
    for work in works:
        if not work.ocr:
            for block in work.blocks:
                for line in block.lines:
                    sizes[round(line.size, 1)] += len(line.text)
    body = sizes.most_common(1)[0][0] if sizes else 0.0
    larger = sorted({s for s, n in sizes.items() if s > 1.12 * body and n < 0.2 * sizes.total()})
    levels = {size: min(6, rank + 1) for rank, size in enumerate(reversed(_merged(larger)))}
    texts = {w.number: [_block_text(b, w) for b in w.blocks] for w in works}
    known = layout.words_of("\n".join("\n".join(blocks) for blocks in texts.values()))
    pages = []
    for work in works:
        builder = PageBuilder()
        entries = {_key(title): level for level, title in outline.get(work.number, [])}
        for block, text in zip(work.blocks, texts[work.number], strict=True):
            text = layout.join_words(text, known)
            level = 0 if work.ocr else _heading_level(block, text, body, levels, entries, outline)
            if level:
                builder.heading(text, level)
            else:
                builder.add(text)
        label = labels[work.number - 1] if work.number <= len(labels) else None
        pages.append(builder.page(work.number, label=label or None, ocr=work.ocr))
    return tuple(pages)


def _merged(sizes: list[float]) -> list[float]:
    """Sizes that differ by under 5 % count as one (the largest of them)."""
    edges: list[float] = []
    for size in sizes:
        if edges and size < 1.05 * edges[-1]:
            edges[-1] = size
        else:
            edges.append(size)
    return edges


def _block_text(block: Block, work: _PageTask) -> str:
    text = layout.block_text(block)
    if work.ocr:
        text = ocr.mark_breaks(text)
    return text


def _key(title: str) -> str:
    return re.sub(r"[\W\d_]+", "", title.lower())


def _heading_level(
    block: Block,
    text: str,
    body: float,
    levels: dict[float, int],
    entries: dict[str, int],
    outline: dict[int, list[tuple[int, str]]],
) -> int:
    """1-6 for a heading, 0 for anything else."""
    if len(block.lines) > 3 or len(text) > 160:
        return 0
    key = _key(text)
    if len(key) < 2:
        return 0
    if key in entries:
        return min(6, entries[key])
    if (
        outline or layout.CELL_GAP in text
    ):  # where the file says what its headings are, sizes are not asked
        return 0
    if block.size > 1.12 * body and not text.endswith((".", ",", ";")):
        return next((levels[s] for s in sorted(levels) if block.size <= s * 1.001 + 0.05), 1)
    numbered = re.match(r"(\d+(?:\.\d+)*)\.?\s+[A-Z]", text)
    bold = all(line.bold for line in block.lines)
    listed = re.search(r"\s\d{1,4}$", text)  # a line of a table of contents
    one = bold and len(block.lines) == 1 and not listed
    if one and (numbered or len(text) < 80) and text[-1] not in ".,;:":
        return min(6, len(levels) + 1 + (numbered.group(1).count(".") if numbered else 0))
    return 0


def _largest_line(works: list[_PageTask]) -> str:
    """The text in the largest letters on the first page, where it looks like a title."""
    if not works or works[0].ocr:
        return ""
    blocks = [b for b in works[0].blocks if sum(len(line.text) for line in b.lines) > 3]
    if len(blocks) < 2:
        return ""
    largest = max(blocks, key=lambda block: block.size)
    others = [b.size for b in blocks if b.size < largest.size / 1.15]
    text = one_line(layout.join_words(" ".join(x.text for x in largest.lines), set()))
    fits = len(largest.lines) <= 4 and len(text) <= 200 and any(c.isalpha() for c in text)
    return text if others and fits else ""


def _first_heading(pages: tuple[Page, ...]) -> str:
    for page in pages[:2]:
        if page.headings:
            return min(page.headings, key=lambda heading: (heading[1], heading[0]))[2][:300]
    return ""
