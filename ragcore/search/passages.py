"""Passages by words."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from ragcore.catalog import Catalog, QueryWords
from ragcore.search import calibration, fusion
from ragcore.search.hits import ScoredItem, passage_texts
from ragcore.search.lexical import LexicalHits, LexicalSearch
from ragcore.search.words import query_words

if TYPE_CHECKING:
    from ragcore.models import Reranker, TextEncoder
    from ragcore.types import FloatArray, IdArray, SearchQuery
    from ragcore.vectors import VectorStore

RERANK_DEPTH = 30  # passages that a reranker reads


@dataclass(slots=True)
class Seconds:
    """Where the time of one search went. Lexical search runs beside the encoder."""

    encode: float = 0.0
    dense: float = 0.0
    lexical: float = 0.0
    fuse: float = 0.0
    rerank: float = 0.0

    def as_dict(self, total: float) -> dict[str, float]:
        return {
            "encode": self.encode,
            "dense": self.dense,
            "lexical": self.lexical,
            "fuse": self.fuse,
            "rerank": self.rerank,
            "total": total,
        }


@dataclass(slots=True)
class Methods:
    """Which evidence is used; evaluations switch parts off."""

    dense: bool = True
    lexical: bool = True
    feedback: bool = True


class PassageSearch:
    """Dense and lexical candidates, fused, and reranked where that is asked for."""

    def __init__(
        self, catalog: Catalog, lexical: LexicalSearch, encoder: Callable[[], TextEncoder]
    ) -> None:
        self._catalog = catalog
        self._lexical = lexical
        self._encoder = encoder
        self._vectors: dict[tuple[str, str], FloatArray] = {}
        self.methods = Methods()

    @cached_property
    def floor(self) -> float:
        """The cosine of unrelated texts for the encoder in use."""
        encoder = self._encoder()
        if encoder.space.name.startswith("minilm-l6-v2@"):
            return 0.0  # what the border was fitted with
        return calibration.cosine_floor(lambda texts: encoder.encode(texts, kind="passage"))

    def search(
        self,
        query: SearchQuery,
        store: Callable[[], VectorStore | None],
        pool: Executor,
        seconds: Seconds,
        *,
        collection_id: int,
        allowed: IdArray | None,
        reranker: Reranker | None,
    ) -> tuple[list[ScoredItem], QueryWords]:
        """The 2 k best passages, best first, whatever their relevance."""
        words = query_words(query.text)
        depth = max(fusion.DENSE_DEPTH, 2 * query.k)
        limit = max(fusion.LEXICAL_DEPTH, 2 * query.k)

        def look_up(wanted: QueryWords) -> LexicalHits:
            start = time.perf_counter()
            found = self._lexical.search(
                "passages", wanted, collection_id=collection_id, limit=limit, allowed=allowed
            )
            seconds.lexical += time.perf_counter() - start
            return found

        methods = self.methods
        pending = pool.submit(look_up, words if methods.lexical else QueryWords(()))
        index = store() if methods.dense else None
        vector = self._vector(query, seconds) if index is not None else None
        lexical = pending.result()
        start = time.perf_counter()
        found = fusion.fuse(
            index,
            vector,
            lexical,
            depth=depth,
            allowed=allowed,
            feedback=methods.feedback,
            floor=self.floor if index is not None else 0.0,
        )
        if query.minus:
            unwanted = look_up(query_words(query.minus)).coverage(found.ids)
            found.strength = found.strength - query.minus_weight * unwanted
        seconds.dense += time.perf_counter() - start
        start = time.perf_counter()
        scored = _scored(found, lexical, 2 * query.k, dense=index is not None)
        seconds.fuse += time.perf_counter() - start
        if reranker is not None:
            scored = self._reranked(reranker, query.text, scored, found, seconds)
        return scored, words

    def _vector(self, query: SearchQuery, seconds: Seconds) -> FloatArray:
        start = time.perf_counter()
        vector = self._encoded(query.text)
        if query.minus:
            vector = query.text_weight * vector - query.minus_weight * self._encoded(query.minus)
            vector = vector / max(float(np.linalg.norm(vector)), 1e-9)
        seconds.encode += time.perf_counter() - start
        return vector

    def _encoded(self, text: str) -> FloatArray:
        encoder = self._encoder()
        key = (encoder.space.name, text)
        vector = self._vectors.get(key)
        if vector is None:
            vector = encoder.encode([text], kind="query")[0]
            if len(self._vectors) > 256:
                self._vectors.clear()
            self._vectors[key] = vector
        return vector

    def _reranked(
        self,
        reranker: Reranker,
        text: str,
        scored: list[ScoredItem],
        found: fusion.Candidates,
        seconds: Seconds,
    ) -> list[ScoredItem]:
        """The first ones in the order of what both the fusion and the reranker hold of them."""
        start = time.perf_counter()
        head = scored[:RERANK_DEPTH]
        with self._catalog.search() as session:
            texts = passage_texts(session, [one.id for one in head])
        head = [one for one in head if one.id in texts]
        logits = reranker.scores(text, [texts[one.id] for one in head])
        relevance = calibration.rerank_relevance(logits)
        both = [
            ScoredItem(one.id, (one.score + float(r)) / 2, one.dense, one.lexical, float(logit))
            for one, r, logit in zip(head, relevance, logits, strict=True)
        ]
        both.sort(key=lambda one: (-one.score, one.id))
        least = both[-1].score if both else 1.0
        rest = [
            ScoredItem(one.id, min(one.score, least), one.dense, one.lexical)
            for one in scored[RERANK_DEPTH:]
        ]
        seconds.rerank += time.perf_counter() - start
        return both + rest


def _scored(
    found: fusion.Candidates, lexical: LexicalHits, k: int, *, dense: bool
) -> list[ScoredItem]:
    best = found.best(k)
    relevance = calibration.passage_relevance(found.strength[best])
    bm25 = lexical.score_of()
    ids = found.ids[best].tolist()
    cosines = found.cosines[best].tolist()
    return [
        ScoredItem(item, score, cosine if dense else None, bm25.get(item))
        for item, score, cosine in zip(ids, relevance.tolist(), cosines, strict=True)
    ]
