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

from ragcore.types import CancelToken, Message, SpeechSegment

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
        """Load the weights now.

        Raises:
            ModelUnavailable: They cannot be loaded.
        """
        ...

    def encode(self, texts: Sequence[str], kind: TextKind = "passage") -> FloatArray:
        """Embed texts.

        Args:
            texts: Any number of texts; longer ones than the model reads are cut.
            kind: Whether they are queries or passages, for models that encode the two differently.

        Returns:
            float32 [n, d], each row L2-normalized, in the order given; [0, d] for no text. A text
            in which the model finds nothing to read, such as an empty one, may be zeros.

        Raises:
            ModelUnavailable: The weights cannot be loaded, or the server does not answer.
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
        """Load the weights now.

        Raises:
            ModelUnavailable: They cannot be loaded.
        """
        ...

    def encode_images(self, images: Sequence[Image]) -> FloatArray:
        """Embed images.

        Args:
            images: Pillow images in any mode and size.

        Returns:
            float32 [n, d], each row L2-normalized, in the order given.

        Raises:
            ModelUnavailable: The weights cannot be loaded.
        """
        ...

    def encode_texts(self, texts: Sequence[str]) -> FloatArray:
        """Embed texts into the images' space.

        Returns:
            float32 [n, d], each row L2-normalized, in the order given.

        Raises:
            ModelUnavailable: The weights cannot be loaded.
        """
        ...


@runtime_checkable
class Reranker(Protocol):
    """A model that reads a query together with a passage (a cross-encoder)."""

    def scores(self, query: str, passages: Sequence[str]) -> FloatArray:
        """Score passages for a query.

        Returns:
            float32 [n]: the relevance of each passage, higher is more relevant.

        Raises:
            ModelUnavailable: The weights cannot be loaded, or the server does not answer.
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
        """Load the weights now.

        Raises:
            ModelUnavailable: They cannot be loaded.
        """
        ...

    def read(
        self, question: str, passages: Sequence[str], titles: Sequence[str] = ()
    ) -> list[Span]:
        """Point to the answer of a question.

        Args:
            question: In words.
            passages: Texts that may answer it.
            titles: Those of the passages' documents, one each, or none at all.

        Returns:
            The best span of each passage that has text, by descending rank.

        Raises:
            ModelUnavailable: The weights cannot be loaded.
        """
        ...


# --- speech ------------------------------------------------------------------------


class Transcriber(Protocol):
    """Speech to text."""

    @property
    def name(self) -> str: ...

    def warm_up(self) -> None:
        """Load the weights now. Raises ModelUnavailable."""
        ...

    def transcribe(
        self, samples: FloatArray, *, language: str = "", cancel: CancelToken | None = None
    ) -> list[SpeechSegment]:
        """What is said, in order; nothing for silence.

        `samples` is float32 [n] in [-1, 1], mono, 16,000 a second. `language` is a code such as
        "de" (empty: the model's own or recognized). Raises ModelUnavailable, UsageError for a
        language that the model does not know, Cancelled.
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
        """Load the weights now, or see that the server answers.

        Raises:
            ModelUnavailable: That fails.
        """
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
        """Write an answer.

        Args:
            messages: The turns so far, the last one the user's.
            sampling: How tokens are chosen, and how many at most.
            constraint: What the whole output must follow.
            adapter: A name, NO_ADAPTER for the bare model, None for the default.
            cancel: Ends it soon after it is set.

        Yields:
            The answer in pieces.

        Raises:
            UsageError: The model does not support the sampling or the constraint, or the prompt is
                beyond the context.
            ModelUnavailable: The weights cannot be loaded, or the server does not answer.
            RagcoreError: A constrained answer does not follow its constraint.
            Cancelled: `cancel` was set.
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
        """How likely an answer is.

        Returns:
            The probability in [0, 1] that the answer begins with `text`.

        Raises:
            UsageError: The prompt is beyond the context.
            ModelUnavailable: The weights cannot be loaded.
            Cancelled: `cancel` was set.
        """
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

        Args:
            prompts: The turns of each.
            max_tokens: Of each answer.
            watch: A word of one token whose probability as the first one is reported.
            bar: Where it is true of that probability, the answer is written without the word.
            adapter: As of `LLM.stream`.
            cancel: Ends it soon after it is set.

        Returns:
            One for each prompt, in their order.

        Raises:
            Cancelled: `cancel` was set.
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

        Args:
            prompts: The turns of each.
            sampling: One for each prompt.
            constraints: One for each prompt, or none at all.
            adapter: As of `LLM.stream`.
            cancel: Ends it soon after it is set.

        Returns:
            The answers in the order of the prompts; in place of a constrained one that was cut
            short, the error that `stream` raises.

        Raises:
            UsageError: A sampling or constraint is bad.
            Cancelled: `cancel` was set.
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
        """Answer a question about an image.

        Args:
            image: A Pillow image in any mode and size.
            question: In words.
            sampling: How tokens are chosen, and how many at most.
            cancel: Ends it soon after it is set.

        Yields:
            The answer in pieces.

        Raises:
            UsageError: The question is empty or too long.
            ModelUnavailable: The weights cannot be loaded, or the server does not answer.
            Cancelled: `cancel` was set.
        """
        ...

    def captions(self, images: Sequence[Image], *, cancel: CancelToken | None = None) -> list[str]:
        """Caption images.

        Returns:
            One sentence about each image, in the order given.

        Raises:
            ModelUnavailable: The weights cannot be loaded, or the server does not answer.
            Cancelled: `cancel` was set.
        """
        ...
