"""What a model in this process does beyond the contract of LLM: many prompts at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Protocol

from ragcore.llm.batch import complete_batch, finished, write_batch
from ragcore.llm.logits import check_sampling
from ragcore.llm.token_sampler import TokenSampler
from ragcore.models import NO_ADAPTER, Constraint, Sampling, Written
from ragcore.types import CancelToken, Message

if TYPE_CHECKING:
    from ragcore.errors import RagcoreError
    from ragcore.llm.grammar import GrammarCompiler


class _Model(Protocol):
    """What the batches need of it."""

    default_adapter: str | None

    @property
    def tokenizer(self) -> Any: ...

    @property
    def grammars(self) -> GrammarCompiler: ...

    def acquire(self, adapter: str | None = None) -> AbstractContextManager[Any]: ...

    def _encode(self, messages: Sequence[Message]) -> list[int]: ...


class Batches:
    """The verbs of batches."""

    def write_all(
        self: _Model,
        prompts: Sequence[Sequence[Message]],
        *,
        max_tokens: int,
        watch: str,
        bar: Callable[[float], bool],
        adapter: str | None = None,
        cancel: CancelToken | None = None,
    ) -> list[Written]:
        """Greedy answers to all prompts in one batch, as `stream` gives them up to rounding.

        `watch` is a word of one token whose probability as the first one is reported; where
        `bar` says so of it, the answer is written without the word. Others wait meanwhile.
        """
        encoded = [self._encode(messages) for messages in prompts]
        with self.acquire(adapter or self.default_adapter or NO_ADAPTER) as model:
            return write_batch(
                model, self.tokenizer, encoded,
                max_tokens=max_tokens, watch=watch, bar=bar, cancel=cancel,
            )  # fmt: skip

    def complete_all(
        self: _Model,
        prompts: Sequence[Sequence[Message]],
        sampling: Sequence[Sampling],
        *,
        constraints: Sequence[Constraint | None] = (),
        adapter: str | None = None,
        cancel: CancelToken | None = None,
    ) -> list[str | RagcoreError]:
        """As `stream` for each prompt, with its own sampling and constraint, in one batch.

        A constrained answer that was cut short is the error that `stream` raises. Others wait
        meanwhile. Raises Cancelled, and UsageError for a bad sampling or constraint.
        """
        for one in sampling:
            check_sampling(one)
        encoded = [self._encode(messages) for messages in prompts]
        wanted = [*constraints, *[None] * (len(prompts) - len(constraints))]
        samplers = [
            TokenSampler(
                prompt, how, self.tokenizer,
                self.grammars.start(constraint, how.max_tokens) if constraint else None,
            )
            for prompt, how, constraint in zip(encoded, sampling, wanted, strict=True)
        ]  # fmt: skip
        with self.acquire(adapter or self.default_adapter or NO_ADAPTER) as model:
            found = complete_batch(
                model, encoded, samplers,
                max_tokens=[how.max_tokens for how in sampling],
                eos=self.tokenizer.eos_token_id,
                cancel=cancel,
            )  # fmt: skip
        return [
            finished(self.tokenizer, tokens, how, constraint)
            for tokens, how, constraint in zip(found, sampling, wanted, strict=True)
        ]
