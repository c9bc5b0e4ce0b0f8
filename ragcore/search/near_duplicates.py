"""The same image again: cropped, turned, mirrored, re-colored, written over, re-encoded.

Vectors and hashes only suggest candidates; whether two images show the very same shot is
decided by geometry. SIFT key points of both (Lowe 2004, "Distinctive Image Features from
Scale-Invariant Keypoints") are matched, and a similarity transform that many matches agree on
is looked for with RANSAC. Unrelated images hardly ever have more than a handful.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image

SIDE = 320  # longer side at which key points are found: that of stored thumbnails
KEY_POINTS = 400
RATIO = 0.8  # Lowe's test: the best match must be this much nearer than the second best
TOLERANCE = 4.0  # pixels that a match may be off the common transform
# Agreeing matches from which a pair counts as the same image, and their share of all matches.
# 64 altered copies of photographs had 16 or more, 192 unrelated pairs 4 at most; a low share is
# texture that repeats.
ENOUGH, ENOUGH_SHARE = 9, 0.25
SURE = 25  # from here on nothing else is needed
HASH_SAME = 6  # bits that differ at most between copies; unrelated images are near 32
HASH_COSINE = 0.9  # of the vectors, without which a like hash says nothing
HASH_NEAR = 14  # up to here a hash makes a candidate promising
BY_HASH = 20  # candidates that only their hash suggests, at most
VERIFIED = 64  # candidates that are looked at closely, unless a sure one comes before
_BATCH = 16
# OpenCV opens its own threads; RANSAC and SIFT release the interpreter, so ours are enough.
_THREADS = 4


@dataclass(frozen=True, slots=True)
class ImageCandidate:
    """A stored image that might be the same.

    `score` is the cosine of the vectors; `thumbnail` encoded bytes (any format Pillow reads);
    `phash` as `ragcore.types.ReadImage` has it, b"" if unknown.
    """

    id: int
    score: float
    thumbnail: bytes
    phash: bytes = b""


class Match(NamedTuple):
    """`score` in [0, 1]: above 0.5 exactly where `verified`, the images being the same."""

    id: int
    score: float
    verified: bool


class SameImage:
    """Ranks candidates by how surely they show the very image of the query.

    >>> SameImage().rank(photo, candidates)[0]          # doctest: +SKIP
    Match(id=17, score=0.98, verified=True)
    """

    def __init__(self, *, verify: int = VERIFIED) -> None:
        self._verify = verify

    def rank(
        self,
        query: Image,
        candidates: Sequence[ImageCandidate],
        *,
        phash: bytes = b"",
        hashes: Sequence[bytes] = (),
    ) -> list[Match]:
        """All candidates, best first. The most promising ones are verified geometrically.

        `phash` is the query's perceptual hash, or `hashes` those of its quarter turns (as
        `ragcore.readers.images.turned` gives them); with them a copy is also recognized where
        it has no texture.
        """
        if not candidates:
            return []
        hashes = hashes or ((phash,) if phash else ())
        distances = {c.id: nearest_hash(hashes, c.phash) for c in candidates}
        promising = sorted(candidates, key=lambda c: (distances[c.id] > HASH_NEAR, -c.score))
        agreements = _agreements(query, promising[: self._verify])
        matches = [_judge(c, agreements.get(c.id), distances[c.id]) for c in candidates]
        return sorted(matches, key=lambda m: (-m.score, m.id))


def hash_distance(query: bytes, stored: bytes) -> int:
    """Differing bits (0-64) of two perceptual hashes, the least over mirror images.

    Hashes are 8 bytes for the image, then 8 for its mirror image. 64 if one is empty.
    """
    if len(query) < 8 or len(stored) < 8 or not any(query) or not any(stored):
        return 64
    own = int.from_bytes(query[:8], "big")
    parts = (stored[i : i + 8] for i in range(0, len(stored) - 7, 8))
    return min((own ^ int.from_bytes(part, "big")).bit_count() for part in parts)


def nearest_hash(hashes: Sequence[bytes], stored: bytes) -> int:
    """The least `hash_distance` over the query's quarter turns; 64 without any."""
    return min((hash_distance(one, stored) for one in hashes), default=64)


def alike_by_hash(hashes: Sequence[bytes], stored: Sequence[bytes]) -> list[int]:
    """Which of the stored hashes make a candidate promising, the nearest first, BY_HASH at most.

    `hashes` are those of the query's quarter turns. Stored ones that are empty are left out.
    """
    import numpy as np

    own = [one for one in hashes if len(one) >= 8 and any(one[:8])]
    usable = [n for n, value in enumerate(stored) if len(value) >= 16 and any(value[:8])]
    if not own or not usable:
        return []
    values = np.frombuffer(b"".join(stored[n][:16] for n in usable), np.uint64).reshape(-1, 2)
    queries = np.frombuffer(b"".join(one[:8] for one in own), np.uint64)
    differing = np.bitwise_count(values[:, :, None] ^ queries).min(axis=(1, 2))
    order = np.argsort(differing, kind="stable")[:BY_HASH]
    return [usable[n] for n in order if differing[n] <= HASH_NEAR]


class _Points(NamedTuple):
    places: NDArray[np.float32]  # [n, 2], pixels
    descriptors: NDArray[np.float32]  # [n, 128]


