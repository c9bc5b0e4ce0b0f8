"""Pages as images, with quotes marked: PDF pages, scans, images, and plain text."""

from __future__ import annotations

import io
import unicodedata
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, Protocol

from ragcore.errors import UnreadableFile, UsageError
from ragcore.types import Box

if TYPE_CHECKING:
    from PIL.Image import Image

_MARK = (255, 228, 80)  # multiplied with the page, so that the letters stay black
_MAX_WIDTH = 4000
_MAX_PIXELS = 24_000_000
_OCR_SCALE = 200 / 72

_Area = tuple[float, float, float, float]  # left, top, right, bottom


class DocumentLike(Protocol):
    """What is needed of a catalog's document."""

    @property
    def path(self) -> str: ...
    @property
    def media_type(self) -> str: ...


class PageLike(Protocol):
    """What is needed of a catalog's page; `start` is its offset in the document's text."""

    @property
    def number(self) -> int: ...
    @property
    def start(self) -> int: ...
    @property
    def ocr(self) -> bool: ...
    @property
    def text(self) -> str: ...


def page_image(
    document: DocumentLike,
    page: PageLike | None,
    *,
    span: tuple[int, int] | None = None,
    width: int = 1000,
    password: str | None = None,
) -> bytes:
    """A page of an ingested document as PNG, `width` pixels wide, the part of `span` on it marked.

    `span` is in the document's text. PDF pages and images are shown as they look; other
    documents as their text. Raises `UnreadableFile` where the file has gone or is locked.
    """
    if not 50 <= width <= _MAX_WIDTH:
        raise UsageError(f"width must be from 50 to {_MAX_WIDTH} pixels")
    path = Path(document.path)
    if document.media_type.startswith("image/"):
        return draw_boxes(_image_png(path, width), _boxes(document, page, span, password))
    if document.media_type == "application/pdf":
        boxes = _boxes(document, page, span, password)
        number = 1 if page is None else page.number
        return render_page(path, number, password=password, width=width, boxes=boxes)
    from ragcore.ingest.text_view import text_image

    text = "" if page is None else page.text
    local = None if page is None or span is None else _local(page, span)
    return text_image(text, span=local, width=width)


def page_boxes(
    document: DocumentLike,
    page: PageLike,
    span: tuple[int, int],
    *,
    password: str | None = None,
) -> list[Box]:
    """Where the part of `span` (in the document's text) stands on a PDF's or image's page.

    One box a line; empty for other types and where the words are not found.
    """
    return _boxes(document, page, span, password)


def _boxes(
    document: DocumentLike,
    page: PageLike | None,
    span: tuple[int, int] | None,
    password: str | None,
) -> list[Box]:
    if page is None or span is None:
        return []
    start, end = _local(page, span)
    quote = page.text[start:end]
    before = len(_squash(page.text[:start])[0])
    path = Path(document.path)
    if document.media_type == "application/pdf":
        return find_boxes(path, page.number, quote, password=password, near=before, ocr=page.ocr)
    if document.media_type.startswith("image/"):
        return _boxes_in_lines(_image_lines(path, _stamp(path)), quote, before)
    return []


def _local(page: PageLike, span: tuple[int, int]) -> tuple[int, int]:
    start = min(max(0, span[0] - page.start), len(page.text))
    return start, min(max(start, span[1] - page.start), len(page.text))


# --- rendering ------------------------------------------------------------------


def render_page(
    path: Path,
    page: int,
    *,
    password: str | None = None,
    width: int = 1000,
    boxes: Sequence[Box] = (),
) -> bytes:
    """Page number `page` (from 1) of a PDF as PNG, `width` pixels wide, with `boxes` marked.

    Raises `UnreadableFile` for a file that is gone, locked or damaged, `UsageError` for a page
    that it does not have.
    """
    with _Opened(path, page, password) as opened:
        across, down = opened.page.get_size()
        scale = (width - 0.5) / max(across, 1.0)  # PDFium rounds sizes up
        # Extremely long pages are made narrower rather than filling the memory.
        scale = min(scale, (_MAX_PIXELS / max(across * down, 1.0)) ** 0.5)
        image = opened.page.render(scale=scale).to_pil().convert("RGB")
    return _png(_marked(image, boxes))


def draw_boxes(png: bytes, boxes: Sequence[Box]) -> bytes:
    """The image `png` with `boxes` marked as with a highlighter; PNG."""
    from PIL import Image

    if not boxes:
        return png
    with Image.open(io.BytesIO(png)) as image:
        return _png(_marked(image.convert("RGB"), boxes))


