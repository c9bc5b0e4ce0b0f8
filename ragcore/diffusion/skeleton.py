"""Key points of people drawn as the ControlNets for poses were trained on them (OpenPose)."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# OpenPose's 18 points by COCO's 17: nose, neck (between the shoulders), right arm, left arm,
# right leg, left leg, eyes, ears.
_NECK = -1
_FROM_COCO = (0, _NECK, 6, 8, 10, 5, 7, 9, 12, 14, 16, 11, 13, 15, 2, 1, 4, 3)
_LIMBS = (
    (1, 2), (1, 5), (2, 3), (3, 4), (5, 6), (6, 7), (1, 8), (8, 9), (9, 10), (1, 11), (11, 12),
    (12, 13), (1, 0), (0, 14), (14, 16), (0, 15), (15, 17),
)  # fmt: skip
_SURE = 0.3
_LIMB_LIGHT = 0.6  # limbs are darker than points


def draw_skeletons(
    shape: Sequence[int], people: Sequence[NDArray[np.float32]]
) -> NDArray[np.uint8]:
    """RGB uint8 [h, w, 3], black where nobody is.

    `shape` is (h, w); each person is float32 [17, 3]: COCO's key points as (x, y, how sure).
    Points that are not sure enough, and limbs to them, are left out (Cao et al. 2019,
    arXiv:1812.08008, figure 3).
    """
    import cv2
    import numpy as np

    drawn = np.zeros((shape[0], shape[1], 3), np.uint8)
    thick = max(1, round(min(shape[0], shape[1]) / 128))
    for person in people:
        points = _openpose(person)
        limbs = np.zeros_like(drawn)
        for number, (one, two) in enumerate(_LIMBS):
            if points[one] is not None and points[two] is not None:
                color = [_LIMB_LIGHT * part for part in _color(number)]
                cv2.line(limbs, points[one], points[two], color, 2 * thick, cv2.LINE_AA)
        drawn = np.maximum(drawn, limbs)
        for number, point in enumerate(points):
            if point is not None:
                cv2.circle(drawn, point, thick + 1, _color(number), -1)
    return drawn


def _openpose(person: NDArray[np.float32]) -> list[tuple[int, int] | None]:
    def point(place: int) -> tuple[int, int] | None:
        x, y, sure = person[place]
        return (round(float(x)), round(float(y))) if sure >= _SURE else None

    left, right = point(5), point(6)
    neck = None
    if left is not None and right is not None:
        neck = ((left[0] + right[0]) // 2, (left[1] + right[1]) // 2)
    return [neck if place == _NECK else point(place) for place in _FROM_COCO]


def _color(number: int) -> list[float]:
    """Steps of 20 degrees round the circle of hues."""
    return [255 * part for part in colorsys.hsv_to_rgb(number / 18, 1.0, 1.0)]
