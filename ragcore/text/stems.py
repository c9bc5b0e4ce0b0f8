"""Stems of words by Snowball's algorithms."""

from __future__ import annotations

import threading
from functools import lru_cache
from typing import Any

# A stemmer keeps the word at hand in itself: of two threads with one, each spoils the other's.
_own = threading.local()


@lru_cache(maxsize=70_000)
def stem(word: str, algorithm: str) -> str:
    """The stem of a word in lower case. `algorithm` as in Snowball: "porter", "english", …."""
    return str(_stemmer(algorithm).stemWord(word))


def _stemmer(algorithm: str) -> Any:
    stemmers: dict[str, Any] = _own.__dict__.setdefault("stemmers", {})
    if algorithm not in stemmers:
        import snowballstemmer

        stemmers[algorithm] = snowballstemmer.stemmer(algorithm)
    return stemmers[algorithm]
