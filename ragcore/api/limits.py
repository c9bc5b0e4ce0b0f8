"""How often one caller may ask: requests a minute, a token bucket each."""

from __future__ import annotations

import math
import time
from collections import OrderedDict

from ragcore.api.problems import Problem

_MOST_CALLERS = 10_000


class RateLimit:
    """`per_minute` requests for each caller, of which a tenth may come at once; 0: no limit."""

    def __init__(self, per_minute: int) -> None:
        self._rate = per_minute / 60
        self._burst = max(10.0, per_minute / 10)
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, caller: str) -> None:
        """Count one request. Raises Problem 429, which says when to come again."""
        if self._rate <= 0:
            return
        now = time.monotonic()
        left, last = self._buckets.pop(caller, (self._burst, now))
        left = min(self._burst, left + (now - last) * self._rate)
        allowed = left >= 1
        self._buckets[caller] = (left - 1 if allowed else left, now)
        while len(self._buckets) > _MOST_CALLERS:
            self._buckets.popitem(last=False)
        if not allowed:
            wait = str(max(1, math.ceil((1 - left) / self._rate)))
            raise Problem(
                429,
                f"more than {self._rate * 60:.0f} requests a minute (setting api_rate)",
                headers={"Retry-After": wait},
            )
