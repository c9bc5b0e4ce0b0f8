"""Conditions: what a ControlNet follows, taken from an image.

`CONDITIONS` says for each kind where it comes from: OpenCV ("here"), a model of the hub
through transformers that the profile names ("hub"). Any of them can also be drawn or given.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

from ragcore.errors import UsageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Pixels = NDArray[np.uint8]

Source = Literal["here", "hub"]


@dataclass(frozen=True, slots=True)
class Condition:
    """A kind of condition: how it is called, where it comes from."""

    title: str
    source: Source
    about: str


CONDITIONS: Mapping[str, Condition] = MappingProxyType(
    {
        "canny": Condition("Canny edges", "here", "thin edges of everything"),
        "hough": Condition("Straight lines", "here", "Hough line segments: rooms and buildings"),
        "scribble": Condition("Scribble", "here", "thick strokes, drawn or made from an image"),
        "lineart": Condition("Line drawing", "here", "soft pencil lines"),
        "segmentation": Condition("Color regions", "here", "flat regions with their colors"),
        "depth": Condition("Depth", "hub", "near is bright"),
        "normals": Condition("Surface normals", "hub", "made from a depth map"),
        "pose": Condition("Key points", "hub", "human skeletons in OpenPose's colors"),
    }
)


def extract(kind: str, pixels: Pixels) -> Pixels:
    """The condition of an image: RGB uint8 [h, w, 3] both.

    Raises UsageError for an unknown kind, or one that is not made here.
    """
    makers: Mapping[str, Callable[[Pixels], Pixels]] = {
        "canny": canny,
        "hough": hough,
        "scribble": scribble,
        "lineart": lineart,
        "segmentation": segmentation,
    }
    if kind not in CONDITIONS:
        raise UsageError(f"unknown condition {kind!r}: use one of {', '.join(CONDITIONS)}")
    if kind not in makers:
        raise UsageError(
            f"{CONDITIONS[kind].title.lower()} cannot be made from an image here: give the "
            f"condition itself, or name a model in the profile ([conditions.{kind}])"
        )
    return makers[kind](pixels)


def canny(pixels: Pixels, *, low: float = 60, high: float = 140, blur: float = 0.8) -> Pixels:
    """White edges, one pixel wide, on black (Canny 1986), by OpenCV."""
    import cv2

    smooth = cv2.GaussianBlur(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY), (0, 0), blur)
    return _as_rgb(cv2.Canny(smooth, low, high, L2gradient=True))


def hough(pixels: Pixels, *, votes: int = 12, shortest: float = 0.1) -> Pixels:
    """White line segments on black: the probabilistic Hough transform over Canny edges.

    `shortest` is a fraction of the image's side.
    """
    import cv2
    import numpy as np

    edges = canny(pixels)[..., 0]
    side = min(edges.shape)
    lines = cv2.HoughLinesP(
        edges, 1, np.pi / 180, votes, minLineLength=max(4, shortest * side), maxLineGap=2
    )
    drawn = np.zeros_like(edges)
    for left, top, right, bottom in np.reshape(lines if lines is not None else [], (-1, 4)):
        cv2.line(drawn, (int(left), int(top)), (int(right), int(bottom)), 255, 1)
    return _as_rgb(drawn)


def scribble(pixels: Pixels) -> Pixels:
    """Thick white strokes on black: a wide difference of Gaussians, cut and thickened.

    Detail goes, the main outlines stay, as in a drawing by hand.
    """
    import cv2
    import numpy as np

    gray = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY).astype(np.float32)
    side = min(gray.shape)
    narrow = cv2.GaussianBlur(gray, (0, 0), max(1.0, side / 64))
    wide = cv2.GaussianBlur(gray, (0, 0), max(2.0, side / 24))
    marked = (np.abs(narrow - wide) > 12).astype(np.uint8) * 255
    thin = cv2.morphologyEx(marked, cv2.MORPH_OPEN, np.ones((2, 2), np.uint8))
    return _as_rgb(thin)


def lineart(pixels: Pixels) -> Pixels:
    """Soft light lines on black: how much darker a pixel is than what is around it."""
    import cv2
    import numpy as np

    gray = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY).astype(np.float32)
    around = cv2.GaussianBlur(gray, (0, 0), max(1.5, min(gray.shape) / 32))
    lines = np.clip((around - gray) * 3, 0, 255).astype(np.uint8)
    return _as_rgb(lines)


def segmentation(pixels: Pixels, *, regions: int = 6) -> Pixels:
    """Flat regions, each in its mean color: mean shift, then k-means over the colors."""
    import cv2
    import numpy as np

    smooth = cv2.pyrMeanShiftFiltering(np.ascontiguousarray(pixels), 6, 24, maxLevel=1)
    colors = cv2.cvtColor(smooth, cv2.COLOR_RGB2LAB).reshape(-1, 3).astype(np.float32)
    count = min(regions, len(np.unique(colors.astype(np.uint8), axis=0)))
    cv2.setRNGSeed(0)
    stop = (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_MAX_ITER, 20, 1.0)
    _, labels, centers = cv2.kmeans(colors, count, None, stop, 1, cv2.KMEANS_PP_CENTERS)
    flat = centers[labels.ravel()].astype(np.uint8).reshape(pixels.shape)
    flat_rgb: Pixels = cv2.cvtColor(flat, cv2.COLOR_LAB2RGB)
    return flat_rgb


def normals_of_depth(depth: Pixels, *, strength: float = 4.0) -> Pixels:
    """Surface normals, (x, y, z) in [-1, 1] as RGB, of a depth image where near is bright."""
    import cv2
    import numpy as np

    height = cv2.cvtColor(depth, cv2.COLOR_RGB2GRAY).astype(np.float32) / 255
    across, down = cv2.Sobel(height, cv2.CV_32F, 1, 0), cv2.Sobel(height, cv2.CV_32F, 0, 1)
    vectors = np.dstack([-strength * across, strength * down, np.ones_like(height)])
    vectors /= np.linalg.norm(vectors, axis=2, keepdims=True)
    shaded: Pixels = np.clip((vectors + 1) * 127.5, 0, 255).round().astype(np.uint8)
    return shaded


def edge_f1(wanted: Pixels, found: Pixels, *, tolerance: int = 1) -> float:
    """F1 of edge pixels, RGB uint8 [h, w, 3] both; `tolerance` pixels aside still count.

    Precision is the part of the found edges that lie on wanted ones, recall the other way
    round, as for boundaries in BSDS (Martin, Fowlkes, Malik 2004), without one-to-one matching.
    """
    import cv2
    import numpy as np

    one, two = (image.max(axis=2) > 127 for image in (wanted, found))
    if not one.any() or not two.any():
        return float(one.any() == two.any())
    around = np.ones((2 * tolerance + 1, 2 * tolerance + 1), np.uint8)
    near_one, near_two = (cv2.dilate(edges.astype(np.uint8), around) > 0 for edges in (one, two))
    precision, recall = near_one[two].mean(), near_two[one].mean()
    return float(2 * precision * recall / max(1e-9, precision + recall))


def condition_error(kind: str, condition: Pixels, image: Pixels) -> float:
    """How far an image is from its condition, 0 to 1: 1 - edge F1, or mean color difference."""
    import numpy as np

    found = extract(kind, image)
    if kind == "segmentation":
        return float(np.abs(condition.astype(int) - found.astype(int)).mean() / 255)
    return 1 - edge_f1(condition, found)


def _as_rgb(gray: Pixels) -> Pixels:
    import numpy as np

    return np.repeat(gray[..., None], 3, axis=2)
