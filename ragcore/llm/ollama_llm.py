"""Chat models of Ollama, by its own protocol.

Its OpenAI-compatible protocol has no field for the context length: a prompt beyond Ollama's default
of a few thousand tokens would lose its beginning without a word. Here it is sent with each request.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Sequence
from typing import Any

from ragcore.errors import ModelUnavailable, RagcoreError, UsageError
from ragcore.llm.openai_llm import OpenAILLM, chat_fields, common_sampling
from ragcore.models import Constraint, Sampling
from ragcore.types import Message


class OllamaLLM(OpenAILLM):
    """A chat model of the Ollama server at `url` (http://127.0.0.1:11434, without /v1).

    Options as of `OpenAILLM`, without dialect and adapter; `context_length` is what Ollama loads
    the model with, `think` whether a thinking model thinks first (None: as it likes), and
    `keep_alive` how long the model stays in memory ("5m", -1: always).
    """

    def __init__(
        self,
        *,
        model: str,
        url: str,
        keep_alive: str | int | None = None,
        **options: Any,
    ) -> None:
        """Raises UsageError for a bad url, TypeError for an unknown option."""
        for unknown in ("dialect", "adapter"):
            if unknown in options:
                raise TypeError(f"a model of kind ollama takes no option {unknown}")
        super().__init__(model=model, url=url.rstrip("/").removesuffix("/v1"), **options)
        self._keep_alive = keep_alive

    def warm_up(self) -> None:
        """Ask Ollama for its models. Raises ModelUnavailable if it has not this one."""
        try:
            names = [str(row["name"]) for row in self.server.get("/api/tags")["models"]]
        except (AttributeError, KeyError, TypeError) as error:
            raise ModelUnavailable(f"{self.server.url} lists no models: {error}") from error
        if self._model not in names and f"{self._model}:latest" not in names:
            raise ModelUnavailable(
                f"{self.server.url} has no model {self._model!r}; it has "
                f"{', '.join(names[:8]) or 'none'}: `ollama pull {self._model}` fetches it"
            )

    def _body(
        self,
        messages: Sequence[Message],
        sampling: Sampling,
        constraint: Constraint | None,
        adapter: str | None,
    ) -> dict[str, Any]:
        s = sampling
        if s.boosted_words or s.no_repeat_ngram or s.banned_words:
            raise UsageError("banned_words, boosted_words and no_repeat_ngram need a local model")
        if adapter not in (None, "none"):
            raise UsageError(f"Ollama runs no adapter by name: {adapter!r} cannot be asked for")
        options = common_sampling(s) | {
            "num_ctx": self.context_length,
            "num_predict": s.max_tokens,
            "top_k": s.top_k,
            "repeat_penalty": s.repetition_penalty,
        }
        body = chat_fields(self._model, messages) | {"options": options}
        if self._thinking is not None:
            body["think"] = self._thinking
        if self._keep_alive is not None:
            body["keep_alive"] = self._keep_alive
        if constraint is not None:
            if constraint.json_schema is None:
                raise UsageError("Ollama takes a JSON Schema as constraint, and no other")
            body["format"] = constraint.json_schema
        return body

    def _pieces(self, body: dict[str, Any], stop: threading.Event) -> Iterator[str]:
        for line in self.server.lines("/api/chat", body, stop):
            if not line.strip():
                continue
            try:
                event = json.loads(line)
            except ValueError as error:
                raise RagcoreError(f"Ollama sent what is not JSON: {line[:80]}") from error
            if not isinstance(event, dict) or "error" in event:
                raise RagcoreError(f"Ollama failed: {str(event)[:200]}")
            if piece := (event.get("message") or {}).get("content"):
                yield piece
            if event.get("done"):
                return
        if not stop.is_set():
            raise ModelUnavailable(f"{self.server.url} broke off in the middle of an answer")
