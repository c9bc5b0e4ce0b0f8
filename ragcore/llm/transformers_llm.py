"""A causal language model of transformers in this process, with peft adapters on top."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ragcore.errors import Cancelled, ModelUnavailable, UsageError
from ragcore.llm.batches import Batches
from ragcore.llm.fair_lock import FairLock
from ragcore.llm.grammar import GrammarCompiler, verify
from ragcore.llm.logits import check_sampling
from ragcore.llm.prompt_cache import CacheEntry, PromptCache
from ragcore.llm.text_stream import TextStream
from ragcore.llm.token_sampler import TokenSampler
from ragcore.models import (
    NO_ADAPTER,
    Constraint,
    ModelMemory,
    Sampling,
    Weights,
    check_loading,
    folder_bytes,
    loading_options,
    module_bytes,
    weight_share,
)
from ragcore.types import CancelToken, Message

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch

    from ragcore.models import Placement


@dataclass(slots=True)
class _Loaded:
    """What is in memory: the model with the adapters that were attached to it, and its caches."""

    model: Any
    adapters: set[str] = field(default_factory=set)
    active: str | None = None
    grammars: GrammarCompiler | None = None
    prompts: PromptCache = field(default_factory=PromptCache)

    def bytes(self) -> int:
        return module_bytes(self.model)


class TransformersLLM(Batches):
    """Runs any chat model from a local folder (or hub name) through transformers.

    Several threads may stream at once: tokens of all of them take turns, each with its own
    keys and values and its own adapter, and none waits for another's answer to end. Weights
    load on first use and are dropped after `idle_seconds` without any (0: kept).

    `quantization` ("4bit", "8bit") loads the weights in fewer bits by bitsandbytes; `device_map`
    ("auto") spreads them over the GPUs and the computer's memory by accelerate.

    `adapters` turns a name into a folder in peft's layout; `adapter` is the default one.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        name: str,
        placement: Placement,
        adapter: str | None = None,
        adapters: Callable[[str], Path] | None = None,
        idle_seconds: float = 900.0,
        context_length: int | None = None,
        quantization: str = "",
        device_map: str = "",
        memory: ModelMemory | None = None,
    ) -> None:
        check_loading(name, quantization, device_map)
        if idle_seconds < 0:
            raise UsageError("idle_seconds must be at least 0 (0: keep the model)")
        self._folder = str(folder)
        self._name = name
        self.placement = placement
        self.default_adapter = adapter
        self._find_adapter = adapters
        self._context_length = context_length
        self._quantization, self._device_map = quantization, device_map
        self._lock = threading.RLock()
        self._model_lock = FairLock()
        self._tokenizer: Any = None
        self._own: dict[str, Path] = {}
        self.weights: Weights[_Loaded] = (memory or ModelMemory()).weights(
            self._load,
            part="llm",
            name=name,
            device=placement.device,
            precision=placement.precision,
            size=self._expected_bytes,
            measure=_Loaded.bytes,
            idle_seconds=idle_seconds,
        )

    # --- the contract of LLM ---

    @property
    def name(self) -> str:
        return self._name

    @property
    def context_length(self) -> int:
        if self._context_length is None:
            from transformers import AutoConfig

            config = AutoConfig.from_pretrained(
                self._folder, local_files_only=True, trust_remote_code=False
            )
            self._context_length = int(getattr(config, "max_position_embeddings", 4096))
        return self._context_length

    def warm_up(self) -> None:
        """Load the model and the default adapter now. Raises ModelUnavailable."""
        with self.weights.lease() as loaded, self._model_lock:
            self._activate(loaded, self._adapter(None))

    def count_tokens(self, text: str) -> int:
        return len(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    def render(self, messages: Sequence[Message]) -> str:
        """The exact text that the model is given. Control marks inside messages are defused."""
        return str(
            self.tokenizer.apply_chat_template(
                [{"role": m.role, "content": self._plain(m.content)} for m in messages],
                tokenize=False,
                add_generation_prompt=True,
            )
        )

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

        `adapter` is a name, "none" for the bare model, or None for the default. Raises
        Cancelled within one token of `cancel`, UsageError for a prompt beyond the context or a
        bad sampling or constraint, RagcoreError when a constrained answer was cut short.
        """
        check_sampling(sampling)
        chosen = self._adapter(adapter)
        prompt = self._encode(messages)
        room = self.context_length - len(prompt)
        if room < 1:
            raise UsageError(
                f"the prompt has {len(prompt)} tokens and {self.name} takes "
                f"{self.context_length}: ask with fewer or shorter passages"
            )
        with self.weights.lease() as loaded:
            limit = min(sampling.max_tokens, room)
            grammar = self.grammars.start(constraint, limit) if constraint else None
            text = TextStream(self.tokenizer, sampling.stop)
            for token in self._tokens(loaded, prompt, sampling, limit, grammar, chosen, cancel):
                if piece := text.push(token):
                    yield piece
                if text.stopped:
                    break
            if piece := text.finish():
                yield piece
        if constraint is not None:
            verify(text.text, constraint)

    # --- beyond the contract ---

    def add_adapter(self, name: str, folder: Path) -> None:
        """Make the adapter in `folder` known under `name`, beside those that are looked up."""
        self._own[name] = folder

    def stream_from(
        self,
        prompt: Callable[[Any], torch.Tensor],
        sampling: Sampling = Sampling(),
        *,
        adapter: str | None = None,
        cancel: CancelToken | None = None,
    ) -> Iterator[str]:
        """As `stream`, from the input embeddings [1, t, width] that `prompt` makes of the model."""
        check_sampling(sampling)
        chosen = self._adapter(adapter)
        with self.acquire(chosen or NO_ADAPTER) as model:
            embedded = prompt(model)
        room = self.context_length - embedded.shape[1]
        if room < 1:
            raise UsageError(
                f"the question is too long: {self.name} takes {self.context_length} tokens"
            )
        with self.weights.lease() as loaded:
            text = TextStream(self.tokenizer, sampling.stop)
            limit = min(sampling.max_tokens, room)
            for token in self._tokens(loaded, [], sampling, limit, None, chosen, cancel, embedded):
                if piece := text.push(token):
                    yield piece
                if text.stopped:
                    break
            if piece := text.finish():
                yield piece

    def likelihood(
        self,
        messages: Sequence[Message],
        text: str,
        *,
        adapter: str | None = None,
        cancel: CancelToken | None = None,
    ) -> float:
        """Probability in [0, 1] that the answer begins with `text`.

        The prompt's keys and values are kept, so streaming the same prompt next costs nothing
        twice.
        """
        import torch

        prompt = self._encode(messages)
        target = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        chosen = self._adapter(adapter)
        with self.weights.lease() as loaded:
            entry = loaded.prompts.take([*prompt, *target], chosen) or _fresh(loaded, chosen)
            behind = len(prompt) - 1 - len(entry.tokens)
            ids = [*prompt, *target][len(entry.tokens) :]
            if behind < 0:  # more than the prompt is cached: read the last prompt token again
                entry.cache.crop(behind)
                del entry.tokens[len(prompt) - 1 :]
                ids, behind = [prompt[-1], *target], 0
            logits = self._forward(loaded, entry, ids, cancel, last=len(target) + 1)
            scores = logits[:-1].float().log_softmax(-1)
            value = float(scores[torch.arange(len(target)), target].sum().exp())
            loaded.prompts.give_back(entry)
            return value

    @property
    def tokenizer(self) -> Any:
        with self._lock:
            if self._tokenizer is None:
                from transformers import AutoTokenizer

                self._tokenizer = AutoTokenizer.from_pretrained(
                    self._folder, local_files_only=True, trust_remote_code=False
                )
            return self._tokenizer

    @property
    def grammars(self) -> GrammarCompiler:
        with self.weights.lease() as loaded, self._lock:
            if loaded.grammars is None:
                vocabulary = int(loaded.model.config.vocab_size)
                loaded.grammars = GrammarCompiler(self.tokenizer, vocabulary)
            return loaded.grammars

    @contextmanager
    def acquire(self, adapter: str | None = None) -> Iterator[Any]:
        """The model itself, for work that needs all of it (batches, scores); others wait."""
        with self.weights.lease() as loaded, self._model_lock:
            self._activate(loaded, self._adapter(adapter))
            yield loaded.model

    # --- inside ---

    def _tokens(
        self,
        loaded: _Loaded,
        prompt: list[int],
        sampling: Sampling,
        limit: int,
        grammar: Any,
        adapter: str | None,
        cancel: CancelToken | None,
        embedded: torch.Tensor | None = None,
    ) -> Iterator[int]:
        """Tokens after `prompt`, or after input embeddings in its place."""
        known = None if embedded is not None else loaded.prompts.take(prompt, adapter)
        entry = known or _fresh(loaded, adapter)
        shared = embedded is None  # the cache knows prompts by their tokens
        choose = TokenSampler(prompt, sampling, self.tokenizer, grammar)
        ends = self._end_tokens(loaded)
        pending = prompt[len(entry.tokens) :]
        try:
            for _ in range(limit):
                scores = self._forward(loaded, entry, pending, cancel, embedded=embedded)[-1]
                scores = scores.float()
                embedded = None
                token = choose(scores)
                if token in ends:
                    return
                pending = [token]
                yield token
        finally:
            # not so long after a failed forward
            if shared and entry.cache.get_seq_length() == len(entry.tokens):
                loaded.prompts.give_back(entry)

    def _forward(
        self,
        loaded: _Loaded,
        entry: CacheEntry,
        ids: list[int],
        cancel: CancelToken | None,
        *,
        last: int = 1,
        embedded: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Logits [last, V] after `ids`, which are added to `entry`.

        Long prompts go in chunks, so that others get a turn in between and a cancel is seen soon.
        """
        import torch

        chunk = 512 if self.placement.device == "cpu" else 4096
        logits: torch.Tensor | None = None
        if embedded is not None:
            if cancel is not None and cancel.cancelled:
                raise Cancelled("the answer was cancelled")
            with self._model_lock, torch.inference_mode():
                self._activate(loaded, entry.adapter)
                logits = loaded.model(
                    inputs_embeds=embedded,
                    past_key_values=entry.cache,
                    use_cache=True,
                    logits_to_keep=1,
                ).logits[0]
        for start in range(0, len(ids), chunk):
            part = ids[start : start + chunk]
            if 0 < len(ids) - start - chunk < last:  # do not cut through what is asked for
                part = ids[start:]
            if cancel is not None and cancel.cancelled:
                raise Cancelled("the answer was cancelled")
            with self._model_lock, torch.inference_mode():
                self._activate(loaded, entry.adapter)
                logits = loaded.model(
                    input_ids=torch.tensor([part], device=loaded.model.device),
                    past_key_values=entry.cache,
                    use_cache=True,
                    logits_to_keep=min(last, len(part)),
                ).logits[0]
            entry.tokens += part
            if len(part) > chunk:
                break
        assert logits is not None
        return logits

    def _encode(self, messages: Sequence[Message]) -> list[int]:
        if not messages:
            raise UsageError("there is no message to answer")
        ids = self.tokenizer(self.render(messages), add_special_tokens=False)["input_ids"]
        return [int(i) for i in ids]

    def _plain(self, content: str) -> str:
        """Text in which the model's control tokens are only words."""
        for mark in self.tokenizer.all_special_tokens:
            if mark in content:
                content = content.replace(mark, " ".join(mark.strip("<>|[]")).join("()"))
        return content

    def _end_tokens(self, loaded: _Loaded) -> set[int]:
        ends = loaded.model.generation_config.eos_token_id
        ends = ends if isinstance(ends, list) else [ends]
        return {int(e) for e in (*ends, self.tokenizer.eos_token_id) if e is not None}

    def _adapter(self, asked: str | None) -> str | None:
        chosen = self.default_adapter if asked is None else asked
        return None if chosen == NO_ADAPTER else chosen

    def _activate(self, loaded: _Loaded, adapter: str | None) -> None:
        """Switch the model to `adapter`; the caller holds the model's lock."""
        if adapter == loaded.active:
            return
        if adapter is None:
            loaded.model.base_model.disable_adapter_layers()
        else:
            self._load_adapter(loaded, adapter)
            if loaded.active is None:
                loaded.model.base_model.enable_adapter_layers()
            loaded.model.base_model.set_adapter(adapter, inference_mode=True)
        loaded.active = adapter

    def _load_adapter(self, loaded: _Loaded, adapter: str) -> None:
        if adapter in loaded.adapters:
            return
        if adapter not in self._own and self._find_adapter is None:
            raise UsageError(f"{self.name} was made without adapters; asked for {adapter!r}")
        folder = self._own.get(adapter) or self._find_adapter(adapter)  # type: ignore[misc]
        from ragcore.llm.adapters import attach

        loaded.model = attach(loaded.model, folder, adapter)
        loaded.adapters.add(adapter)

    def _load(self) -> _Loaded:
        from transformers import AutoModelForCausalLM

        how = loading_options(self.name, self.placement, self._quantization, self._device_map)
        try:
            model = AutoModelForCausalLM.from_pretrained(
                self._folder, attn_implementation="sdpa", trust_remote_code=False, **how
            )
        except (OSError, ValueError) as error:
            reason = str(error).splitlines()[0]
            raise ModelUnavailable(f"{self.name} cannot be loaded: {reason}") from error
        if "device_map" not in how:
            model = model.to(self.placement.device)
        return _Loaded(model.eval())

    def _expected_bytes(self) -> int:
        size = self.placement.dtype.itemsize
        return int(folder_bytes(Path(self._folder), size) * weight_share(self._quantization, size))


def _fresh(loaded: _Loaded, adapter: str | None) -> CacheEntry:
    from transformers import DynamicCache

    return CacheEntry([], DynamicCache(config=loaded.model.config), adapter)
