"""Exact search: inner products in blocks, and the merging of partial results."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ragcore.types import FloatArray, IdArray

BLOCK = 16_384  # rows scored at once: 24 MB of float32 at 384 dimensions
QUERIES = 256  # queries scored at once

Gather = Callable[["IdArray"], "FloatArray"]


def empty(queries: int, k: int) -> tuple[FloatArray, IdArray]:
    """A result in which nothing was found: scores -inf, rows -1."""
    return np.full((queries, k), -np.inf, np.float32), np.full((queries, k), -1, np.int64)


def top_k(scores: FloatArray, rows: IdArray, k: int) -> tuple[FloatArray, IdArray]:
    """The k best of each line of scores [q, n], best first; `rows` is [n] or [q, n].

    Ties go to the lower row, so that results do not depend on how the work was cut.
    """
    rows = np.broadcast_to(rows, scores.shape)
    if scores.shape[1] > k:
        part = np.argpartition(-scores, k - 1, axis=1)[:, :k]
        scores = np.take_along_axis(scores, part, axis=1)
        rows = np.take_along_axis(rows, part, axis=1)
    order = np.lexsort((rows, -scores), axis=1)
    best = np.take_along_axis(scores, order, axis=1)
    found = np.take_along_axis(rows, order, axis=1)
    found = np.where(np.isneginf(best), -1, found)
    if best.shape[1] < k:
        none_scores, none_rows = empty(len(best), k - best.shape[1])
        best = np.concatenate([best, none_scores], axis=1)
        found = np.concatenate([found, none_rows], axis=1)
    return np.ascontiguousarray(best), np.ascontiguousarray(found)


def merge(
    one: tuple[FloatArray, IdArray], other: tuple[FloatArray, IdArray], k: int
) -> tuple[FloatArray, IdArray]:
    """The k best of two results over different rows."""
    return top_k(
        np.concatenate([one[0], other[0]], axis=1), np.concatenate([one[1], other[1]], axis=1), k
    )


def search_block(
    queries: FloatArray,
    vectors: FloatArray,
    first_row: int,
    k: int,
    mask: NDArray[np.bool_] | None = None,
) -> tuple[FloatArray, IdArray]:
    """Exact search of `vectors` [n, d], the rows from `first_row` on; `mask` [n] selects."""
    if mask is not None and not mask.all():
        chosen = np.flatnonzero(mask)
        if len(chosen) < len(mask) // 2:  # gathering costs less than scoring what is not wanted
            return search_rows(queries, vectors[chosen], chosen + first_row, k)
        mask_penalty = np.where(mask, np.float32(0), np.float32(-np.inf))
    else:
        mask_penalty = None
    parts = []
    rows = np.arange(first_row, first_row + len(vectors), dtype=np.int64)
    for at in range(0, len(queries), QUERIES):
        scores = queries[at : at + QUERIES] @ vectors.T
        if mask_penalty is not None:
            scores += mask_penalty
        parts.append(top_k(scores, rows, k))
    return _stack(parts, k)


def search_gathered(
    queries: FloatArray, rows: IdArray, gather: Gather, k: int
) -> tuple[FloatArray, IdArray]:
    """Exact search of the given rows, fetched block by block through `gather`."""
    best = empty(len(queries), k)
    for block in blocks(rows):
        best = merge(best, search_rows(queries, gather(block), block, k), k)
    return best


def rescore(
    queries: FloatArray, candidates: IdArray, gather: Gather, k: int
) -> tuple[FloatArray, IdArray]:
    """The k best of each query's candidates [q, c] (-1: none) by their exact scores."""
    width = candidates.shape[1]
    step = max(1, BLOCK // max(1, width))
    parts = []
    for at in range(0, len(queries), step):
        rows = candidates[at : at + step]
        vectors = gather(np.maximum(rows, 0).ravel()).reshape(*rows.shape, -1)
        scores = np.einsum("qd,qcd->qc", queries[at : at + step], vectors, dtype=np.float32)
        scores[rows < 0] = -np.inf
        parts.append(top_k(scores, rows, k))
    return _stack(parts, k)


def blocks(rows: IdArray, size: int = BLOCK) -> Iterator[IdArray]:
    """`rows` cut into pieces of at most `size`."""
    for at in range(0, len(rows), size):
        yield rows[at : at + size]


def search_rows(
    queries: FloatArray, vectors: FloatArray, rows: IdArray, k: int
) -> tuple[FloatArray, IdArray]:
    """Exact search of `vectors` [n, d], whose numbers are `rows` [n]."""
    parts = [
        top_k(queries[at : at + QUERIES] @ vectors.T, rows, k)
        for at in range(0, len(queries), QUERIES)
    ]
    return _stack(parts, k)


def _stack(parts: list[tuple[FloatArray, IdArray]], k: int) -> tuple[FloatArray, IdArray]:
    if not parts:
        return empty(0, k)
    return np.concatenate([p[0] for p in parts]), np.concatenate([p[1] for p in parts])
