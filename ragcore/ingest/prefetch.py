"""Produce in a thread what another one consumes, a little ahead of it."""

from __future__ import annotations

import queue
import threading
from collections.abc import Generator
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")

_LOOK = 0.1  # seconds between two looks at whether to stop


@dataclass(frozen=True, slots=True)
class _Item(Generic[T]):
    value: T


@dataclass(frozen=True, slots=True)
class _End:
    error: BaseException | None = None


def prefetch(
    items: Generator[T, None, None], depth: int = 1, *, timeout: float | None = None
) -> Generator[T | None, None, None]:
    """Yield `items`, which are made in a thread of its own, at most `depth` of them in advance.

    None comes whenever nothing was made for `timeout` seconds. What making them raises is
    raised here. Leaving the iteration early stops the thread after the item at hand; in any
    case `items` is closed.
    """
    made: queue.Queue[_Item[T] | _End] = queue.Queue(depth)
    stop = threading.Event()

    def put(what: _Item[T] | _End) -> None:
        while not stop.is_set():
            try:
                made.put(what, timeout=_LOOK)
            except queue.Full:
                continue
            return

    def produce() -> None:
        end = _End()
        try:
            for value in items:
                put(_Item(value))
                if stop.is_set():
                    break
        except BaseException as error:  # raised again in the consuming thread
            end = _End(error)
        finally:
            items.close()
            put(end)

    thread = threading.Thread(target=produce, name="ragcore-ahead", daemon=True)
    thread.start()
    try:
        while True:
            try:
                got = made.get(timeout=timeout)
            except queue.Empty:
                yield None
                continue
            if isinstance(got, _End):
                if got.error is not None:
                    raise got.error
                return
            yield got.value
    finally:
        stop.set()
        thread.join()
