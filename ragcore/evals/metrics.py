"""Measures of ranked lists, as trec_eval defines them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence


def ndcg(ranked: Sequence[str], gains: Mapping[str, int], k: int = 10) -> float:
    """Normalized discounted cumulative gain at k with graded, linear gains, in [0, 1].

    As `ndcg_cut_k` of trec_eval (Järvelin & Kekäläinen 2002): a document at rank r, from 1, adds
    gain / log2(r + 1); the sum is divided by that of the best order. 0 if nothing is relevant.
    """
    found = _discounted([gains.get(item, 0) for item in ranked[:k]])
    best = _discounted(sorted(gains.values(), reverse=True)[:k])
    return found / best if best > 0 else 0.0


def recall(ranked: Sequence[str], gains: Mapping[str, int], k: int = 100) -> float:
    """The share of the relevant (gain above 0) that is among the first k; 0 if there are none."""
    relevant = {item for item, gain in gains.items() if gain > 0}
    return len(relevant.intersection(ranked[:k])) / len(relevant) if relevant else 0.0


def reciprocal_rank(ranked: Sequence[str], gains: Mapping[str, int]) -> float:
    """1 / rank of the first relevant one; 0 if it is not there."""
    for rank, item in enumerate(ranked, 1):
        if gains.get(item, 0) > 0:
            return 1 / rank
    return 0.0


def _discounted(gains: Sequence[int]) -> float:
    return sum(max(gain, 0) / math.log2(rank + 1) for rank, gain in enumerate(gains, 1))
