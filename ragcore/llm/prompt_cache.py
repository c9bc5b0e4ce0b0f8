"""Keys and values of past prompts, so that a conversation is not read again from its start."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any

from ragcore.models import note_lookup

MIN_SHARED = 16  # fewer common tokens are not worth it


@dataclass(slots=True)
class CacheEntry:
    """`tokens` are those whose keys and values `cache` holds, computed under `adapter`."""

    tokens: list[int]
    cache: Any
    adapter: str | None


class PromptCache:
    """The last few caches. One in use belongs to its user alone until it is given back."""

    def __init__(self, *, entries: int = 4, max_tokens: int = 16384) -> None:
        self._entries = entries
        self._max_tokens = max_tokens
        self._stored: list[CacheEntry] = []
        self._lock = threading.Lock()

    def take(self, tokens: list[int], adapter: str | None) -> CacheEntry | None:
        """The cache with the longest common beginning, cut to it; None if none is worth it.

        At least the last token is left out, since its logits have to be computed.
        """
        with self._lock:
            best, shared = None, MIN_SHARED - 1
            for entry in self._stored:
                common = min(_common(entry.tokens, tokens), len(tokens) - 1)
                if entry.adapter == adapter and common > shared:
                    best, shared = entry, common
            note_lookup("prompt", hit=best is not None)
            if best is None:
                return None
            self._stored.remove(best)
        if (surplus := len(best.tokens) - shared) > 0:
            best.cache.crop(-surplus)
            del best.tokens[shared:]
        return best

    def give_back(self, entry: CacheEntry) -> None:
        """Keep it for later; the oldest make room."""
        with self._lock:
            self._stored.append(entry)
            while len(self._stored) > self._entries or (
                len(self._stored) > 1
                and sum(len(k.tokens) for k in self._stored) > self._max_tokens
            ):
                self._stored.pop(0)

    def clear(self) -> None:
        with self._lock:
            self._stored.clear()


def _common(left: list[int], right: list[int]) -> int:
    for index, (a, b) in enumerate(zip(left, right, strict=False)):
        if a != b:
            return index
    return min(len(left), len(right))
