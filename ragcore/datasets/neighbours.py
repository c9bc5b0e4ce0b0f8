"""The passages that a lexical search confuses with the right one: hard distractors."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np


class Neighbours:
    """BM25 (Robertson and Zaragoza 2009, k1 = 1.2, b = 0.75) over a fixed list of passages."""

    def __init__(self, passages: Sequence[str]) -> None:
        from sklearn.feature_extraction.text import CountVectorizer

        self._words = CountVectorizer(stop_words="english", dtype=np.float32)
        counts = self._words.fit_transform(passages)
        lengths = np.asarray(counts.sum(1)).ravel()
        frequency = np.asarray((counts > 0).sum(0)).ravel()
        idf = np.log(1 + (len(passages) - frequency + 0.5) / (frequency + 0.5))
        norm = 1.2 * (0.25 + 0.75 * lengths / lengths.mean())
        weights = counts.tocoo()
        weights.data = (
            idf[weights.col] * weights.data * 2.2 / (weights.data + norm[weights.row])
        ).astype(np.float32)
        self._weights = weights.tocsr()
        self._shingles = [_shingles(p) for p in passages]

    def nearest(self, query: str, own: int, count: int) -> list[int]:
        """The `count` best passages for `query` that do not repeat the text of passage `own`."""
        vector = self._words.transform([query])
        scores = np.asarray((self._weights @ vector.T).todense()).ravel()
        found: list[int] = []
        for other in np.argsort(-scores, kind="stable"):
            if len(found) == count:
                break
            if other != own and not self._shingles[own] & self._shingles[other]:
                found.append(int(other))
        return found


def _shingles(text: str) -> set[int]:
    """Hashes of all runs of eight words."""
    words = re.findall(r"\w+", text.lower())
    return {hash(tuple(words[i : i + 8])) for i in range(max(len(words) - 7, 1))}
