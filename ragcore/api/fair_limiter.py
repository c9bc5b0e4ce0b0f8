"""Places for work of one kind, handed out in turns by owner."""

from __future__ import annotations

import asyncio
import math
import time
from collections import OrderedDict, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

_WEIGHT = 0.2  # of the newest duration in the mean


class FairLimiter:
    """At most `places` run at once.

    Who waits gets a place in turn: one of each owner, then the next of each, however many one owner
    has queued. All calls come from one event loop.
    """

    def __init__(self, places: int) -> None:
        self.places = places
        self.running = 0
        self._queues: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()
        self._mean = 1.0  # seconds that one took, lately

    @property
    def waiting(self) -> int:
        return sum(map(len, self._queues.values()))

    def waiting_of(self, owner: str) -> int:
        return len(self._queues.get(owner, ()))

    def wait_seconds(self, owner: str | None = None) -> int:
        """About how long who comes now has to wait.

        `owner` only for those whose turn is before this owner's next.
        """
        turns = self.waiting_of(owner) + 1 if owner is not None else self.waiting
        queued = sum(min(len(queue), turns) for queue in self._queues.values())
        ahead = self.running + queued + 1 - self.places
        return max(1, math.ceil(max(0, ahead) * self._mean / self.places))

    @asynccontextmanager
    async def place(self, owner: str) -> AsyncIterator[None]:
        """Wait for a place, and hold it."""
        await self._acquire(owner)
        began = time.monotonic()
        try:
            yield
        finally:
            self._mean += _WEIGHT * (time.monotonic() - began - self._mean)
            self._release()

    async def _acquire(self, owner: str) -> None:
        if self.running < self.places and not self._queues:
            self.running += 1
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queues.setdefault(owner, deque()).append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():  # the turn came just then: hand it on
                self._release()
            else:
                self._forget(owner, turn)
            raise

    def _release(self) -> None:
        self.running -= 1
        while self._queues and self.running < self.places:
            owner, queue = next(iter(self._queues.items()))
            turn = queue.popleft()
            del self._queues[owner]
            if queue:
                self._queues[owner] = queue  # behind the others
            if not turn.done():
                self.running += 1
                turn.set_result(None)

    def _forget(self, owner: str, turn: asyncio.Future[None]) -> None:
        queue = self._queues.get(owner)
        if queue is not None and turn in queue:
            queue.remove(turn)
            if not queue:
                del self._queues[owner]
