"""Joining dense and lexical evidence into one strength that needs no knowledge of the others.

    strength = cosine + COVERAGE_WEIGHT * coverage

with coverage = BM25 / ceiling (see `calibration`). Unlike reciprocal ranks or min-max, both parts
mean the same for every query, so the strength can be cut off and compared; a passage that holds
all the rare words of a query stands high even where the encoder sees nothing in it.

The cosine is taken to a query that was moved towards the best passages found so far (pseudo
relevance feedback, Rocchio 1971; for dense vectors Li et al. 2021, arXiv:2108.11044), and scaled
so that its best value stays that of the query as it was typed: feedback reorders, and does not
make a query that fits nothing look as if something fitted. docs/measurements/search.md has the
table of what was tried, on three collections with one setting.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ragcore.search.lexical import LexicalHits

if TYPE_CHECKING:
    from ragcore.types import FloatArray, IdArray
    from ragcore.vectors import VectorStore

COVERAGE_WEIGHT = 1.0
FEEDBACK_PASSAGES = 3
FEEDBACK_WEIGHT = 0.7
DENSE_DEPTH = 150  # candidates from the vector index
LEXICAL_DEPTH = 200  # candidates from the lexical index


class Candidates:
    """Passages under consideration, by ascending id: raw cosines, coverage, and strength."""

    __slots__ = ("cosines", "coverage", "ids", "strength")

    def __init__(self, ids: IdArray, cosines: FloatArray, coverage: FloatArray) -> None:
        self.ids = ids
        self.cosines = cosines
        self.coverage = coverage
        self.strength = cosines + COVERAGE_WEIGHT * coverage

    def __len__(self) -> int:
        return len(self.ids)

    def best(self, k: int) -> IdArray:
        """Places of the k strongest, best first; ties go to the lower id."""
        return np.lexsort((self.ids, -self.strength))[:k]


def fuse(
    store: VectorStore | None,
    query: FloatArray | None,
    lexical: LexicalHits,
    *,
    depth: int,
    allowed: IdArray | None = None,
    feedback: bool = True,
    floor: float = 0.0,
) -> Candidates:
    """Candidates of both kinds with all their scores. `query` is a unit vector [d] or None.

    `floor` is the cosine of unrelated texts in this space: it counts as 0.
    """
    if store is None or query is None or not store.count():
        none = np.zeros(len(lexical.ids), np.float32)
        order = np.argsort(lexical.ids)
        ids = lexical.ids[order]
        return Candidates(ids, none, lexical.coverage(ids))
    ids = _union(_dense_ids(store, query, depth, allowed), lexical.ids)
    ids, vectors = _present(store, ids)
    if not len(ids):
        return Candidates(ids, np.zeros(0, np.float32), np.zeros(0, np.float32))
    first = Candidates(ids, vectors @ query, lexical.coverage(ids))
    first.strength = _above(first.cosines, floor) + COVERAGE_WEIGHT * first.coverage
    if not feedback:
        return first
    moved = _moved(query, first, vectors)
    more = _union(_dense_ids(store, moved, depth, allowed), ids)
    if len(more) > len(ids):
        ids, vectors = _present(store, more)
        first = Candidates(ids, vectors @ query, lexical.coverage(ids))
    towards = vectors @ moved
    result = Candidates(first.ids, first.cosines, first.coverage)
    scale = max(float(first.cosines.max()), 0.0) / max(float(towards.max()), 1e-6)
    result.strength = _above(towards * scale, floor) + COVERAGE_WEIGHT * first.coverage
    return result


def _above(cosines: FloatArray, floor: float) -> FloatArray:
    return (cosines - floor) / (1 - floor)


def _moved(query: FloatArray, found: Candidates, vectors: FloatArray) -> FloatArray:
    best = found.best(FEEDBACK_PASSAGES)
    weights = np.maximum(found.strength[best], 1e-6)
    center = (weights / weights.sum()) @ vectors[best]
    moved = query + FEEDBACK_WEIGHT * center
    return np.asarray(moved / max(float(np.linalg.norm(moved)), 1e-9), dtype=np.float32)


def _dense_ids(
    store: VectorStore, query: FloatArray, depth: int, allowed: IdArray | None
) -> IdArray:
    ids: IdArray = store.search(query[None], depth, allowed=allowed)[1][0]
    return np.asarray(ids[ids >= 0], dtype=np.int64)


def _union(one: IdArray, other: IdArray) -> IdArray:
    return np.asarray(np.union1d(one, other), dtype=np.int64)


def _present(store: VectorStore, ids: IdArray) -> tuple[IdArray, FloatArray]:
    """Those of the ids that the store holds, with their vectors.

    Lexical and vector index are read one after the other: an ingest may have come between.
    """
    try:
        return ids, store.vectors(ids)
    except KeyError:
        present = store.present(ids)
        return present, store.vectors(present)
