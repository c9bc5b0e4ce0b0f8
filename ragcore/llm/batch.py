"""Greedy answers to many questions about the same documents: the prompt is read once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ragcore.errors import Cancelled
from ragcore.types import CancelToken

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True)
class Generated:
    """One answer; `first` is the probability that each watched token had as the first one,
    `logprob` the sum of the tokens' log-probabilities."""

    tokens: tuple[int, ...]
    first: tuple[float, ...] = ()
    logprob: float = 0.0


def generate_branches(
    model: Any,
    prefix: Sequence[int],
    branches: Sequence[Sequence[int]],
    *,
    max_tokens: int = 64,
    eos: int,
    watch: Sequence[int] = (),
    cancel: CancelToken | None = None,
) -> list[Generated]:
    """Continue `prefix + branch` greedily for every branch, until `eos` or `max_tokens`.

    The prefix goes through the model once and its keys and values serve all branches, which
    are then decoded as one batch (padded on the left, masked). The tokens are those that
    separate prompts would give, up to rounding.
    """
    import torch

    if not branches:
        return []
    with torch.inference_mode():
        batch = _Batch(model, prefix, branches, eos)
        logits = batch.step()
        first = logits.softmax(-1)[:, list(watch)].tolist()
        for _ in range(max_tokens):
            if cancel is not None and cancel.cancelled:
                raise Cancelled("cancelled")
            if batch.take(logits.log_softmax(-1)):
                break
            logits = batch.step()
    return [
        Generated(tuple(tokens), tuple(row), total)
        for tokens, row, total in zip(batch.output, first, batch.sums, strict=True)
    ]


class _Batch:
    """Branches that share the keys and values of a prefix."""

    def __init__(
        self, model: Any, prefix: Sequence[int], branches: Sequence[Sequence[int]], eos: int
    ) -> None:
        import torch
        from transformers import DynamicCache

        device, count, shared = model.device, len(branches), len(prefix)
        self._model, self._eos = model, eos
        self._cache = DynamicCache()
        model(
            input_ids=torch.tensor([list(prefix)], device=device),
            past_key_values=self._cache,
            use_cache=True,
            logits_to_keep=1,
        )
        self._cache.batch_repeat_interleave(count)
        width = max(map(len, branches))
        self._ids = torch.full((count, width), eos, device=device)
        self._mask = torch.ones((count, shared + width), dtype=torch.long, device=device)
        self._positions = torch.zeros((count, width), dtype=torch.long, device=device)
        for row, branch in enumerate(branches):
            pad = width - len(branch)
            self._ids[row, pad:] = torch.tensor(list(branch), device=device)
            self._mask[row, shared : shared + pad] = 0
            self._positions[row, pad:] = torch.arange(shared, shared + len(branch), device=device)
        self._done = torch.zeros(count, dtype=torch.bool, device=device)
        self.output: list[list[int]] = [[] for _ in branches]
        self.sums = [0.0] * count

    def step(self) -> torch.Tensor:
        """Logits [n, V], float32, of the next token of every branch."""
        logits: torch.Tensor = self._model(
            input_ids=self._ids,
            attention_mask=self._mask,
            position_ids=self._positions,
            past_key_values=self._cache,
            use_cache=True,
            logits_to_keep=1,
        ).logits[:, -1]
        return logits.float()

    def take(self, scores: torch.Tensor) -> bool:
        """Add the likeliest token to every branch that goes on; True when none does."""
        import torch

        chosen = scores.argmax(-1)
        self._done |= chosen == self._eos
        sure = scores.gather(1, chosen[:, None])[:, 0].tolist()
        for row, token in enumerate(chosen.tolist()):
            if not self._done[row]:
                self.output[row].append(token)
                self.sums[row] += sure[row]
        self._ids = chosen[:, None]
        self._positions = self._positions[:, -1:] + 1
        self._mask = torch.cat([self._mask, self._mask.new_ones((len(chosen), 1))], 1)
        return bool(self._done.all())
