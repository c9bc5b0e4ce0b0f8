"""The library's work in threads: places by kind, in turns by owner."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing
from typing import Any, TypeVar

import anyio
from anyio import to_thread
from starlette.requests import Request

from ragcore.api.fair_limiter import FairLimiter
from ragcore.api.problems import Problem
from ragcore.library import Principal
from ragcore.types import CancelToken

T = TypeVar("T")
_END = object()
CONCURRENCY = {  # at once, by kind of work
    "search": 8,  # numpy and SQLite leave the interpreter's lock
    "answer": 4,  # tokens of all of them take turns in the model
    "embed": 2,
    "image": 1,
}


class WorkLimiter:
    """Runs blocking calls.

    `most_waiting` bounds the queue, `longest_wait` the seconds that a call may be expected to wait
    in it: beyond them the answer is 503 with Retry-After.
    """

    def __init__(self, *, most_waiting: int = 64, longest_wait: int = 120) -> None:
        self._most_waiting, self._longest_wait = most_waiting, longest_wait
        self._limits = {kind: FairLimiter(places) for kind, places in CONCURRENCY.items()}
        self._quick = anyio.CapacityLimiter(16)
        self._threads = anyio.CapacityLimiter(sum(CONCURRENCY.values()))
        self._tokens: set[CancelToken] = set()
        self._ending: set[asyncio.Task[None]] = set()
        self.stopping = False

    @property
    def waiting(self) -> dict[str, int]:
        """Calls that wait for a place, by kind."""
        return {kind: limit.waiting for kind, limit in self._limits.items()}

    @property
    def running(self) -> dict[str, int]:
        """Calls under way, by kind."""
        return {kind: limit.running for kind, limit in self._limits.items()}

    def wait_seconds(self, kind: str) -> int:
        """About how long a call of a kind that comes now waits for its place."""
        return self._limits[kind].wait_seconds()

    def stop(self) -> None:
        """Streams of events end soon; answers under way may still be finished."""
        self.stopping = True

    def cancel(self) -> None:
        """End what is still under way."""
        self.stopping = True
        for token in list(self._tokens):
            token.cancel()

    async def quick(self, call: Callable[..., T], *args: Any) -> T:
        """A short look into the catalog."""
        return await to_thread.run_sync(call, *args, limiter=self._quick)

    async def run(self, principal: Principal, call: Callable[[], T], *, kind: str = "search") -> T:
        """`call()` in a thread, in turn with what other principals ask for."""
        self._admit(kind, principal.owner)
        async with self._limits[kind].place(principal.owner):
            return await to_thread.run_sync(call, limiter=self._threads)

    async def answer(
        self, request: Request, principal: Principal, call: Callable[[CancelToken], T]
    ) -> T:
        """A long call, cancelled when the asker goes away. Raises Cancelled then."""
        token = CancelToken()
        self._tokens.add(token)

        async def watch() -> None:
            # The body was read: what comes next is that the connection was closed.
            while (await request.receive())["type"] != "http.disconnect":
                continue
            token.cancel()

        watching = asyncio.create_task(watch())
        try:
            return await self.run(principal, lambda: call(token), kind="answer")
        finally:
            watching.cancel()
            token.cancel()
            self._tokens.discard(token)

    async def stream(
        self,
        principal: Principal,
        make: Callable[[CancelToken], Iterator[T]],
        *,
        kind: str = "answer",
    ) -> AsyncIterator[T]:
        """The items of a blocking iterator; it is cancelled when the asker goes away."""
        token = CancelToken()
        self._tokens.add(token)
        loop = asyncio.get_running_loop()
        queue: asyncio.Queue[Any] = asyncio.Queue()

        def pump() -> None:
            for item in make(token):
                loop.call_soon_threadsafe(queue.put_nowait, item)

        async def limiter() -> None:
            try:
                await self.run(principal, pump, kind=kind)
                queue.put_nowait(_END)
            except Exception as error:  # raised again where the items are read
                queue.put_nowait(error)

        task = asyncio.create_task(limiter())
        try:
            while (item := await queue.get()) is not _END:
                if isinstance(item, Exception):
                    raise item
                yield item
        finally:
            token.cancel()
            self._tokens.discard(token)
            self._ending.add(task)  # held until its thread has noticed
            task.add_done_callback(self._ending.discard)

    def _admit(self, kind: str, owner: str) -> None:
        if self.stopping:
            raise Problem(503, "the server is stopping", headers={"Retry-After": "10"})
        limit = self._limits[kind]
        most = self._most_waiting
        seconds = limit.wait_seconds(owner)
        # A quarter of the queue is left for others, whatever one owner sends.
        full = limit.waiting >= most or limit.waiting_of(owner) >= most - most // 4
        late = seconds > self._longest_wait and kind != "image"  # such a job was accepted already
        if full or late:
            headers = {"Retry-After": str(seconds)}
            raise Problem(503, "too much is waiting already; try again", headers=headers)


async def begun(items: AsyncIterator[T]) -> AsyncIterator[T]:
    """The same items, after the first has come: what goes wrong before it is raised here."""
    first = await anext(items)

    async def all_of_them() -> AsyncIterator[T]:
        async with aclosing(items):  # type: ignore[type-var]  # an asynchronous generator
            yield first
            async for item in items:
                yield item

    return all_of_them()
