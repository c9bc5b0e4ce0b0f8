"""Icons set down somewhere on an empty image, with what is true of each: where, how large, …"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ragcore.datasets.icons import Icon, IconSet, style_words
from ragcore.errors import UsageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_INK = 12  # difference from the white ground, of 255, from which a pixel belongs to the icon
_SCALES = (0.4, 0.9)  # side of the icon over the side of the image


@dataclass(frozen=True, slots=True)
class Scenes:
    """Images uint8 [n, s, s, 3]; `numbers` float32 [n] and `classes` [n] by attribute;
    `concepts` [n] says which icon it is, the same in every style.
    """

    pixels: NDArray[np.uint8]
    numbers: dict[str, NDArray[np.float32]]
    classes: dict[str, list[str]]
    concepts: list[str]


def make_scenes(icons: IconSet, count: int, *, seed: int) -> Scenes:
    """`count` scenes of icons drawn at random, each at a place and in a size of its own.

    `x`, `y` are the middle of the ink and `size` the root of its area, as shares of the side;
    `lightness`, `red` (against green) and `yellow` (against blue) are the mean colour of the ink
    in CIELAB; `symmetry` is the correlation of the icon with its mirror image.
    Raises UsageError for images that are not square.
    """
    import numpy as np

    if icons.pixels.shape[1] != icons.pixels.shape[2]:
        raise UsageError(f"probes need square images, not {icons.pixels.shape[1:3]}")
    rng = np.random.default_rng(seed)
    rows = rng.permutation(len(icons.icons))
    scenes: list[NDArray[np.uint8]] = []
    numbers: list[dict[str, float]] = []
    chosen: list[Icon] = []
    for row in np.resize(rows, 2 * count).tolist():
        if len(chosen) == count:
            break
        scene = _place(icons.pixels[row], rng)
        if (found := _measure(scene)) is not None:
            scenes.append(scene)
            numbers.append(found)
            chosen.append(icons.icons[row])
    if not chosen:
        raise UsageError("there is no icon that differs from its ground")
    return Scenes(
        np.stack(scenes),
        {name: np.array([row[name] for row in numbers], np.float32) for name in numbers[0]},
        {
            "group": [icon.group for icon in chosen],
            "style": [style_words(icon.style) for icon in chosen],
        },
        [icon.concept for icon in chosen],
    )


def _place(icon: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    import cv2
    import numpy as np

    side = len(icon)
    small = max(4, round(side * rng.uniform(*_SCALES)))
    left, top = (int(rng.integers(0, side - small + 1)) for _ in range(2))
    scene = np.full_like(icon, 255)
    scene[top : top + small, left : left + small] = cv2.resize(
        icon, (small, small), interpolation=cv2.INTER_AREA
    )
    return scene


def _measure(scene: NDArray[np.uint8]) -> dict[str, float] | None:
    """What is true of a scene; None if there is hardly any ink."""
    import cv2
    import numpy as np

    ink = (255 - scene.astype(np.int16)).max(axis=2) > _INK
    ys, xs = np.nonzero(ink)
    if len(xs) < 8:
        return None
    side = len(scene)
    lab = cv2.cvtColor(scene.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)[ink].mean(axis=0)
    box = scene[ys.min() : ys.max() + 1, xs.min() : xs.max() + 1].astype(np.float64)
    return {
        "x": float((xs.mean() + 0.5) / side),
        "y": float((ys.mean() + 0.5) / side),
        "size": float(np.sqrt(len(xs)) / side),
        "lightness": float(lab[0]),
        "red": float(lab[1]),
        "yellow": float(lab[2]),
        "symmetry": _correlation(box, box[:, ::-1]),
    }


def _correlation(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    import numpy as np

    one, other = one - one.mean(), other - other.mean()
    spread = float(np.sqrt((one**2).sum() * (other**2).sum()))
    return float((one * other).sum() / spread) if spread else 1.0