def _marked(image: Image, boxes: Sequence[Box]) -> Image:
    from PIL import Image as Pillow
    from PIL import ImageChops, ImageDraw

    if not boxes:
        return image
    layer = Pillow.new("RGB", image.size, "white")
    pen = ImageDraw.Draw(layer)
    for box in boxes:
        left, right = box.left * image.width, box.right * image.width
        top, bottom = box.top * image.height, box.bottom * image.height
        pen.rectangle((left - 2, top - 1, right + 2, bottom + 1), fill=_MARK)
    marked = ImageChops.multiply(image, layer)
    # On dark grounds the highlighter does not show: an outline does.
    pen = ImageDraw.Draw(marked)
    for box in boxes:
        area = (
            round(box.left * image.width),
            round(box.top * image.height),
            round(box.right * image.width),
            round(box.bottom * image.height),
        )
        if area[2] > area[0] and area[3] > area[1]:
            gray = image.crop(area).convert("L").resize((1, 1)).getpixel((0, 0))
            if isinstance(gray, int | float) and gray < 110:
                pen.rectangle(area, outline=_MARK, width=3)
    return marked


def _png(image: Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=4)
    return buffer.getvalue()


def _image_png(path: Path, width: int) -> bytes:
    from PIL import Image as Pillow

    from ragcore.readers import load_image

    image = load_image(path, at_least=width)
    if image.width > width or image.width * image.height > _MAX_PIXELS:
        scale = min(width / image.width, (_MAX_PIXELS / (image.width * image.height)) ** 0.5)
        size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
        image = image.resize(size, Pillow.Resampling.BICUBIC, reducing_gap=3.0)
    return _png(image)


class _Opened:
    """One page of a PDF, closed again on exit."""

    def __init__(self, path: Path, number: int, password: str | None) -> None:
        from ragcore.readers import open_pdf

        if not path.is_file():
            raise UnreadableFile(f"the file is not there any more: {path}")
        self.document, _ = open_pdf(path, () if password is None else (password,))
        count = len(self.document)
        if not 1 <= number <= count:
            self.document.close()
            raise UsageError(f"there is no page {number}: the document has {count}")
        self.page: Any = None
        self.number = number

    def __enter__(self) -> _Opened:
        try:
            self.page = self.document[self.number - 1]
        except Exception as error:
            self.document.close()
            raise UnreadableFile(f"page {self.number} is damaged") from error
        return self

    def __exit__(self, *_: object) -> None:
        self.page.close()
        self.document.close()


# --- finding a quote --------------------------------------------------------------


def find_boxes(
    path: Path,
    page: int,
    quote: str,
    *,
    password: str | None = None,
    near: int | None = None,
    ocr: bool = False,
) -> list[Box]:
    """The boxes of `quote` on page number `page` of a PDF, one a line; [] where it is not found.

    Only letters and digits are compared, without case, ligatures, hyphens and spacing. Where the
    quote stands more than once, the place is taken that has about `near` letters and digits
    before it. `ocr` says that the page's text was recognized; it is recognized again then, for
    its boxes. Raises as `render_page`.
    """
    with _Opened(path, page, password) as opened:
        if not ocr:
            found = _text_layer_boxes(opened.page, quote, near)
            if found:
                return found
            if opened.page.get_textpage().count_chars() > 50:
                return []
    lines = _scan_lines(path, _stamp(path), page, password)
    return _boxes_in_lines(lines, quote, near)


