"""Texts to vectors by Ollama's own embeddings call."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ragcore.encoders.openai_text import OpenAITextEncoder
from ragcore.errors import RagcoreError, UsageError
from ragcore.models import TextKind


class OllamaTextEncoder(OpenAITextEncoder):
    """A `TextEncoder` of the Ollama server at `url` (without /v1).

    Options as of `OpenAITextEncoder`, without dialect and input types. Ollama cuts texts to the
    model's length itself.
    """

    PATH = "/api/embed"

    def __init__(self, *, model: str, options: Mapping[str, Any]) -> None:
        """Raises UsageError for an unknown or a missing option."""
        for unknown in ("dialect", "query_input_type", "passage_input_type"):
            if unknown in options:
                raise UsageError(f"{model}: an encoder of kind ollama takes no option {unknown}")
        url = str(options.get("url", "")).rstrip("/").removesuffix("/v1")
        super().__init__(model=model, options={**options, "url": url} if url else options)

    def _body(self, texts: list[str], kind: TextKind) -> dict[str, Any]:
        body: dict[str, Any] = {"model": self._model, "input": texts, "truncate": True}
        if dimensions := self._options.get("dimensions"):
            body["dimensions"] = int(dimensions)
        return body

    def _rows(self, reply: Any, count: int) -> list[list[float]]:
        found = reply.get("embeddings") if isinstance(reply, dict) else None
        if not isinstance(found, list) or len(found) != count:
            raise RagcoreError(f"{self.server.url} sent no {count} embeddings: {str(reply)[:80]}")
        return found
