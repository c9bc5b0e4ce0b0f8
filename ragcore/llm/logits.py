"""Logit post-processing: what may come next, beyond what the model prefers.

Each part is one small processor; `processors` puts together those that a `Sampling` asks for.
Penalties look at what was generated, not at the prompt: answers from documents must copy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ragcore.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import torch

    from ragcore.models import Sampling

    # (all token ids so far [T], scores [V]) -> scores [V]
    Processor = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def check_sampling(sampling: Sampling) -> None:
    """Raises UsageError for a value out of range."""
    rules = (
        (sampling.max_tokens >= 1, "max_tokens must be at least 1"),
        (sampling.temperature >= 0, "temperature must be at least 0 (0: greedy)"),
        (0 < sampling.top_p <= 1, "top_p must be above 0 and at most 1"),
        (sampling.top_k >= 0, "top_k must be at least 0 (0: off)"),
        (sampling.repetition_penalty > 0, "repetition_penalty must be above 0 (1: off)"),
        (sampling.no_repeat_ngram >= 0, "no_repeat_ngram must be at least 0 (0: off)"),
        (all(sampling.stop), "a stop string must not be empty"),
    )
    for holds, message in rules:
        if not holds:
            raise UsageError(message)


def processors(sampling: Sampling, tokenizer: Any, prompt_length: int) -> list[Processor]:
    """The processors that `sampling` asks for, in the order in which they apply."""
    from transformers import generation as g

    s = sampling
    chosen: list[Any] = []
    if s.repetition_penalty != 1:
        chosen.append(
            g.RepetitionPenaltyLogitsProcessor(
                float(s.repetition_penalty), prompt_ignore_length=prompt_length
            )
        )
    if s.presence_penalty or s.frequency_penalty:
        chosen.append(_Counts(s.presence_penalty, s.frequency_penalty, prompt_length))
    if s.no_repeat_ngram:
        chosen.append(_NoRepeat(s.no_repeat_ngram, prompt_length))
    if s.boosted_words:
        bias: dict[tuple[int, ...], float] = {}
        for word, value in s.boosted_words:
            bias.update({ids: float(value) for ids in word_tokens(tokenizer, word)})
        chosen.append(g.SequenceBiasLogitsProcessor([[list(k), v] for k, v in bias.items()]))
    if s.banned_words:
        banned = [list(ids) for word in s.banned_words for ids in word_tokens(tokenizer, word)]
        chosen.append(g.NoBadWordsLogitsProcessor(banned, eos_token_id=tokenizer.eos_token_id))
    if s.temperature > 0:
        if s.temperature != 1:
            chosen.append(g.TemperatureLogitsWarper(float(s.temperature)))
        if s.top_k:
            chosen.append(g.TopKLogitsWarper(s.top_k))
        if s.top_p < 1:
            chosen.append(g.TopPLogitsWarper(float(s.top_p)))
    wrapped: list[Any] = [p if isinstance(p, _OneRow) else _Batched(p) for p in chosen]
    return wrapped


def word_tokens(tokenizer: Any, word: str) -> set[tuple[int, ...]]:
    """The token sequences of a word: alone and after a space, as given and in other cases."""
    forms = {word, word.lower(), word.capitalize(), word.upper()}
    return {
        tuple(ids)
        for form in forms
        for text in (form, f" {form}")
        if (ids := tokenizer(text, add_special_tokens=False)["input_ids"])
    }


class _OneRow:
    """Marks a processor that takes [T] and [V]."""


class _Batched(_OneRow):
    """A processor of transformers, which takes [1, T] and [1, V]."""

    def __init__(self, processor: Any) -> None:
        self._processor = processor

    def __call__(self, ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self._processor(ids[None], scores[None])[0]
        return result


class _Counts(_OneRow):
    """Subtract `presence` once from tokens already generated, and `frequency` a time each."""

    def __init__(self, presence: float, frequency: float, prompt_length: int) -> None:
        self._presence, self._frequency, self._skip = presence, frequency, prompt_length

    def __call__(self, ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        import torch

        tokens, counts = torch.unique(ids[self._skip :], return_counts=True)
        scores = scores.clone()
        scores[tokens] -= self._presence + self._frequency * counts.to(scores.dtype)
        return scores


class _NoRepeat(_OneRow):
    """Forbid a token that would complete an n-gram already generated (Paulus et al. 2017)."""

    def __init__(self, size: int, prompt_length: int) -> None:
        self._size, self._skip = size, prompt_length

    def __call__(self, ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        generated: Sequence[int] = ids[self._skip :].tolist()
        head = self._size - 1
        if len(generated) < head:
            return scores
        ending = generated[len(generated) - head :]
        banned = [
            generated[i + head]
            for i in range(len(generated) - head)
            if generated[i : i + head] == ending
        ]
        if banned:
            scores = scores.clone()
            scores[banned] = float("-inf")
        return scores
