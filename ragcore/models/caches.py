"""How often caches had what was looked for: counted here, exported by `/metrics`."""

from __future__ import annotations

import threading
from collections import Counter

_lookups: Counter[tuple[str, bool]] = Counter()
_lock = threading.Lock()


def note_lookup(cache: str, *, hit: bool) -> None:
    """Count one look into a cache of this process."""
    with _lock:
        _lookups[cache, hit] += 1


def cache_lookups() -> dict[tuple[str, bool], int]:
    """Number of looks since the start by (cache, whether it was there)."""
    with _lock:
        return dict(_lookups)
