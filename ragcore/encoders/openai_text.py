"""Texts to vectors by any server that speaks OpenAI's embeddings protocol, by URL."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from ragcore.encoders.options import reject_unknown, space_name, valid_text
from ragcore.errors import RagcoreError, UsageError
from ragcore.models import RemoteServer, RequestRejected, RetryPolicy, Space, TextKind
from ragcore.redaction import remember

if TYPE_CHECKING:
    from ragcore.types import FloatArray

log = logging.getLogger(__name__)

_SHORTEST = 64  # characters below which a text is not cut further for a server that refuses it
_TOO_LONG = (
    "length",
    "long",
    "token",
    "context",
    "large",
    "character",
)  # in a server's words for it
_NO_VECTOR_OPTIONS = frozenset(
    {"url", "key_variable", "batch_size", "parallel", "connect_timeout", "timeout",
     "total_timeout", "attempts", "revision"}
)  # fmt: skip


class OpenAITextEncoder:
    """A `TextEncoder` behind `url` (…/v1): vLLM, Text Embeddings Inference, Ollama, ragcore, ….

    Options: `url`; `key_variable` (the variable that holds the key); `revision` (part of the
    space's name: change it when the server's model changes); `query_prompt`, `passage_prompt`
    (text put in front); `query_input_type`, `passage_input_type` (sent as `input_type`, for
    servers that distinguish the two); `dimensions` (asked of models that can give fewer);
    `max_characters` (longer texts are cut here; 0: not); `dialect` ("openai", or "vllm", which
    is asked to cut texts to the model's length itself); `batch_size` (texts a request);
    `parallel` (requests at once); `connect_timeout`, `timeout`, `total_timeout` (seconds);
    `attempts`.

    A text that the server refuses as too long is halved until it is taken. Safe for threads.
    """

    PATH = "/embeddings"
    OPTIONS = _NO_VECTOR_OPTIONS | {
        "query_prompt", "passage_prompt", "query_input_type", "passage_input_type", "dimensions",
        "max_characters", "dialect",
    }  # fmt: skip

    def __init__(self, *, model: str, options: Mapping[str, Any]) -> None:
        """Raises UsageError for an unknown or a missing option."""
        reject_unknown(model, options, frozenset(self.OPTIONS))
        if "url" not in options:
            raise UsageError(f"{model}: a text encoder of kind openai needs the option url")
        get = options.get
        self._model = model
        self._options = dict(options)
        self._key_variable = str(get("key_variable", "RAGCORE_EMBEDDINGS_KEY"))
        self._batch = int(get("batch_size", 64))
        self._parallel = int(get("parallel", 2))
        self._most = int(get("max_characters", 0))
        if self._batch < 1 or self._parallel < 1 or self._most < 0:
            raise UsageError(f"{model}: batch_size and parallel must be at least 1")
        if get("dialect", "openai") not in ("openai", "vllm"):
            raise UsageError(f"{model}: unknown dialect {get('dialect')!r}: use openai or vllm")
        self.server = RemoteServer(
            str(options["url"]),
            what="embeddings server",
            headers=self._headers,
            key_variable=self._key_variable,
            retry=RetryPolicy.of(options, total=300, attempts=4),
        )
        vectors = {k: v for k, v in options.items() if k not in _NO_VECTOR_OPTIONS}
        self._space_name = space_name(model, str(get("revision", "served")), vectors)
        self._space: Space | None = None
        self._lock = threading.Lock()

    @property
    def space(self) -> Space:
        """The space of these vectors. Asks the server the first time, to know its dimension."""
        with self._lock:
            if self._space is None:
                dimension = len(self._request(["a"], "passage")[0])
                self._space = Space(self._space_name, "text", dimension)
            return self._space

    def warm_up(self) -> None:
        """Embed one letter. Raises ModelUnavailable if no server answers."""
        _ = self.space

    def encode(self, texts: Sequence[str], kind: TextKind = "passage") -> FloatArray:
        """Return float32 [n, d], L2-normalized, in the order given."""
        import numpy as np

        if isinstance(texts, str):
            raise UsageError("encode takes a list of texts, not one text")
        vectors = np.zeros((len(texts), self.space.dimension), np.float32)
        # texts of like lengths share a request: less padding there
        order = sorted(range(len(texts)), key=lambda i: len(texts[i]), reverse=True)
        batches = [order[at : at + self._batch] for at in range(0, len(order), self._batch)]
        chosen = ([self._prepared(texts[i], kind) for i in batch] for batch in batches)
        for batch, rows in zip(batches, self._answers(chosen, kind), strict=True):
            vectors[batch] = self._checked(rows)
        norms = np.linalg.norm(vectors, axis=1, keepdims=True)
        result: FloatArray = vectors / np.maximum(norms, 1e-12)
        return result

    def _answers(self, batches: Iterator[list[str]], kind: TextKind) -> Iterator[list[list[float]]]:
        with ThreadPoolExecutor(self._parallel, thread_name_prefix="embeddings") as pool:
            yield from pool.map(lambda texts: self._request(texts, kind), list(batches))

    def _prepared(self, text: str, kind: TextKind) -> str:
        text = valid_text(text)
        prompt = str(self._options.get(f"{kind}_prompt") or "")
        text = prompt + (text[: self._most] if self._most else text)
        return text if text.strip() else " ."  # an empty text is refused by most servers

    def _request(self, texts: list[str], kind: TextKind) -> list[list[float]]:
        """Vectors of one batch, in order; a batch with a text that is too long is split."""
        try:
            reply = self.server.post(self.PATH, self._body(texts, kind))
        except RequestRejected as error:
            if error.status not in (400, 413, 422) or not _is_length(error):
                raise
            if len(texts) > 1:
                half = len(texts) // 2
                return self._request(texts[:half], kind) + self._request(texts[half:], kind)
            if len(texts[0]) < 2 * _SHORTEST:
                raise
            log.warning("%s: a text of %d characters is too long for the server, and is halved",
                        self._model, len(texts[0]))  # fmt: skip
            return self._request([texts[0][: len(texts[0]) // 2]], kind)
        return self._rows(reply, len(texts))

    def _body(self, texts: list[str], kind: TextKind) -> dict[str, Any]:
        body: dict[str, Any] = {"model": self._model, "input": texts, "encoding_format": "float"}
        if dimensions := self._options.get("dimensions"):
            body["dimensions"] = int(dimensions)
        if input_type := self._options.get(f"{kind}_input_type"):
            body["input_type"] = str(input_type)
        if self._options.get("dialect") == "vllm":
            body["truncate_prompt_tokens"] = -1  # the model's own length
        return body

    def _rows(self, reply: Any, count: int) -> list[list[float]]:
        try:
            rows = sorted(reply["data"], key=lambda row: row["index"])
            found = [row["embedding"] for row in rows]
        except (KeyError, TypeError) as error:
            raise RagcoreError(
                f"{self.server.url} sent no embeddings: {str(reply)[:80]}"
            ) from error
        if len(found) != count:
            raise RagcoreError(f"{self.server.url} sent {len(found)} embeddings for {count} texts")
        return found

    def _checked(self, rows: list[list[float]]) -> FloatArray:
        import numpy as np

        try:
            vectors = np.asarray(rows, np.float32)
        except (TypeError, ValueError) as error:
            raise RagcoreError(f"{self.server.url} sent embeddings that are no numbers") from error
        if vectors.shape != (len(rows), self.space.dimension) or not np.isfinite(vectors).all():
            raise RagcoreError(
                f"{self.server.url} sent embeddings {vectors.shape} where {self.space.dimension} "
                "finite numbers a text were expected: has its model changed?"
            )
        return vectors

    def _headers(self) -> dict[str, str]:
        key = os.environ.get(self._key_variable)
        remember(key or "")
        return {"Authorization": f"Bearer {key}"} if key else {}


def _is_length(error: RequestRejected) -> bool:
    return error.status == 413 or any(word in str(error).lower() for word in _TOO_LONG)
