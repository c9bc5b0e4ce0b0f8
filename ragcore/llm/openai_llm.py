"""Any server that speaks the OpenAI chat protocol: vLLM, llama.cpp, Ollama, ... by URL."""

from __future__ import annotations

import json
import os
import queue
import threading
from collections.abc import Iterator, Sequence
from typing import Any

from ragcore.errors import ModelUnavailable, RagcoreError, UsageError
from ragcore.llm.logits import check_sampling
from ragcore.llm.received import received
from ragcore.models import Constraint, RemoteServer, RetryPolicy, Sampling
from ragcore.redaction import remember
from ragcore.types import CancelToken, Message


class OpenAILLM:
    """A chat model behind `url` (…/v1). The key is read from the variable named `key_variable`.

    An adapter is a model name of its own there, as vLLM's LoRA modules are; "none" and None ask
    for `model`. Where the server applies constraints its own way, `dialect` says so: "openai"
    (JSON Schema only), "vllm" (regular expressions, choices and banned words too) or "llama.cpp"
    (choices too).

    `connect_timeout`, `timeout` (for the next words) and `total_timeout` are seconds; a request
    that failed before its first word is sent again, `attempts` times in all, with growing pauses.
    `think` is sent to the chat template of a thinking model (None: nothing is sent).
    """

    def __init__(
        self,
        *,
        model: str,
        url: str,
        key_variable: str = "RAGCORE_LLM_KEY",
        context_length: int = 8192,
        connect_timeout: float = 10.0,
        timeout: float = 120.0,
        total_timeout: float = 600.0,
        attempts: int = 4,
        dialect: str = "openai",
        adapter: str | None = None,
        think: bool | None = None,
    ) -> None:
        if dialect not in ("openai", "vllm", "llama.cpp"):
            raise UsageError(f"unknown dialect {dialect!r}: use openai, vllm or llama.cpp")
        self._model = model
        self._key_variable = key_variable
        self._context_length = context_length
        self.server = RemoteServer(
            url,
            what="LLM server",
            headers=self._headers,
            key_variable=key_variable,
            retry=RetryPolicy(
                connect=connect_timeout, read=timeout, total=total_timeout, attempts=attempts
            ),
        )
        self._dialect = dialect
        self._default_adapter = adapter
        self._thinking = think

    @property
    def name(self) -> str:
        return self._model

    @property
    def context_length(self) -> int:
        return self._context_length

    def warm_up(self) -> None:
        """Ask the server for its models.

        Raises ModelUnavailable if it has not this one, or not its default adapter.
        """
        try:
            names = [str(model["id"]) for model in self.server.get("/models").get("data", [])]
        except (AttributeError, KeyError, TypeError) as error:
            raise ModelUnavailable(f"{self.server.url} lists no models: {error}") from error
        for wanted in (self._model, self._default_adapter):
            if names and wanted not in (None, "none", *names):
                raise ModelUnavailable(
                    f"{self.server.url} has no model {wanted!r}; it has {', '.join(names[:8])}"
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

        check_sampling(sampling)
        if constraint is not None:
            check_constraint(constraint, sampling.max_tokens)
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
        if s.boosted_words or s.no_repeat_ngram:
            raise UsageError("boosted_words and no_repeat_ngram need a local model")
        if s.banned_words and self._dialect != "vllm":
            raise UsageError("banned_words need a local model, or a server of dialect vllm")
        body = chat_fields(self._model if chosen in (None, "none") else chosen, messages)
        body |= common_sampling(s) | {"max_tokens": s.max_tokens}
        if s.top_k:
            body["top_k"] = s.top_k
        if s.repetition_penalty != 1:
            body["repetition_penalty"] = s.repetition_penalty
        if self._thinking is not None:
            body["chat_template_kwargs"] = {"enable_thinking": self._thinking}
        if s.banned_words:
            body["bad_words"] = list(s.banned_words)
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
        pieces: queue.SimpleQueue[str | BaseException | None] = queue.SimpleQueue()
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
            yield from received(pieces, cancel)
        finally:
            stop.set()

    def _pieces(self, body: dict[str, Any], stop: threading.Event) -> Iterator[str]:
        ended = False
        for line in self.server.lines("/chat/completions", body, stop):
            data = line.removeprefix("data:").strip()
            if not line.startswith("data:") or not data:
                continue
            if data == "[DONE]":
                return
            event = _event(data)
            for choice in event.get("choices", ()):
                if piece := (choice.get("delta") or {}).get("content"):
                    yield piece
                ended = ended or bool(choice.get("finish_reason"))
        if not ended and not stop.is_set():
            raise ModelUnavailable(f"{self.server.url} broke off in the middle of an answer")

    def _headers(self) -> dict[str, str]:
        key = os.environ.get(self._key_variable)
        remember(key or "")
        return {"Authorization": f"Bearer {key}"} if key else {}


def chat_fields(model: str | None, messages: Sequence[Message]) -> dict[str, Any]:
    """What a request for an answer has in every protocol."""
    turns = [{"role": m.role, "content": m.content} for m in messages]
    return {"model": model, "messages": turns, "stream": True}


def common_sampling(sampling: Sampling) -> dict[str, Any]:
    """The sampling that every protocol knows by the same names."""
    fields: dict[str, Any] = {
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "presence_penalty": sampling.presence_penalty,
        "frequency_penalty": sampling.frequency_penalty,
    }
    if sampling.stop:
        fields["stop"] = list(sampling.stop)
    if sampling.seed is not None:
        fields["seed"] = sampling.seed
    return fields


def _event(data: str) -> dict[str, Any]:
    try:
        event = json.loads(data)
    except ValueError as error:
        raise RagcoreError(f"the LLM server sent what is not JSON: {data[:80]}") from error
    if not isinstance(event, dict) or "error" in event:
        raise RagcoreError(f"the LLM server failed: {str(event)[:200]}")
    return event