def _stamp(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError as error:
        raise UnreadableFile(f"the file is not there any more: {path}") from error


def _squash(text: str) -> tuple[str, list[int]]:
    """Letters and digits of `text` in one form, and the index in `text` of each."""
    shown: list[str] = []
    where: list[int] = []
    for index, character in enumerate(text):
        if character.isascii():
            forms = character.lower()
        else:
            forms = unicodedata.normalize("NFKC", character).casefold()
        for form in forms:
            if form.isalnum():
                shown.append(form)
                where.append(index)
    return "".join(shown), where


def _find(hay: str, quote: str, near: int | None) -> list[tuple[int, int]]:
    """Ranges of `hay` that hold `quote` (both squashed or not): whole, else piece by piece."""
    needle = _squash(quote)[0]
    if not needle:
        return []
    at = _nearest(hay, needle, near)
    if at is not None:
        return [(at, at + len(needle))]
    ranges = []
    place = near
    for piece in _pieces(quote):
        needle = _squash(piece)[0]
        at = _nearest(hay, needle, place) if len(needle) >= 3 else None
        if at is not None:
            ranges.append((at, at + len(needle)))
            place = at + len(needle)
    return ranges


def _pieces(quote: str) -> Iterator[str]:
    """Lines and cells, long ones in runs of six words."""
    for line in quote.replace("\t", "\n").replace(" | ", "\n").split("\n"):
        words = line.split()
        for start in range(0, len(words), 6):
            yield " ".join(words[start : start + 6])


def _nearest(hay: str, needle: str, near: int | None) -> int | None:
    best, at = None, hay.find(needle)
    while at >= 0:
        if near is None:
            return at
        if best is None or abs(at - near) < abs(best - near):
            best = at
        elif at > near:
            break
        at = hay.find(needle, at + 1)
    return best


def _text_layer_boxes(page: Any, quote: str, near: int | None) -> list[Box]:
    from ragcore.readers import TextLayer

    textpage = page.get_textpage()
    try:
        layer = TextLayer(textpage, page)
        hay, where = _squash(layer.text)
        width, height = page.get_size()
        boxes: list[Box] = []
        for start, end in _find(hay, quote, near):
            run: list[_Area] = []
            for position in range(where[start], where[end - 1] + 1):
                box = None if layer.text[position].isspace() else layer.box(position)
                if box is not None:
                    run.append(box)
            boxes += [
                Box(
                    max(0.0, left / width),
                    max(0.0, top / height),
                    min(1.0, right / width),
                    min(1.0, bottom / height),
                )
                for left, top, right, bottom in _merge_lines(run)
            ]
        return boxes
    finally:
        textpage.close()


def _merge_lines(run: Sequence[_Area]) -> list[_Area]:
    """Letter boxes in reading order, joined while they go on along one line.

    On pages that are shown sideways the lines run up or down: letters are then wider than tall.
    """
    if not run:
        return []
    if median((right - left) / max(bottom - top, 0.01) for left, top, right, bottom in run) > 1.2:
        return [_swapped(area) for area in _merge_level([_swapped(area) for area in run])]
    return _merge_level(run)


def _swapped(area: _Area) -> _Area:
    left, top, right, bottom = area
    return top, left, bottom, right


def _merge_level(run: Sequence[_Area]) -> list[_Area]:
    merged: list[_Area] = []
    for left, top, right, bottom in run:
        if merged:
            a, b, c, d = merged[-1]
            shared = min(bottom, d) - max(top, b)
            height = min(bottom - top, d - b)
            gap = max(left - c, a - right)  # sideways lines may run backwards
            if shared > 0.4 * height and gap < 4 * max(height, 1.0):
                merged[-1] = (min(a, left), min(b, top), max(c, right), max(d, bottom))
                continue
        merged.append((left, top, right, bottom))
    return merged


# --- recognized text -----------------------------------------------------------------

_Lines = tuple[tuple[str, Box], ...]


@lru_cache(maxsize=16)
def _scan_lines(path: Path, stamp: int, page: int, password: str | None) -> _Lines:
    """Recognized lines of a PDF page in reading order. `stamp` keeps the cache honest."""
    with _Opened(path, page, password) as opened:
        width, height = opened.page.get_size()
        scale = min(_OCR_SCALE, (16e6 / max(width * height, 1.0)) ** 0.5)
        image = opened.page.render(scale=scale).to_pil().convert("RGB")
    return _recognized_lines(image)


@lru_cache(maxsize=16)
def _image_lines(path: Path, stamp: int) -> _Lines:
    from ragcore.readers import load_for_index

    return _recognized_lines(load_for_index(path).image)


def _recognized_lines(image: Image) -> _Lines:
    from ragcore.readers import ocr

    try:
        blocks = ocr.page_blocks(ocr.recognize(image))
    except ocr.OcrUnavailable:
        return ()
    across, down = image.size
    return tuple(
        (
            line.text,
            Box(line.left / across, line.top / down, line.right / across, line.bottom / down),
        )
        for block in blocks
        for line in block.lines
    )


def _boxes_in_lines(lines: _Lines, quote: str, near: int | None) -> list[Box]:
    """Boxes by line; within a line a part's place follows from its share of the letters."""
    hay = ""
    starts = []
    for text, _ in lines:
        starts.append(len(hay))
        hay += _squash(text)[0]
    boxes = []
    for start, end in _find(hay, quote, near):
        for (_, box), begin, stop in zip(lines, starts, [*starts[1:], len(hay)], strict=True):
            a, b = max(start, begin), min(end, stop)
            if a < b:
                share = (box.right - box.left) / (stop - begin)
                left = box.left + (a - begin) * share
                boxes.append(Box(left, box.top, box.left + (b - begin) * share, box.bottom))
    return boxes
