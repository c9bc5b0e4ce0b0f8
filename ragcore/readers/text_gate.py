"""Does an image hold writing at all? A small network asks before text recognition is started.

12,000 weights (depthwise separable convolutions, one output for each 8 x 8 pixels), trained on
photographs with and without drawn-in text; see `recipes/text_gate.py`. It costs a few
milliseconds where the recognition's own detector takes a hundred.
"""

from __future__ import annotations

import threading
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from PIL.Image import Image

MODEL = Path(__file__).with_suffix(".onnx")
_SIDE = 320  # pixels of the longer side that are looked at
_CELL = 8
_SURE = 0.65  # probability from which a cell counts as writing
_FEWEST_CELLS = 2
_lock = threading.Lock()


def text_share(image: Image) -> float:
    """The share of the image's area that looks like writing, 0.0 where none does.

    Letters need some 8 pixels of height once the image is 320 pixels long. Long strips are
    looked at piece by piece.
    """
    import numpy as np
    from PIL import Image as Pillow

    gray = image.convert("L")
    tiles = list(_tiles(gray))
    cells = total = 0
    for tile in tiles:
        scale = _SIDE / max(tile.size)
        width = max(32, round(tile.width * scale / _CELL) * _CELL)
        height = max(32, round(tile.height * scale / _CELL) * _CELL)
        small = tile.resize((width, height), Pillow.Resampling.BICUBIC, reducing_gap=2.0)
        values = np.asarray(small, dtype=np.float32)[None, None] / 127.5 - 1
        [writing] = _session().run(None, {"grey": values})
        sure = int((writing > _SURE).sum())
        cells += sure if sure >= _FEWEST_CELLS else 0
        total += writing.size
    return cells / max(total, 1)


def _tiles(gray: Image) -> list[Image]:
    """The image, or, if it is far longer than wide, at most eight pieces of it."""
    long, short = max(gray.size), min(gray.size)
    count = min(8, max(1, round(long / (4 * short))))
    if count == 1:
        return [gray]
    step = long / count
    edges = [(round(n * step), round((n + 1) * step)) for n in range(count)]
    if gray.width >= gray.height:
        return [gray.crop((a, 0, b, gray.height)) for a, b in edges]
    return [gray.crop((0, a, gray.width, b)) for a, b in edges]


@lru_cache(maxsize=1)
def _session() -> Any:
    import onnxruntime

    with _lock:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        return onnxruntime.InferenceSession(str(MODEL), options, ["CPUExecutionProvider"])
