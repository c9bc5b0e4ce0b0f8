"""Canny's edge detector taken apart: each of its five stages as an image, for teaching.

The work is done by OpenCV (`ragcore.diffusion.conditions.canny`); this is the same algorithm in
plain array operations, so that every step can be looked at (Canny 1986, "A Computational
Approach to Edge Detection", IEEE PAMI 8).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Gray = NDArray[np.float32]
    Pixels = NDArray[np.uint8]

WEAK, STRONG = 110, 255  # how the double threshold is drawn


@dataclass(frozen=True, slots=True)
class CannyStage:
    """`image` is uint8 [h, w]; `about` one sentence on what was done."""

    title: str
    about: str
    image: Pixels


def canny_stages(
    pixels: Pixels, *, low: float = 60, high: float = 140, blur: float = 0.8
) -> list[CannyStage]:
    """The five stages of an RGB image uint8 [h, w, 3]."""
    import cv2
    import numpy as np

    gray = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    smooth = cv2.GaussianBlur(gray, (0, 0), blur)
    across = cv2.Sobel(smooth, cv2.CV_32F, 1, 0)
    down = cv2.Sobel(smooth, cv2.CV_32F, 0, 1)
    strength = np.hypot(across, down)
    thin = non_maximum_suppression(strength, across, down)
    strong, weak = thin > high, thin > low
    marked = np.where(strong, STRONG, np.where(weak, WEAK, 0)).astype(np.uint8)
    edges = hysteresis(strong, weak)
    return [
        CannyStage("Gray and blurred", "Color goes, and a Gaussian takes the noise away.", smooth),
        CannyStage(
            "Gradient", "How steeply the brightness changes, by Sobel's filters.", _drawn(strength)
        ),
        CannyStage(
            "Non-maximum suppression",
            "Across an edge only the steepest pixel stays: edges become thin.",
            _drawn(thin),
        ),
        CannyStage(
            "Double threshold",
            f"White: above {high:g}, surely an edge; gray: above {low:g}, perhaps one.",
            marked,
        ),
        CannyStage(
            "Hysteresis",
            "What was perhaps an edge stays where it hangs together with a sure one.",
            edges.astype(np.uint8) * 255,
        ),
    ]


def non_maximum_suppression(strength: Gray, across: Gray, down: Gray) -> Gray:
    """`strength` where it is the largest of three in the gradient's direction, else 0."""
    import numpy as np

    padded = np.pad(strength, 1)
    height, width = strength.shape

    def neighbour(rows: int, columns: int) -> Gray:
        part: Gray = padded[1 + rows : 1 + rows + height, 1 + columns : 1 + columns + width]
        return part

    sector = np.round(np.rad2deg(np.arctan2(down, across)) / 45).astype(int) % 4
    result = np.zeros_like(strength)
    for number, (rows, columns) in enumerate(((0, 1), (1, 1), (1, 0), (1, -1))):
        # one side strictly larger: of two equal pixels side by side one remains
        is_top = (strength > neighbour(-rows, -columns)) & (strength >= neighbour(rows, columns))
        chosen = (sector == number) & is_top
        result[chosen] = strength[chosen]
    return result


def hysteresis(strong: NDArray[np.bool_], weak: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Weak pixels that are connected (8 neighbours) to a strong one, and the strong ones."""
    import cv2
    import numpy as np

    _, labels = cv2.connectedComponents((weak | strong).astype(np.uint8), connectivity=8)
    with_strong = np.unique(labels[strong])
    edges: NDArray[np.bool_] = np.isin(labels, with_strong[with_strong > 0])
    return edges


def _drawn(values: Gray) -> Pixels:
    """Scaled so that the largest value is white."""
    import numpy as np

    top = float(values.max()) or 1.0
    shown: Pixels = np.round(values / top * 255).astype(np.uint8)
    return shown
