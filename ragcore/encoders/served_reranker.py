"""Reranking by a server: vLLM, llama-server, ragcore (Jina's form), or TEI."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ragcore.encoders.options import reject_unknown, valid_text
from ragcore.errors import RagcoreError, UsageError
from ragcore.models import RemoteServer, RetryPolicy
from ragcore.redaction import remember

if TYPE_CHECKING:
    from ragcore.types import FloatArray


class ServedReranker:
    """A `Reranker` behind `url` (without /v1).

    Options: `url`; `dialect` ("jina": POST /v1/rerank as in vLLM, llama-server and ragcore; "tei":
    POST /rerank of Text Embeddings Inference); `key_variable` (the variable that holds the key);
    `batch_size` (passages a request); `max_characters` (longer passages are cut here; 0: not);
    `connect_timeout`, `timeout`, `total_timeout` (seconds); `attempts`. Safe for threads.
    """

    OPTIONS = frozenset(
        {"url", "dialect", "key_variable", "batch_size", "max_characters", "connect_timeout",
         "timeout", "total_timeout", "attempts"}
    )  # fmt: skip

    def __init__(self, *, model: str, options: Mapping[str, Any]) -> None:
        """Raises UsageError for an unknown or a missing option."""
        reject_unknown(model, options, self.OPTIONS)
        if "url" not in options:
            raise UsageError(f"{model}: a reranker of kind server needs the option url")
        get = options.get
        self._model = model
        self._dialect = str(get("dialect", "jina"))
        if self._dialect not in ("jina", "tei"):
            raise UsageError(f"{model}: unknown dialect {self._dialect!r}: use jina or tei")
        self._batch = int(get("batch_size", 32))
        self._most = int(get("max_characters", 0))
        if self._batch < 1 or self._most < 0:
            raise UsageError(f"{model}: batch_size must be at least 1, max_characters not below 0")
        self._key_variable = str(get("key_variable", "RAGCORE_RERANKER_KEY"))
        self.server = RemoteServer(
            str(options["url"]).rstrip("/").removesuffix("/v1"),
            what="reranking server",
            headers=self._headers,
            key_variable=self._key_variable,
            retry=RetryPolicy.of(options, total=120, attempts=3),
        )

    def warm_up(self) -> None:
        """Score one pair. Raises ModelUnavailable if no server answers."""
        self.scores("a", ["a"])

    def scores(self, query: str, passages: Sequence[str]) -> FloatArray:
        """Return float32 [n], higher is more relevant, as the server scores them.

        Raises ModelUnavailable, RagcoreError for an answer without a score for each passage.
        """
        import numpy as np

        query = valid_text(query)
        texts = [valid_text(text[: self._most] if self._most else text) for text in passages]
        result = np.zeros(len(texts), np.float32)
        for start in range(0, len(texts), self._batch):
            batch = texts[start : start + self._batch]
            result[start : start + len(batch)] = self._request(query, batch)
        return result

    def _request(self, query: str, texts: list[str]) -> FloatArray:
        if self._dialect == "tei":
            body = {"query": query, "texts": texts, "raw_scores": True, "truncate": True}
            return self._scores(self.server.post("/rerank", body), "score", len(texts))
        body = {"model": self._model, "query": query, "documents": texts, "top_n": len(texts)}
        reply = self.server.post("/v1/rerank", body)
        rows = reply.get("results") if isinstance(reply, dict) else None
        return self._scores(rows, "relevance_score", len(texts))

    def _scores(self, rows: Any, key: str, count: int) -> FloatArray:
        import numpy as np

        try:
            by_place = {int(row["index"]): float(row[key]) for row in rows}
        except (KeyError, TypeError, ValueError) as error:
            raise RagcoreError(f"{self.server.url} sent no scores: {str(rows)[:80]}") from error
        scores = np.array([by_place.get(place, np.nan) for place in range(count)], np.float32)
        if not np.isfinite(scores).all():
            raise RagcoreError(f"{self.server.url} sent no score for some of {count} passages")
        return scores

    def _headers(self) -> dict[str, str]:
        key = os.environ.get(self._key_variable)
        remember(key or "")
        return {"Authorization": f"Bearer {key}"} if key else {}
