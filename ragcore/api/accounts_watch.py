"""Ends what is being done for accounts that are disabled, revoked or expired meanwhile."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count

from ragcore.api.work_limiter import WorkLimiter
from ragcore.errors import RagcoreError
from ragcore.library import Keys

log = logging.getLogger("ragcore.api")
LOOK_EVERY = 1.0  # seconds


class AccountsWatch:
    """Looks every second whether the accounts for which something goes on are live.

    All calls come from the server's event loop.
    """

    def __init__(self, keys: Keys, limiter: WorkLimiter) -> None:
        self._keys = keys
        self._limiter = limiter
        self._ends: dict[int, dict[int, Callable[[], None]]] = {}
        self._numbers = count()

    @contextmanager
    def ending(self, key_id: int, end: Callable[[], None]) -> Iterator[None]:
        """Within it, `end` is called once if the account is over."""
        number = next(self._numbers)
        self._ends.setdefault(key_id, {})[number] = end
        try:
            yield
        finally:
            ends = self._ends.get(key_id, {})
            ends.pop(number, None)
            if not ends:
                self._ends.pop(key_id, None)

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            await asyncio.sleep(LOOK_EVERY)
            if not self._ends:
                continue
            try:
                live = await self._limiter.quick(self._keys.live_among, list(self._ends))
            except RagcoreError as error:  # the database is away: it is looked again
                log.warning("accounts cannot be checked: %s", error)
                continue
            for key_id in [one for one in self._ends if one not in live]:
                for end in list(self._ends.pop(key_id, {}).values()):
                    end()