class _Agreement(NamedTuple):
    inliers: int
    matches: int


def _judge(candidate: ImageCandidate, agreement: _Agreement | None, distance: int) -> Match:
    inliers, matches = agreement or _Agreement(0, 0)
    share = inliers / matches if matches else 0.0
    geometric = inliers >= SURE or (inliers >= ENOUGH and share >= ENOUGH_SHARE)
    hashed = distance <= HASH_SAME and candidate.score >= HASH_COSINE
    if geometric and hashed:  # nothing is surer; the vectors show how little was changed
        closeness = (candidate.score - HASH_COSINE) / (1 - HASH_COSINE)
        return Match(candidate.id, 0.95 + 0.05 * min(1.0, closeness), True)
    if geometric:
        return Match(candidate.id, 0.95 - 0.4 * math.exp(-(inliers - ENOUGH) / 12), True)
    if hashed:
        return Match(candidate.id, 0.75 - distance / 40, True)
    # below the border: half from geometry, half from what the vectors and hashes say
    looks = max(0.0, candidate.score) * (1.0 if distance > 16 else 1.15)
    score = 0.25 * min(1.0, inliers / ENOUGH) + 0.24 * min(1.0, looks)
    return Match(candidate.id, min(score, 0.499), False)


def _agreements(query: Image, promising: Sequence[ImageCandidate]) -> dict[int, _Agreement]:
    """By id, batch after batch, until a batch holds a sure match."""
    sides = _query_points(query)
    found: dict[int, _Agreement] = {}
    with ThreadPoolExecutor(_THREADS) as pool:
        for start in range(0, len(promising), _BATCH):
            batch = promising[start : start + _BATCH]
            results = list(pool.map(lambda c: _agreement(sides, c.thumbnail), batch))
            found |= {c.id: a for c, a in zip(batch, results, strict=True)}
            if max(result.inliers for result in results) >= SURE:
                break
    return found


def _query_points(query: Image) -> list[_Points]:
    """Key points of the query and of its mirror image (SIFT is not mirror-invariant)."""
    import numpy as np

    gray = _gray(query)
    return [_points(gray), _points(np.ascontiguousarray(gray[:, ::-1]))]


def _agreement(sides: Sequence[_Points], thumbnail: bytes) -> _Agreement:
    """The better of the query's two sides against one candidate. A broken thumbnail has none."""
    import io

    from PIL import Image as Pillow

    try:
        with Pillow.open(io.BytesIO(thumbnail)) as opened:
            other = _points(_gray(opened))
    except (OSError, ValueError):
        return _Agreement(0, 0)
    return max(_matched(side, other) for side in sides)


def _matched(one: _Points, other: _Points) -> _Agreement:
    import cv2
    import numpy as np

    if len(one.places) < 4 or len(other.places) < 4:
        return _Agreement(0, 0)
    # unit vectors: the squared distance is 2 - 2 cos, so one matrix product finds the nearest
    cosines = one.descriptors @ other.descriptors.T
    two = np.argpartition(-cosines, 1, axis=1)[:, :2]
    rows = np.arange(len(cosines))
    first, second = cosines[rows, two[:, 0]], cosines[rows, two[:, 1]]
    nearest = np.where(first >= second, two[:, 0], two[:, 1])
    near = 2 - 2 * np.maximum(first, second)
    passed = near < RATIO**2 * (2 - 2 * np.minimum(first, second))
    # several points of the query on one of the candidate: only the nearest counts
    order = np.flatnonzero(passed)[np.argsort(near[passed])]
    _, unique = np.unique(nearest[order], return_index=True)
    chosen = order[unique]
    if len(chosen) < 4:
        return _Agreement(0, len(chosen))
    transform, inliers = cv2.estimateAffinePartial2D(
        one.places[chosen],
        other.places[nearest[chosen]],
        method=cv2.RANSAC,
        ransacReprojThreshold=TOLERANCE,
        maxIters=500,
        confidence=0.99,
    )
    if transform is None or not 0.2 < math.hypot(transform[0, 0], transform[1, 0]) < 5:
        return _Agreement(0, len(chosen))
    return _Agreement(int(inliers.sum()), len(chosen))


def _points(gray: NDArray[np.uint8]) -> _Points:
    """Key points with square-rooted descriptors (Arandjelović and Zisserman 2012, RootSIFT)."""
    import numpy as np

    cv2: Any = importlib.import_module("cv2")  # its type stubs do not know SIFT
    sift = cv2.SIFT_create(nfeatures=KEY_POINTS, contrastThreshold=0.02)
    places, raw = sift.detectAndCompute(gray, None)
    if raw is None:
        return _Points(np.zeros((0, 2), np.float32), np.zeros((0, 128), np.float32))
    descriptors = np.sqrt(raw / np.maximum(raw.sum(1, keepdims=True), 1e-9))
    return _Points(cv2.KeyPoint_convert(places), descriptors.astype(np.float32))


def _gray(image: Image) -> NDArray[np.uint8]:
    import numpy as np
    from PIL.Image import Resampling

    scale = SIDE / max(image.size)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    gray = image.convert("L")
    return np.asarray(gray if size == gray.size else gray.resize(size, Resampling.BICUBIC))
