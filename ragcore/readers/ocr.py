"""Text recognition (PP-OCR models through rapidocr, which carries them; works offline).

One engine a process, created when the first scan turns up. It runs on OpenVINO where that is
installed (the detector is then several times faster), else on ONNX Runtime.
"""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass, replace
from importlib.util import find_spec
from statistics import median
from typing import TYPE_CHECKING, Any

from ragcore.errors import RagcoreError
from ragcore.extras import install_hint, missing_modules
from ragcore.readers import layout
from ragcore.readers.clean import PageBuilder
from ragcore.readers.layout import Line

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image

    from ragcore.readers.options import ReadOptions

_PAGE_SIDE = 1280  # pixels of the longer side at which a page is searched for lines
_IMAGE_SIDE = 640
_MIN_SCORE = 0.6
_IMAGE_SCORE = 0.75  # textures give low-scored letters; writing scores above 0.9
_LARGEST = 2400  # longer side from which letters are cut out: more adds nothing
_SMALLEST = 480
_lock = threading.RLock()
_engine: Any = None


class OcrUnavailable(RagcoreError):
    """The recognition engine is not installed or does not start."""


@dataclass(frozen=True, slots=True)
class Recognized:
    """A line of recognized text with its box in pixels of the given image, and its score (0-1)."""

    text: str
    left: float
    top: float
    right: float
    bottom: float
    score: float


def _get_engine(threads: int) -> Any:
    global _engine
    with _lock:
        if _engine is None:
            if missing_modules("ocr"):
                hint = install_hint("ocr")
                raise OcrUnavailable(f"text recognition is not installed: {hint}")
            try:
                from rapidocr import EngineType, RapidOCR

                kind = "openvino" if find_spec("openvino") else "onnxruntime"
                _engine = RapidOCR(
                    params={
                        "Det.engine_type": EngineType(kind),
                        "Rec.engine_type": EngineType(kind),
                        "EngineConfig.onnxruntime.intra_op_num_threads": threads,
                        "EngineConfig.onnxruntime.inter_op_num_threads": 1,
                        "EngineConfig.openvino.inference_num_threads": threads,
                        "Global.log_level": "error",
                        "Global.max_side_len": 100_000,  # sizes are settled here, see `recognize`
                        "Det.limit_type": "max",
                    }
                )
            except Exception as error:
                raise OcrUnavailable(f"text recognition does not start: {error}") from error
    return _engine


def recognize(
    image: Image,
    *,
    threads: int = 1,
    min_score: float = _MIN_SCORE,
    search_side: int = _PAGE_SIDE,
) -> list[Recognized]:
    """The lines of text in an RGB image, in no particular order.

    Lines are searched for at `search_side` pixels of the longer side, and read at full size.
    Raises `OcrUnavailable`.
    """
    import numpy as np
    from PIL import Image as Pillow

    scale = min(1.0, _LARGEST / max(image.size))
    if max(image.size) < _SMALLEST:
        scale = _SMALLEST / max(image.size)
    size = (max(8, round(image.width * scale)), max(8, round(image.height * scale)))
    scaled = image.convert("RGB")
    if size != image.size:
        scaled = scaled.resize(size, Pillow.Resampling.BICUBIC)
    pixels: NDArray[np.uint8] = np.ascontiguousarray(np.asarray(scaled)[:, :, ::-1])
    engine = _get_engine(max(1, threads))
    with _lock:
        engine._load_det_model().limit_side_len = search_side
        result = engine(pixels, use_det=True, use_cls=False, use_rec=True)
    if result is None or getattr(result, "txts", None) is None:
        return []
    across, down = image.width / size[0], image.height / size[1]
    found = []
    for box, text, score in zip(result.boxes, result.txts, result.scores, strict=True):
        if score >= min_score and text.strip():
            (left, top), (right, bottom) = box.min(axis=0), box.max(axis=0)
            found.append(
                Recognized(
                    text,
                    float(left) * across,
                    float(top) * down,
                    float(right) * across,
                    float(bottom) * down,
                    float(score),
                )
            )
    return found


def page_blocks(found: list[Recognized]) -> list[layout.Block]:
    """Recognized lines in reading order, as paragraphs."""
    lines = [
        # Detection boxes stand wider than the letters: the letter height is about 0.75 of it.
        Line(r.text, r.left, r.top, r.right, r.bottom, size=0.75 * (r.bottom - r.top))
        for r in found
    ]
    return layout.blocks(_even_sizes(layout.reading_order(lines)))


def _even_sizes(lines: list[Line]) -> list[Line]:
    """Box heights vary with the letters in a line; sizes within 25 % of the median become it."""
    if not lines:
        return lines
    usual = median(line.size for line in lines)
    return [
        replace(line, size=usual) if abs(line.size - usual) < 0.25 * usual else line
        for line in lines
    ]


def blocks_text(blocks: list[layout.Block]) -> str:
    """The text of recognized blocks: paragraphs, broken words joined."""
    builder = PageBuilder()
    texts = [layout.block_text(block) for block in blocks]
    known = layout.words_of(" ".join(texts))
    for text in texts:
        builder.add(layout.join_words(mark_breaks(text), known))
    return builder.page(1).text


def mark_breaks(text: str) -> str:
    """Hyphens before a line end or a run-on become U+FFFE, the mark of a broken word."""
    return re.sub(r"(?<=[^\W\d_])-[ \n](?=[^\W\d_])", "\ufffe", text)


def text_in_image(image: Image, *, options: ReadOptions) -> str:
    """The text in an image, "" where there is none or `options.ocr` is "off".

    Most photographs hold no text and recognition is slow: with "auto" a small network
    (`ragcore.readers.text_gate`) decides first whether there is anything like writing.
    Raises `OcrUnavailable`.
    """
    if options.ocr == "off" or min(image.size) < 16 or max(image.size) < 48:
        return ""
    side = _IMAGE_SIDE
    if options.ocr == "auto":
        from ragcore.readers.text_gate import text_share

        share = text_share(image)
        if share == 0.0:
            return ""
        if share > 0.04:  # a page or a screen rather than a sign
            side = _PAGE_SIDE
    else:
        side = _PAGE_SIDE
    # Enlarging more than twice shows the detector nothing new.
    side = min(side, max(320, 2 * max(image.size)))
    found = recognize(image, threads=options.threads, min_score=_IMAGE_SCORE, search_side=side)
    found = [line for line in found if _is_writing(line)]
    return blocks_text(page_blocks(found))


def _is_writing(line: Recognized) -> bool:
    """Single letters are mostly something round or upright in the image."""
    letters = sum(c.isalnum() for c in line.text)
    return letters >= 2 or (letters == 1 and line.score > 0.95 and line.text.strip().isdigit())
