"""Greedy answers to many questions in one batch: what their prompts share is read once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import TYPE_CHECKING, Any

from ragcore.errors import Cancelled, RagcoreError
from ragcore.llm.grammar import verify
from ragcore.llm.logits import word_tokens
from ragcore.llm.text_stream import TextStream
from ragcore.models import Constraint, Sampling, Written
from ragcore.types import CancelToken

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True)
class Generated:
    """One answer.

    `first` is the probability that each watched token had as the first one, `logprob` the sum of
    the tokens' log-probabilities.
    """

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
    bar: Callable[[Sequence[float]], Sequence[int]] | None = None,
    cancel: CancelToken | None = None,
) -> list[Generated]:
    """Continue `prefix + branch` greedily for every branch, until `eos` or `max_tokens`.

    The prefix goes through the model once and its keys and values serve all branches, which
    are then decoded as one batch (padded on the left, masked). The tokens are those that
    separate prompts would give, up to rounding. `bar` gets a branch's probabilities of the
    watched tokens and says which tokens it may not use; log-probabilities are those without.
    """
    import torch

    if not branches:
        return []
    with torch.inference_mode():
        batch = _GenerationBatch(model, prefix, branches, eos)
        logits = batch.step()
        first = logits.softmax(-1)[:, list(watch)].tolist()
        if bar is not None:
            batch.bar([bar(row) for row in first])
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


def write_batch(
    model: Any,
    tokenizer: Any,
    prompts: Sequence[Sequence[int]],
    *,
    max_tokens: int,
    watch: str,
    bar: Callable[[float], bool],
    cancel: CancelToken | None = None,
) -> list[Written]:
    """Texts after `prompts` (token ids); see `BatchLLM.write_all`."""
    (watched,) = tokenizer(watch, add_special_tokens=False)["input_ids"]
    forms = [ids[0] for ids in word_tokens(tokenizer, watch) if len(ids) == 1]
    shared = shared_beginning(prompts)
    found = generate_branches(
        model,
        prompts[0][:shared] if prompts else (),
        [prompt[shared:] for prompt in prompts],
        max_tokens=max_tokens,
        eos=tokenizer.eos_token_id,
        watch=[watched],
        bar=lambda first: forms if bar(first[0]) else (),
        cancel=cancel,
    )
    return [
        Written(tokenizer.decode(g.tokens, skip_special_tokens=True), len(g.tokens),
                g.logprob, g.first[0])
        for g in found
    ]  # fmt: skip


def complete_batch(
    model: Any,
    prompts: Sequence[Sequence[int]],
    choosers: Sequence[Callable[[torch.Tensor], int]],
    *,
    max_tokens: Sequence[int],
    eos: int,
    cancel: CancelToken | None = None,
) -> list[tuple[int, ...]]:
    """Tokens after `prompts` (token ids) as each one's sampler takes them from scores [V]."""
    import torch

    if not prompts:
        return []
    shared = shared_beginning(prompts)
    with torch.inference_mode():
        batch = _GenerationBatch(model, prompts[0][:shared], [p[shared:] for p in prompts], eos)
        for count in range(max(max_tokens)):
            if cancel is not None and cancel.cancelled:
                raise Cancelled("cancelled")
            scores = batch.step()
            chosen = [
                eos if batch.done(row) or count >= max_tokens[row] else choose(scores[row])
                for row, choose in enumerate(choosers)
            ]
            if batch.add(torch.tensor(chosen, device=scores.device), scores.log_softmax(-1)):
                break
    return [tuple(tokens) for tokens in batch.output]


def finished(
    tokenizer: Any, tokens: Sequence[int], sampling: Sampling, constraint: Constraint | None
) -> str | RagcoreError:
    """The text up to a stop string, or why it does not hold its constraint."""
    stream = TextStream(tokenizer, sampling.stop)
    for token in tokens:
        stream.push(token)
    stream.finish()
    if constraint is not None:
        try:
            verify(stream.text, constraint)
        except RagcoreError as error:
            return error
    return stream.text


def shared_beginning(prompts: Sequence[Sequence[int]]) -> int:
    """How many tokens all prompts begin with; at least one token of each is left out."""
    columns = zip(*(prompt[:-1] for prompt in prompts), strict=False)
    return sum(1 for _ in takewhile(lambda column: len(set(column)) == 1, columns))


class _GenerationBatch:
    """Branches that share the keys and values of a prefix."""

    def __init__(
        self, model: Any, prefix: Sequence[int], branches: Sequence[Sequence[int]], eos: int
    ) -> None:
        import torch
        from transformers import DynamicCache

        device, count, shared = model.device, len(branches), len(prefix)
        self._model, self._eos = model, eos
        self._cache = DynamicCache()
        if shared:
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
        self._barred: torch.Tensor | None = None
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

    def bar(self, tokens: Sequence[Sequence[int]]) -> None:
        """Tokens of each branch that are never chosen."""
        import torch

        rows = [row for row, barred in enumerate(tokens) for _ in barred]
        if rows:
            columns = [token for barred in tokens for token in barred]
            width = int(self._model.config.vocab_size)
            self._barred = torch.zeros(
                (len(tokens), width), dtype=torch.bool, device=self._ids.device
            )
            self._barred[rows, columns] = True

    def take(self, scores: torch.Tensor) -> bool:
        """Add the likeliest token to every branch that goes on; True when none does."""
        allowed = scores
        if self._barred is not None:
            allowed = scores.masked_fill(self._barred, float("-inf"))
        return self.add(allowed.argmax(-1), scores)

    def done(self, row: int) -> bool:
        return bool(self._done[row])

    def add(self, chosen: torch.Tensor, scores: torch.Tensor) -> bool:
        """Add a token [n] to every branch that goes on; True when none does."""
        import torch

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
