"""A GGUF model in this process, run by llama.cpp, with LoRA adapters of the adapter store."""

from __future__ import annotations

import math
import os
import queue
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

from ragcore.errors import Cancelled, RagcoreError, UsageError
from ragcore.llm.gguf_file import GgufModel, find_gguf, read_gguf, read_vocabulary
from ragcore.llm.gguf_lora import adapter_gguf
from ragcore.llm.grammar import check_constraint, verify
from ragcore.llm.llamacpp_requests import check_beginning, forced, grammar_of, sampling_fields
from ragcore.llm.llamacpp_scores import ScoredTokens, ScoreMemory
from ragcore.llm.llamacpp_server import LlamaServer, ServerOptions, Slots, has_gpu, native, refusal
from ragcore.llm.logits import check_sampling
from ragcore.llm.received import received
from ragcore.models import NO_ADAPTER, Constraint, ModelMemory, Sampling, Weights
from ragcore.types import CancelToken, Message

CONTEXT = 4096  # tokens, where the profile sets none: each slot takes memory for that many
_LISTED = 20_000  # tokens among which a part of a character is looked up
_UNLIKELY = -20.0  # log probability of a token that is not among them, at most


@dataclass(slots=True)
class _Loaded:
    """What is in memory: the model with the adapters that it was loaded with."""

    server: LlamaServer
    slots: Slots
    adapters: list[str]
    words: dict[str, tuple[int, ...]] = field(default_factory=dict)
    vocabulary: dict[str, int] | None = None


