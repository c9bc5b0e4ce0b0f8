"""Any server that speaks the OpenAI chat protocol: vLLM, llama.cpp, Ollama, ... by URL."""

from __future__ import annotations

import json
import os
import queue
import threading
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from ragcore.errors import Cancelled, ModelUnavailable, RagcoreError, UsageError
from ragcore.llm.base import Constraint, Sampling
from ragcore.llm.logits import check
from ragcore.types import CancelToken, Message

if TYPE_CHECKING:
    import httpx

_CANCEL_EVERY = 0.05  # seconds between two looks at the cancel token


class OpenAILLM:
    """A chat model behind `url` (…/v1). The key is read from the variable named `key_variable`.

    An adapter is a model name of its own there, as vLLM's LoRA modules are; "none" and None ask
    for `model`. Where the server applies constraints its own way, `dialect` says so: "openai"
    (JSON Schema only), "vllm" or "llama.cpp" (regular expressions and choices too).
    """

    def __init__(
        self,
        *,
        model: str,
        url: str,
        key_variable: str = "RAGCORE_LLM_KEY",
        context_length: int = 8192,
        timeout: float = 120.0,
        dialect: str = "openai",
        adapter: str | None = None,
    ) -> None:
        if not url.startswith(("http://", "https://")):
            raise UsageError(f"the LLM's url must begin with http:// or https://, not {url!r}")
        if dialect not in ("openai", "vllm", "llama.cpp"):
            raise UsageError(f"unknown dialect {dialect!r}: use openai, vllm or llama.cpp")
        self._model = model
        self._url = url.rstrip("/")
        self._key_variable = key_variable
        self._context_length = context_length
        self._timeout = timeout
        self._dialect = dialect
        self._default_adapter = adapter

    @property
    def name(self) -> str:
        return self._model

    @property
    def context_length(self) -> int:
        return self._context_length

    def warm_up(self) -> None:
        """Ask the server for its models. Raises ModelUnavailable if it has not this one."""
        import httpx

        try:
            reply = httpx.get(f"{self._url}/models", headers=self._headers(), timeout=10)
            reply.raise_for_status()
            names = [m["id"] for m in reply.json().get("data", [])]
        except (httpx.HTTPError, ValueError, KeyError, TypeError) as error:
            raise ModelUnavailable(f"no LLM server answers at {self._url}: {error}") from error
        if names and self._model not in names:
            raise ModelUnavailable(
                f"{self._url} has no model {self._model!r}; it has {', '.join(names[:8])}"
            )

    def count_tokens(self, text: str) -> int:
        """An upper estimate: the server's tokenizer is not known here."""
        return max(len(text) // 3, len(text.split()) * 4 // 3) + 1

    def render(self, messages: Sequence[Message]) -> str:
        """The turns as they are sent; the server applies the model's template."""
        return "\n\n".join(f"[{m.role}]\n{m.content}" for m in messages)

    def stream(
        self,
        messages: Sequence[Message],
        sampling: Sampling = Sampling(),
        *,
        constraint: Constraint | None = None,
        adapter: str | None = None,
        cancel: CancelToken | None = None,
    ) -> Iterator[str]:
        """Yield the answer in pieces as the server sends them.

        Raises Cancelled (the request is then dropped), ModelUnavailable when the server cannot
        be reached, RagcoreError for its refusals, UsageError for what cannot be asked of it.
        """
        from ragcore.llm.grammar import check_constraint, verify

        check(sampling)
        if constraint is not None:
            check_constraint(constraint)
        body = self._body(messages, sampling, constraint, adapter)
        text = ""
        for piece in self._cancellable(body, cancel):
            text += piece
            yield piece
        if constraint is not None:
            verify(text, constraint)

    def _body(
        self,
        messages: Sequence[Message],
        sampling: Sampling,
        constraint: Constraint | None,
        adapter: str | None,
    ) -> dict[str, Any]:
        s = sampling
        chosen = self._default_adapter if adapter is None else adapter
        if (s.banned_words or s.boosted_words or s.no_repeat_ngram) and self._dialect == "openai":
            raise UsageError("banned_words, boosted_words and no_repeat_ngram need a local model")
        body: dict[str, Any] = {
            "model": self._model if chosen in (None, "none") else chosen,
            "messages": [{"role": m.role, "content": m.content} for m in messages],
            "stream": True,
            "max_tokens": s.max_tokens,
            "temperature": s.temperature,
            "top_p": s.top_p,
            "presence_penalty": s.presence_penalty,
            "frequency_penalty": s.frequency_penalty,
        }
        if s.stop:
            body["stop"] = list(s.stop)
        if s.seed is not None:
            body["seed"] = s.seed
        if s.top_k:
            body["top_k"] = s.top_k
        if s.repetition_penalty != 1:
            body["repetition_penalty"] = s.repetition_penalty
        return body | self._constraint(constraint)

    def _constraint(self, constraint: Constraint | None) -> dict[str, Any]:
        if constraint is None:
            return {}
        if constraint.json_schema is not None:
            schema = {"name": "answer", "schema": constraint.json_schema, "strict": True}
            return {"response_format": {"type": "json_schema", "json_schema": schema}}
        if self._dialect == "vllm":
            if constraint.regex is not None:
                return {"structured_outputs": {"regex": constraint.regex}}
            return {"structured_outputs": {"choice": list(constraint.choices or ())}}
        if self._dialect == "llama.cpp" and constraint.choices is not None:
            options = " | ".join(json.dumps(c, ensure_ascii=False) for c in constraint.choices)
            return {"grammar": f"root ::= {options}"}
        raise UsageError(f"a server of dialect {self._dialect} takes no such constraint")

    def _cancellable(self, body: dict[str, Any], cancel: CancelToken | None) -> Iterator[str]:
        """Pieces read by a thread, so that a silent server does not hold up a cancel."""
        pieces: queue.Queue[str | BaseException | None] = queue.Queue()
        stop = threading.Event()

        def read() -> None:
            try:
                for piece in self._pieces(body, stop):
                    pieces.put(piece)
                pieces.put(None)
            except BaseException as error:  # handed on to the caller's thread
                pieces.put(error)

        threading.Thread(target=read, name="llm-server", daemon=True).start()
        try:
            while True:
                if cancel is not None and cancel.cancelled:
                    raise Cancelled("the answer was cancelled")
                try:
                    piece = pieces.get(timeout=_CANCEL_EVERY)
                except queue.Empty:
                    continue
                if piece is None:
                    return
                if isinstance(piece, BaseException):
                    raise piece
                yield piece
        finally:
            stop.set()

    def _pieces(self, body: dict[str, Any], stop: threading.Event) -> Iterator[str]:
        import httpx

        url = f"{self._url}/chat/completions"
        timeout = httpx.Timeout(self._timeout, connect=10)
        try:
            with httpx.stream(
                "POST", url, json=body, headers=self._headers(), timeout=timeout
            ) as reply:
                self._refused(reply)
                for line in reply.iter_lines():
                    if stop.is_set():
                        return
                    data = line.removeprefix("data:").strip()
                    if not line.startswith("data:") or not data:
                        continue
                    if data == "[DONE]":
                        return
                    yield from _content(data)
        except httpx.HTTPError as error:
            reason = str(error) or type(error).__name__
            raise ModelUnavailable(f"no LLM server answers at {self._url}: {reason}") from error

    def _refused(self, reply: httpx.Response) -> None:
        if reply.is_success:
            return
        reason = reply.read().decode("utf-8", "replace").strip()[:300]
        try:
            said = json.loads(reason)
            reason = str(said.get("error", said).get("message", reason))
        except (ValueError, AttributeError):
            pass
        if reply.status_code in (401, 403):
            reason = f"the key in {self._key_variable} is not accepted"
        raise RagcoreError(f"the LLM server refused ({reply.status_code}): {reason}")

    def _headers(self) -> dict[str, str]:
        key = os.environ.get(self._key_variable)
        return {"Authorization": f"Bearer {key}"} if key else {}


def _content(data: str) -> Iterator[str]:
    try:
        event = json.loads(data)
    except ValueError as error:
        raise RagcoreError(f"the LLM server sent what is not JSON: {data[:80]}") from error
    if "error" in event:
        raise RagcoreError(f"the LLM server failed: {event['error']}")
    for choice in event.get("choices", ()):
        if piece := (choice.get("delta") or {}).get("content"):
            yield piece
