"""Images inside PDF pages."""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from typing import Any

from ragcore.readers import images
from ragcore.readers.coverage import CoverageBuilder
from ragcore.readers.options import ReadOptions
from ragcore.types import Page, ReadImage

_PER_PAGE = 40  # more on one page are slices or symbols
_CAPTION = re.compile(r"^(?:fig(?:ure|\.)|abb(?:ildung|\.)|image|photo|chart|diagram)\s*\d", re.I)


@dataclass(frozen=True, slots=True)
class EmbeddedImage:
    """An embedded image: encoded bytes, and the share of the page that it covers (0-1)."""

    page: int
    data: bytes
    covers: float


def find(
    page: Any, number: int, *, options: ReadOptions, coverage: CoverageBuilder
) -> list[EmbeddedImage]:
    """The images on a pypdfium2 page that are more than decoration; the others are counted."""
    import pypdfium2.raw as raw

    if options.max_images == 0:
        return []
    width, height = page.get_size()
    found: list[EmbeddedImage] = []
    objects = page.get_objects(filter=[raw.FPDF_PAGEOBJ_IMAGE], max_depth=5)
    for count, item in enumerate(objects):
        if count >= _PER_PAGE:
            why = f"only the first {_PER_PAGE} images of a page are looked at"
            coverage.skip("image", why, number, count=1)
            continue
        try:
            across, down = item.get_px_size()
            left, bottom, right, top = item.get_bounds()
            covers = max(0.0, right - left) * max(0.0, top - bottom) / max(width * height, 1.0)
            if not images.worth_keeping(across, down) or covers < 0.002:
                coverage.ignore("image")
            elif across * down > options.max_megapixels * 1_000_000:
                why = f"larger than {options.max_megapixels} megapixels (setting max_megapixels)"
                coverage.skip("image", why, number, count=1)
            else:
                found.append(EmbeddedImage(number, _encoded(item), min(1.0, covers)))
        except Exception:  # one damaged image is no reason to lose the page
            coverage.skip("image", "it is damaged", number, count=1)
    return found


def _encoded(item: Any) -> bytes:
    """JPEG bytes as they stand where the image is plain JPEG, else PNG of its pixels."""
    if item.get_filters() == ["DCTDecode"]:
        buffer = io.BytesIO()
        item.extract(buffer)
        if buffer.getvalue().startswith(b"\xff\xd8\xff"):
            return buffer.getvalue()
    bitmap = item.get_bitmap(render=False)
    image = bitmap.to_pil()
    buffer = io.BytesIO()
    if image.mode not in {"L", "RGB", "1"}:
        image = image.convert("RGB")
    image.save(buffer, "PNG", compress_level=3)
    return buffer.getvalue()


def describe(
    found: list[EmbeddedImage],
    pages: tuple[Page, ...],
    *,
    options: ReadOptions,
    coverage: CoverageBuilder,
) -> tuple[ReadImage, ...]:
    """Image records; where a page has one image and one figure caption, they go together."""
    captions = {page.number: _captions(page.text) for page in pages}
    per_page: dict[int, int] = {}
    for image in found:
        per_page[image.page] = per_page.get(image.page, 0) + 1

    def caption(image: EmbeddedImage) -> str:
        lines = captions.get(image.page, [])
        return lines[0] if len(lines) == 1 and per_page[image.page] == 1 else ""

    return images.describe_all(
        ((image.data, image.page, caption(image)) for image in found),
        options=options,
        coverage=coverage,
    )


def _captions(text: str) -> list[str]:
    return [part[:300] for part in text.split("\n\n") if _CAPTION.match(part)]
