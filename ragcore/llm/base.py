"""What runs a language model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from ragcore.types import CancelToken, Message

NO_ADAPTER = "none"  # asked for by name: the bare model, also where a default adapter is set


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How tokens are chosen. Temperature 0 is greedy."""

    max_tokens: int = 256
    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    repetition_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    no_repeat_ngram: int = 0
    stop: tuple[str, ...] = ()
    seed: int | None = None
    banned_words: tuple[str, ...] = ()
    boosted_words: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Constraint:
    """What the output must be: exactly one of the three is given."""

    json_schema: dict[str, Any] | None = None
    regex: str | None = None
    choices: tuple[str, ...] | None = None


class LLM(Protocol):
    """A chat model."""

    @property
    def name(self) -> str: ...

    @property
    def context_length(self) -> int:
        """Tokens of prompt and answer together."""
        ...

    def warm_up(self) -> None: ...

    def count_tokens(self, text: str) -> int: ...

    def render(self, messages: Sequence[Message]) -> str:
        """The exact text that the model is given (chat template applied)."""
        ...

    def stream(
        self,
        messages: Sequence[Message],
        sampling: Sampling = Sampling(),
        *,
        constraint: Constraint | None = None,
        adapter: str | None = None,
        cancel: CancelToken | None = None,
    ) -> Iterator[str]:
        """Yield the answer in pieces. Raises Cancelled when `cancel` is set."""
        ...
