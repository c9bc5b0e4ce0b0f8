"""The next token of one answer: what may come by its sampling and grammar, then the choice."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ragcore.llm.logits import processors

if TYPE_CHECKING:
    import torch

    from ragcore.llm.grammar import Grammar
    from ragcore.models import Sampling


class TokenSampler:
    """Remembers the answer's tokens, which penalties look at, and where its grammar is."""

    def __init__(
        self, prompt: Sequence[int], sampling: Sampling, tokenizer: Any, grammar: Grammar | None
    ) -> None:
        import torch

        self._chain = processors(sampling, tokenizer, len(prompt))
        self._random = torch.Generator(device="cpu")
        if sampling.seed is None:
            self._random.seed()
        else:
            self._random.manual_seed(sampling.seed)
        self._greedy = sampling.temperature == 0
        self._grammar = grammar
        self._ids = list(prompt)

    def __call__(self, scores: torch.Tensor) -> int:
        """The token after those chosen so far, from its scores [V], float32."""
        import torch

        context = torch.tensor(self._ids, dtype=torch.long, device=scores.device)
        for process in self._chain:
            scores = process(context, scores)
        if self._grammar is not None:
            scores = self._grammar.apply(scores)
        if self._greedy:
            token = int(scores.argmax())
        else:
            chances = scores.softmax(-1).cpu()
            token = int(torch.multinomial(chances, 1, generator=self._random))
        if self._grammar is not None:
            self._grammar.accept(token)
        self._ids.append(token)
        return token