class LlamaCppLLM:
    """Runs a chat model from a GGUF file through llama.cpp.

    `model` is the file, or a folder with one (`file` chooses among several). Up to `slots`
    answers run at once; the others wait. Each slot keeps what was read last, so that another
    question about the same text is answered sooner. `context_length` is tokens of prompt and
    answer (default: 4,096, or less if the model was trained on less). `threads` computes with so
    many (0: one for each core). The model loads at first use and is unloaded after `idle_seconds`
    without any (0: never).

    `adapters` turns a name into a folder in peft's layout; `adapter` is the default one. llama.cpp
    takes adapters when a model is loaded, so the first use of a further one loads it again.
    """

    def __init__(
        self,
        model: str | Path,
        *,
        name: str,
        cache: Path,
        file: str = "",
        adapter: str | None = None,
        adapters: Callable[[str], Path] | None = None,
        context_length: int | None = None,
        threads: int = 0,
        slots: int = 2,
        gpu: bool = True,
        idle_seconds: float = 900.0,
        memory: ModelMemory | None = None,
    ) -> None:
        """`cache` is a folder for converted adapters; `gpu`: use one where llama.cpp has it."""
        if idle_seconds < 0:
            raise UsageError("idle_seconds must be at least 0 (0: keep the model)")
        if not 1 <= slots <= 64:
            raise UsageError("slots must be between 1 and 64")
        if threads < 0 or (context_length is not None and context_length < 64):
            raise UsageError("threads must be at least 0 (0: all cores), context_length 64")
        self.model: GgufModel = read_gguf(find_gguf(Path(model), file))
        trained = self.model.context_length
        if context_length is not None and context_length > trained:
            raise UsageError(f"{name} was trained on {trained} tokens: lower context_length")
        native()
        self._name = name
        self._cache = cache
        self.default_adapter = adapter
        self._find_adapter = adapters
        self._context_length = context_length or min(CONTEXT, trained)
        self._options = ServerOptions(
            context=self._context_length,
            slots=slots,
            threads=threads or _cores(),
            gpu=gpu and has_gpu(),
        )
        marks = "|".join(map(re.escape, self.model.marks))
        self._marks = re.compile(marks) if marks else None
        self._own: dict[str, Path] = {}
        self._scores = ScoreMemory()
        self.weights: Weights[_Loaded] = (memory or ModelMemory()).weights(
            self._load,
            part="llm",
            name=name,
            device="cuda" if self._options.gpu else "cpu",
            precision=self.model.quantization,
            size=lambda: self.model.bytes,
            measure=lambda _: self.model.bytes,
            idle_seconds=idle_seconds,
        )

    # --- the contract of LLM ---

    @property
    def name(self) -> str:
        return self._name

    @property
    def context_length(self) -> int:
        return self._context_length

    def warm_up(self) -> None:
        """Load the model and the default adapter now. Raises ModelUnavailable."""
        with self.weights.lease() as loaded:
            self._activate(loaded, self._adapter(None), None)

    def count_tokens(self, text: str) -> int:
        if not text:
            return 0
        with self.weights.lease() as loaded:
            return len(loaded.server.tokens(text))

    def render(self, messages: Sequence[Message]) -> str:
        """The exact text that the model is given, by the template in its file.

        Control marks inside messages are defused.
        """
        if not messages:
            raise UsageError("there is no message to answer")
        with self.weights.lease() as loaded:
            return loaded.server.render([(m.role, self._plain(m.content)) for m in messages])

    def stream(
        self,
        messages: Sequence[Message],
        sampling: Sampling = Sampling(),
        *,
        constraint: Constraint | None = None,
        adapter: str | None = None,
        cancel: CancelToken | None = None,
    ) -> Iterator[str]:
        """Yield the answer in pieces.

        `adapter` is a name, "none" for the bare model, or None for the default. Raises Cancelled
        soon after `cancel` is set, also while the prompt is read; UsageError for a prompt beyond
        the context, and for a sampling or constraint that llama.cpp cannot do; RagcoreError when a
        constrained answer was cut short or does not follow its constraint.
        """
        check_sampling(sampling)
        chosen = self._adapter(adapter)
        with self.weights.lease() as loaded:
            prompt, room = self._encode(loaded, messages)
            limit = min(sampling.max_tokens, room)
            fields = sampling_fields(
                replace(sampling, max_tokens=limit), lambda word: self._tokens_of(loaded, word)
            )
            if constraint is not None:
                check_constraint(constraint, limit)
                byte_level = self.model.byte_level
                fields["grammar"] = grammar_of(constraint, limit, byte_level=byte_level)
            text = ""
            for piece in self._run(loaded, prompt, fields, chosen, cancel):
                text += piece
                if constraint is not None:
                    check_beginning(text, constraint)
                yield piece
        if constraint is not None:
            verify(text, constraint)

    # --- beyond the contract ---

    def add_adapter(self, name: str, folder: Path) -> None:
        """Make the adapter in `folder` known under `name`, beside those that are looked up."""
        self._own[name] = folder

    def likelihood(
        self,
        messages: Sequence[Message],
        text: str,
        *,
        adapter: str | None = None,
        cancel: CancelToken | None = None,
    ) -> float:
        """Probability in [0, 1] that the answer begins with `text`.

        The last answers are remembered with their probabilities, so it costs nothing for what was
        just written. Another text costs as long as writing it, after a prompt that is read already,
        and for each part of a character that is no token a fifth of a second more; such a part that
        is not among the 20,000 likeliest tokens counts as the last of these.
        """
        chosen = self._adapter(adapter)
        with self.weights.lease() as loaded:
            prompt, room = self._encode(loaded, messages)
            if (known := self._scores.find(prompt, chosen, text)) is not None:
                return math.exp(known)
            target = loaded.server.pieces(text)
            if len(target) > room:
                raise UsageError(f"the text is too long: {room} tokens are left in the context")
            total = 0.0
            for whole, run in groupby(target, key=itemgetter(1)):
                tokens = [token for token, _ in run]
                score = self._forced if whole else self._listed
                total += score(loaded, prompt, tokens, chosen, cancel)
                prompt = [*prompt, *tokens]
            return math.exp(total)

    # --- inside ---

    def _forced(
        self,
        loaded: _Loaded,
        prompt: list[int],
        tokens: list[int],
        adapter: str | None,
        cancel: CancelToken | None,
    ) -> float:
        """Log probability of the next tokens, by a grammar that lets nothing else be written."""
        scored = ScoredTokens()
        fields = {"max_tokens": len(tokens), "temperature": 0, "grammar": forced(tokens)}
        for _ in self._run(loaded, prompt, fields, adapter, cancel, scored):
            pass
        if len(scored.ends) != len(tokens):
            raise RagcoreError("llama.cpp did not score the text; this is a bug, report it")
        return scored.ends[-1][1]

    def _listed(
        self,
        loaded: _Loaded,
        prompt: list[int],
        tokens: list[int],
        adapter: str | None,
        cancel: CancelToken | None,
    ) -> float:
        """The log probability of tokens that are parts of characters.

        llama.cpp reports nothing when it writes such a token: each is looked up among the
        likeliest, beside another token that is written.
        """
        anchor = loaded.server.tokens(".")[0]
        total = 0.0
        for token in tokens:
            scored = ScoredTokens()
            fields = {"max_tokens": 1, "temperature": 0, "logit_bias": [[anchor, 1_000.0]],
                      "n_probs": _LISTED}  # fmt: skip
            for _ in self._run(loaded, prompt, fields, adapter, cancel, scored):
                pass
            total += scored.first.get(token, min(scored.first.values(), default=_UNLIKELY))
            prompt = [*prompt, token]
        return total

    def _run(
        self,
        loaded: _Loaded,
        prompt: list[int],
        fields: dict[str, Any],
        adapter: str | None,
        cancel: CancelToken | None,
        scored: ScoredTokens | None = None,
    ) -> Iterator[str]:
        """Pieces of text as llama.cpp writes them, and in `scored` their probabilities."""
        scored = scored or ScoredTokens()
        if cancel is not None and cancel.cancelled:
            raise Cancelled("the answer was cancelled")
        number = self._activate(loaded, adapter, cancel)
        slot, same = loaded.slots.acquire(prompt, adapter, cancel)
        body = {"n_probs": 1, **fields, "prompt": prompt, "id_slot": slot.number,
                "cache_prompt": same}  # fmt: skip
        events: queue.SimpleQueue[Any] = queue.SimpleQueue()
        stop, started = threading.Event(), threading.Event()

        def on_event(event: Any) -> bool:
            events.put(event)  # an exception here would end the answer in silence
            return stop.is_set()

        def work() -> None:
            try:
                with self.weights.lease():  # until llama.cpp has stopped, whatever the reader does
                    started.set()
                    loaded.server.complete(body, number, on_event)
                events.put(None)
            except BaseException as error:  # handed on to the caller's thread
                events.put(error)
            finally:
                loaded.slots.release(slot)
                started.set()

        threading.Thread(target=work, name="llama.cpp").start()
        started.wait()
        text = ""
        try:
            for event in _each(received(events, cancel)):
                if "error" in event:
                    raise RagcoreError(f"{self.name}: {refusal(event)}")
                choice = event["choices"][0]
                for token in (choice.get("logprobs") or {}).get("content", ()):
                    scored.add(token)
                if choice["text"]:
                    text += choice["text"]
                    yield str(choice["text"])
            # Nothing is reported of tokens that are parts of characters.
            if scored.text.startswith(text.encode()):
                self._scores.add(prompt, adapter, scored)
        finally:
            stop.set()

    def _encode(self, loaded: _Loaded, messages: Sequence[Message]) -> tuple[list[int], int]:
        """Tokens of the prompt, and how many are left for the answer. Raises UsageError."""
        prompt = loaded.server.tokens(self.render(messages), marks=True)
        room = self.context_length - len(prompt)
        if room < 1:
            raise UsageError(
                f"the prompt has {len(prompt)} tokens and {self.name} takes "
                f"{self.context_length}: ask with fewer or shorter passages"
            )
        return prompt, room

    def _plain(self, content: str) -> str:
        """Text in which the model's control tokens are only words."""
        if self._marks is None:
            return content
        return self._marks.sub(lambda mark: " ".join(mark[0].strip("<>|[]")).join("()"), content)

    def _tokens_of(self, loaded: _Loaded, word: str) -> tuple[int, ...]:
        """The token of a word, alone and after a space, as given and in other cases."""
        if word not in loaded.words:
            found: set[int] = set()
            for form in {word, word.lower(), word.capitalize(), word.upper()}:
                ids = self._single_tokens(loaded, form)
                if not ids:
                    raise UsageError(
                        "banned_words and boosted_words of llama.cpp are words of one token, and "
                        f"{form!r} has more: use a model of kind transformers"
                    )
                found.update(ids)
            loaded.words[word] = tuple(sorted(found))
        return loaded.words[word]

    def _single_tokens(self, loaded: _Loaded, form: str) -> list[int]:
        """The tokens that are this text, alone or after a space."""
        if self.model.byte_level:
            both = [loaded.server.tokens(text) for text in (form, f" {form}")]
            return [ids[0] for ids in both if len(ids) == 1]
        if loaded.vocabulary is None:  # SentencePiece puts a space in front of what it is given
            loaded.vocabulary = read_vocabulary(self.model.path)
        known = loaded.vocabulary
        return [known[text] for text in (form, f"\u2581{form}") if text in known]

    def _adapter(self, asked: str | None) -> str | None:
        chosen = self.default_adapter if asked is None else asked
        return None if chosen == NO_ADAPTER else chosen

    def _activate(
        self, loaded: _Loaded, adapter: str | None, cancel: CancelToken | None
    ) -> int | None:
        """The adapter's number in the loaded model, which is loaded again if it has it not."""
        if adapter is None:
            return None
        if adapter not in loaded.adapters:
            self._file_of(adapter)  # refused before anybody has to wait
            with loaded.slots.all(cancel):
                if adapter not in loaded.adapters:
                    names = [*loaded.adapters, adapter]
                    loaded.server = LlamaServer(self.model.path, self._options, self._files(names))
                    loaded.adapters = names
        return loaded.adapters.index(adapter)

    def _file_of(self, adapter: str) -> Path:
        if adapter not in self._own and self._find_adapter is None:
            raise UsageError(f"{self.name} was made without adapters; asked for {adapter!r}")
        folder = self._own.get(adapter) or self._find_adapter(adapter)  # type: ignore[misc]
        return adapter_gguf(folder, self.model, self._cache, name=adapter)

    def _files(self, adapters: Sequence[str]) -> list[Path]:
        return [self._file_of(name) for name in adapters]

    def _load(self) -> _Loaded:
        default = self._adapter(None)
        names = [default] if default else []
        try:
            files = self._files(names)
        except UsageError:  # raised again for whoever asks for it; the bare model works
            names, files = [], []
        server = LlamaServer(self.model.path, self._options, files)
        return _Loaded(server, Slots(self._options.slots), names)


def _each(events: Iterator[Any]) -> Iterator[dict[str, Any]]:
    for event in events:
        yield from event if isinstance(event, list) else [event]


def _cores() -> int:
    """Threads to compute with: the setting of OpenMP, else the cores that this process may use."""
    given = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0]
    return int(given) if given.isdigit() and int(given) else len(os.sched_getaffinity(0))
