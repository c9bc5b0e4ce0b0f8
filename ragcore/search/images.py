"""Images by words, by an image, by both, and by the words in and around them."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from ragcore.catalog import QueryWords
from ragcore.search import calibration
from ragcore.search.calibration import ImageBackground
from ragcore.search.hits import ScoredItem
from ragcore.search.lexical import NO_HITS, LexicalHits, LexicalSearch
from ragcore.search.words import query_words

if TYPE_CHECKING:
    from PIL.Image import Image

    from ragcore.models import ImageTextEncoder
    from ragcore.search.passages import Seconds
    from ragcore.types import FloatArray, IdArray, SearchQuery
    from ragcore.vectors import VectorStore

DEPTH = 200


class ImageSearch:
    """Nearest images in the joint space of words and images, and text in images."""

    def __init__(self, lexical: LexicalSearch, encoder: Callable[[], ImageTextEncoder]) -> None:
        self._lexical = lexical
        self._encoder = encoder
        self._texts: dict[tuple[str, str], FloatArray] = {}
        self._background: ImageBackground | None = None

    def search(
        self,
        query: SearchQuery,
        image: Image | None,
        store: VectorStore | None,
        seconds: Seconds,
        *,
        collection_id: int,
        allowed: IdArray | None,
    ) -> tuple[list[ScoredItem], QueryWords]:
        """The 2 k best images, best first, whatever their relevance."""
        words = query_words(query.text)
        wanted = max(2 * query.k, DEPTH)
        ids, relevance, cosines = self._dense(query, image, store, seconds, wanted, allowed)
        lexical = NO_HITS
        if image is None:
            start = time.perf_counter()
            lexical = self._lexical.search(
                "images", words, collection_id=collection_id, limit=wanted, allowed=allowed
            )
            seconds.lexical += time.perf_counter() - start
        start = time.perf_counter()
        scored = _joined(ids, relevance, cosines, lexical)[: 2 * query.k]
        seconds.fuse += time.perf_counter() - start
        return scored, words

    def nearest(
        self,
        image: Image,
        store: VectorStore,
        k: int,
        allowed: IdArray | None,
        seconds: Seconds,
    ) -> dict[int, float]:
        """Ids of the k images most like this one in any of its eight orientations: cosines."""
        start = time.perf_counter()
        vectors = self._encoder().encode_images(orientations(image))
        seconds.encode += time.perf_counter() - start
        start = time.perf_counter()
        scores, ids = store.search(vectors, k, allowed=allowed)
        best: dict[int, float] = {}
        for item, score in zip(ids.ravel().tolist(), scores.ravel().tolist(), strict=True):
            if item >= 0:
                best[item] = max(score, best.get(item, -1.0))
        seconds.dense += time.perf_counter() - start
        return best

    def _dense(
        self,
        query: SearchQuery,
        image: Image | None,
        store: VectorStore | None,
        seconds: Seconds,
        wanted: int,
        allowed: IdArray | None,
    ) -> tuple[IdArray, FloatArray, FloatArray]:
        none = np.empty(0, np.float32)
        if store is None or not store.count():
            return np.empty(0, np.int64), none, none
        start = time.perf_counter()
        parts = self._parts(query, image)
        seconds.encode += time.perf_counter() - start
        start = time.perf_counter()
        vector = np.stack([weight * part for _, weight, part in parts]).sum(axis=0)
        vector = (vector / max(float(np.linalg.norm(vector)), 1e-9)).astype(np.float32)
        ids = store.search(vector[None], wanted, allowed=allowed)[1][0]
        ids = ids[ids >= 0]
        vectors = store.vectors(ids)
        cosines = vectors @ vector
        relevance = self._relevance(parts, vectors, cosines)
        seconds.dense += time.perf_counter() - start
        return ids, relevance, cosines

    def _parts(
        self, query: SearchQuery, image: Image | None
    ) -> list[tuple[str, float, FloatArray]]:
        """(kind, weight, unit vector) of everything that the query is composed of.

        Words lie in another part of the space than images do. Where both are given, each is
        taken from the middle of its kind, so that what the words *say* is added to the image.
        """
        encoder = self._encoder()
        composed = image is not None and bool(query.text or query.minus)
        background = self._background_of(encoder) if composed or query.minus else None
        parts: list[tuple[str, float, FloatArray]] = []
        if image is not None:
            parts.append(("image", query.image_weight, encoder.encode_images([image])[0]))
        for text, weight in ((query.text, query.text_weight), (query.minus, -query.minus_weight)):
            if text:
                vector = self._encoded(encoder, text)
                if background is not None:
                    vector = background.direction(vector)
                parts.append(("words", weight, vector))
        return parts

    def _relevance(
        self,
        parts: list[tuple[str, float, FloatArray]],
        vectors: FloatArray,
        cosines: FloatArray,
    ) -> FloatArray:
        if any(kind == "image" for kind, _, _ in parts):
            return calibration.image_relevance(cosines)
        background = self._background_of(self._encoder())
        return background.relevance(vectors, cosines)

    def _background_of(self, encoder: ImageTextEncoder) -> ImageBackground:
        if self._background is None or self._background.space != encoder.space.name:
            self._background = ImageBackground.of(encoder)
        return self._background

    def _encoded(self, encoder: ImageTextEncoder, text: str) -> FloatArray:
        key = (encoder.space.name, text)
        vector = self._texts.get(key)
        if vector is None:
            vector = encoder.encode_texts([text])[0]
            if len(self._texts) > 256:
                self._texts.clear()
            self._texts[key] = vector
        return vector


def orientations(image: Image) -> list[Image]:
    """The image in its four quarter turns, plain and mirrored."""
    from PIL import Image as Pillow

    turns = (
        None,
        Pillow.Transpose.ROTATE_90,
        Pillow.Transpose.ROTATE_180,
        Pillow.Transpose.ROTATE_270,
        Pillow.Transpose.FLIP_LEFT_RIGHT,
        Pillow.Transpose.FLIP_TOP_BOTTOM,
        Pillow.Transpose.TRANSPOSE,
        Pillow.Transpose.TRANSVERSE,
    )
    return [image if turn is None else image.transpose(turn) for turn in turns]


def _joined(
    ids: IdArray, relevance: FloatArray, cosines: FloatArray, lexical: LexicalHits
) -> list[ScoredItem]:
    """What the image shows or what is written on it: either makes it relevant (noisy or)."""
    bm25 = lexical.score_of()
    written = dict(
        zip(
            lexical.ids.tolist(),
            calibration.written_relevance(lexical.coverage(lexical.ids)).tolist(),
            strict=True,
        )
    )
    scored = []
    for item, seen, cosine in zip(ids.tolist(), relevance.tolist(), cosines.tolist(), strict=True):
        score = 1 - (1 - seen) * (1 - written.pop(item, 0.0))
        scored.append(ScoredItem(item, score, cosine, bm25.get(item)))
    scored.extend(ScoredItem(item, score, None, bm25[item]) for item, score in written.items())
    scored.sort(key=lambda one: (-one.score, one.id))
    return scored
