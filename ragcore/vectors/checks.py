"""What every store asks of what it is given."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from ragcore.types import FloatArray, IdArray


def checked_rows(ids: IdArray, vectors: FloatArray, dimension: int) -> tuple[IdArray, FloatArray]:
    """int64 ids [n], each once, and float32 vectors [n, d]. The last of equal ids counts.

    Raises ValueError for other shapes, negative ids, vectors that are not finite.
    """
    ids = np.asarray(ids, dtype=np.int64)
    vectors = np.asarray(vectors, dtype=np.float32)
    if ids.ndim != 1 or vectors.shape != (len(ids), dimension):
        raise ValueError(
            f"ids must be [n] and vectors [n, {dimension}], not {ids.shape} and {vectors.shape}"
        )
    if (ids < 0).any():
        raise ValueError("ids must not be negative")
    if not np.isfinite(vectors).all():
        raise ValueError("vectors must be finite")
    if len(np.unique(ids)) < len(ids):
        _, last = np.unique(ids[::-1], return_index=True)
        last_rows = np.sort(len(ids) - 1 - last)
        ids, vectors = ids[last_rows], vectors[last_rows]
    return ids, vectors


def checked_queries(queries: FloatArray, k: int, dimension: int) -> FloatArray:
    """float32 queries [q, d]. Raises ValueError for another shape, or k < 1."""
    queries = np.ascontiguousarray(queries, dtype=np.float32)
    if queries.ndim != 2 or queries.shape[1] != dimension:
        raise ValueError(f"queries must be [q, {dimension}], not {queries.shape}")
    if k < 1:
        raise ValueError(f"k must be at least 1, not {k}")
    return queries
