"""Videos for tests, encoded when they are needed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

av = pytest.importorskip("av", reason="needs the extra video")
RED, GREEN, BLUE = (200, 30, 30), (30, 160, 60), (40, 60, 200)
RATE = 10  # frames a second


def encode(
    path: Path,
    colors: Sequence[tuple[int, int, int]] = (RED, GREEN, BLUE),
    *,
    seconds: int = 2,
    size: tuple[int, int] = (160, 96),
    codec: str = "mpeg4",
    **metadata: str,
) -> Path:
    """A video with so many seconds of each color, in which a white box moves."""
    with av.open(str(path), "w") as container:
        container.metadata.update(metadata)
        stream = container.add_stream(codec, rate=RATE)
        stream.width, stream.height = size
        stream.pix_fmt = "yuv420p"
        for number in range(seconds * RATE * len(colors)):
            pixels = np.full((size[1], size[0], 3), colors[number // (seconds * RATE)], np.uint8)
            left = number * 2 % (size[0] // 2)
            pixels[10:30, left : left + 20] = 255
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path
