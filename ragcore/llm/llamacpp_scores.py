"""Log probabilities of what llama.cpp has written."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

_REMEMBERED = 8  # answers


@dataclass(slots=True)
class ScoredTokens:
    """The bytes of an answer so far, and after each token their number and log probability."""

    text: bytes = b""
    ends: list[tuple[int, float]] = field(default_factory=list)
    first: dict[int, float] = field(default_factory=dict)  # the likeliest tokens of the beginning

    def add(self, token: dict[str, Any]) -> None:
        if not self.ends:
            self.first = {one["id"]: one["logprob"] for one in token["top_logprobs"]}
        self.text += bytes(token["bytes"])
        before = self.ends[-1][1] if self.ends else 0.0
        self.ends.append((len(self.text), before + float(token["logprob"])))

    def logprob(self, text: bytes) -> float | None:
        """Of an answer that begins with `text`; None where its tokens are others."""
        if not self.text.startswith(text):
            return None
        return next((value for end, value in self.ends if end == len(text)), None)


class ScoreMemory:
    """The last answers with their log probabilities. Safe for threads."""

    def __init__(self) -> None:
        self._scores: OrderedDict[tuple[Any, ...], ScoredTokens] = OrderedDict()
        self._lock = threading.Lock()

    def add(self, prompt: Sequence[int], adapter: str | None, scored: ScoredTokens) -> None:
        with self._lock:
            self._scores[(tuple(prompt), adapter, scored.text)] = scored
            while len(self._scores) > _REMEMBERED:
                self._scores.popitem(last=False)

    def find(self, prompt: Sequence[int], adapter: str | None, text: str) -> float | None:
        """The log probability of an answer to `prompt` that begins with `text`, if it is known."""
        wanted, key = text.encode("utf-8", "replace"), (tuple(prompt), adapter)
        with self._lock:
            found = [s.logprob(wanted) for k, s in self._scores.items() if k[:2] == key]
        return next((value for value in found if value is not None), None)
