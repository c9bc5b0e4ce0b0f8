"""Looks into caches are counted."""

from __future__ import annotations

from ragcore.llm.prompt_cache import CacheEntry, PromptCache
from ragcore.models import caches


class _Cache:
    def crop(self, length: int) -> None:
        raise AssertionError(length)


def test_hits_and_misses_of_the_prompt_cache_are_reported() -> None:
    before = caches.cache_lookups()
    cache = PromptCache()
    tokens = list(range(40))
    assert cache.take(tokens, None) is None
    cache.give_back(CacheEntry(tokens[:39], _Cache(), None))
    assert cache.take(tokens, None) is not None
    now = caches.cache_lookups()
    for hit in (False, True):
        assert now["prompt", hit] == before.get(("prompt", hit), 0) + 1
