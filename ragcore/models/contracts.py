"""The contracts of models: what an encoder, a reranker, a span reader and an LLM must offer.

A contract is small; what only some models can do is a further, runtime-checkable protocol, asked
for with `isinstance`. Constructors are light and reject bad arguments; weights load at the first
call that needs them, or at `warm_up()`. All methods may be called from several threads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

from ragcore.types import CancelToken, Message

if TYPE_CHECKING:
    from PIL.Image import Image

    from ragcore.errors import RagcoreError
    from ragcore.types import FloatArray

TextKind = Literal["query", "passage"]
NO_ADAPTER = "none"  # asked for by name: the bare model, also where a default adapter is set


# --- embeddings --------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Space:
    """One embedding model at one revision.

    `name` is stable and unique, e.g. "minilm-l6-v2@8b3219a9": vectors of two spaces are never
    compared. Vectors are L2-normalized, so the metric is the cosine.
    """

    name: str
    modality: Literal["text", "image"]
    dimension: int


class TextEncoder(Protocol):
    """Texts to unit vectors of one space."""

    @property
    def space(self) -> Space:
        """Where the vectors belong: modality "text". May load the model to know its dimension."""
        ...

    def warm_up(self) -> None:
        """Load the weights now. Raises ModelUnavailable."""
        ...

    def encode(self, texts: Sequence[str], kind: TextKind = "passage") -> FloatArray:
        """Return float32 [n, d], each row L2-normalized, in the order given; [0, d] for no text.

        A text in which the model finds nothing to read, such as an empty one, may be zeros.
        `kind` says whether the texts are queries or passages, for models that encode the two
        differently. Longer texts than the model reads are cut. Raises ModelUnavailable.
        """
        ...


@runtime_checkable
class SizedTextEncoder(Protocol):
    """A text encoder that knows how much it reads: passages are cut to that."""

    def token_limit(self) -> int:
        """Tokens of a text beyond which it is cut, special ones included.

        0: no such limit is known. May load the model.
        """
        ...

    def count_tokens(self, text: str) -> int:
        """Tokens of a text, special ones left out, however long it is. May load the model."""
        ...


class ImageTextEncoder(Protocol):
    """Images and texts into one space (CLIP)."""

    @property
    def space(self) -> Space:
        """Where the vectors of both belong: modality "image"."""
        ...

    def warm_up(self) -> None:
        """Load the weights now. Raises ModelUnavailable."""
        ...

    def encode_images(self, images: Sequence[Image]) -> FloatArray:
        """Return float32 [n, d], each row L2-normalized, of Pillow images in any mode."""
        ...

    def encode_texts(self, texts: Sequence[str]) -> FloatArray:
        """Return float32 [n, d], each row L2-normalized."""
        ...


@runtime_checkable
class Reranker(Protocol):
    """A model that reads a query together with a passage (a cross-encoder)."""

    def scores(self, query: str, passages: Sequence[str]) -> FloatArray:
        """Return float32 [n]: the relevance of each passage, higher is more relevant.

        Raises ModelUnavailable.
        """
        ...


@dataclass(frozen=True, slots=True)
class Span:
    """The best answer in one passage: characters [start, end) of passage number `passage`.

    `score` is its log-odds against "none of the passages answers", `relevance` the log-odds that
    the passage holds the answer.
    """

    passage: int
    start: int
    end: int
    score: float
    relevance: float

    @property
    def rank(self) -> float:
        """What the spans of different passages are compared by."""
        return self.score + self.relevance


class SpanReader(Protocol):
    """A model that points to the answer of a question in passages (extractive answering)."""

    def warm_up(self) -> None:
        """Load the weights now. Raises ModelUnavailable."""
        ...

    def read(
        self, question: str, passages: Sequence[str], titles: Sequence[str] = ()
    ) -> list[Span]:
        """The best span of each passage that has text, by descending rank.

        `titles` are those of the passages' documents, one each, or none at all. Raises
        ModelUnavailable.
        """
        ...


# --- language models ---------------------------------------------------------------


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

    def warm_up(self) -> None:
        """Load the weights now, or see that the server answers. Raises ModelUnavailable."""
        ...

    def count_tokens(self, text: str) -> int:
        """Tokens of a text, or an upper estimate."""
        ...

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
        """Yield the answer in pieces.

        `adapter` is a name, NO_ADAPTER for the bare model, None for the default. Raises
        UsageError for a sampling or constraint that the model does not support and for a prompt
        beyond the context, ModelUnavailable, RagcoreError when a constrained answer does not
        follow its constraint, Cancelled soon after `cancel` is set.
        """
        ...


@runtime_checkable
class LikelihoodLLM(Protocol):
    """An LLM that can say how likely a given answer is."""

    def likelihood(
        self,
        messages: Sequence[Message],
        text: str,
        *,
        adapter: str | None = None,
        cancel: CancelToken | None = None,
    ) -> float:
        """Probability in [0, 1] that the answer begins with `text`. Errors as of `LLM.stream`."""
        ...


@dataclass(frozen=True, slots=True)
class Written:
    """One answer of `BatchLLM.write_all`, and how sure the model was.

    `first` is the probability that the answer begins with the watched token, `logprob` the log
    probability of the text up to the end of the answer.
    """

    text: str
    tokens: int
    logprob: float
    first: float


@runtime_checkable
class BatchLLM(Protocol):
    """An LLM that answers many prompts in one batch."""

    def write_all(
        self,
        prompts: Sequence[Sequence[Message]],
        *,
        max_tokens: int,
        watch: str,
        bar: Callable[[float], bool],
        adapter: str | None = None,
        cancel: CancelToken | None = None,
    ) -> list[Written]:
        """Greedy answers to all prompts, as `LLM.stream` gives them up to rounding.

        `watch` is a word of one token whose probability as the first one is reported; where
        `bar` of it is true, the answer is written without the word. Raises Cancelled.
        """
        ...

    def complete_all(
        self,
        prompts: Sequence[Sequence[Message]],
        sampling: Sequence[Sampling],
        *,
        constraints: Sequence[Constraint | None] = (),
        adapter: str | None = None,
        cancel: CancelToken | None = None,
    ) -> list[str | RagcoreError]:
        """As `LLM.stream` for each prompt, with its own sampling and constraint.

        A constrained answer that was cut short is the error that `stream` raises. Raises
        Cancelled, and UsageError for a bad sampling or constraint.
        """
        ...


@runtime_checkable
class AdapterLLM(Protocol):
    """An LLM that runs LoRA adapters of the library's adapter store."""

    @property
    def default_adapter(self) -> str | None:
        """The adapter of calls that name none; None: the bare model."""
        ...

    def add_adapter(self, name: str, folder: Path) -> None:
        """Make the adapter in `folder` (peft's layout) known under `name`."""
        ...


@runtime_checkable
class VisionLLM(Protocol):
    """A model that answers questions about an image. An LLM may be one, too."""

    @property
    def name(self) -> str: ...

    def stream_image(
        self,
        image: Image,
        question: str,
        sampling: Sampling = Sampling(max_tokens=60),
        *,
        cancel: CancelToken | None = None,
    ) -> Iterator[str]:
        """Yield the answer in pieces.

        Raises UsageError for an empty or overlong question, ModelUnavailable, Cancelled.
        """
        ...

    def captions(self, images: Sequence[Image], *, cancel: CancelToken | None = None) -> list[str]:
        """One sentence about each image. Raises ModelUnavailable, Cancelled."""
        ...
