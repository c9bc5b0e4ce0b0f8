"""Making items a little ahead of their use."""

from __future__ import annotations

import threading
import time
from collections.abc import Generator
from contextlib import closing

import pytest

from ragcore.ingest.prefetch import prefetch
from tests.waiting import TIMEOUT, wait_until


class Source:
    """Numbers, with a note of how many were made and whether it was closed."""

    def __init__(self, count: int, *, fail_at: int = -1) -> None:
        self.made = 0
        self.taken = 0  # how many their user has asked for
        self.lead = 0  # the most that were made beyond those
        self.closed = False
        self.thread = ""
        self._count, self._fail_at = count, fail_at

    def items(self) -> Generator[int, None, None]:
        try:
            for number in range(self._count):
                self.thread = threading.current_thread().name
                if number == self._fail_at:
                    raise LookupError("no more numbers")
                self.made += 1
                self.lead = max(self.lead, self.made - self.taken)
                yield number
        finally:
            self.closed = True


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "ragcore-ahead"]


def test_items_come_in_order_from_another_thread() -> None:
    source = Source(50)
    assert list(prefetch(source.items())) == list(range(50))
    assert source.thread == "ragcore-ahead"
    assert source.closed
    assert threads() == []


@pytest.mark.parametrize("depth", [1, 4])
def test_no_more_than_the_depth_is_made_in_advance(depth: int) -> None:
    source = Source(1000)
    with closing(prefetch(source.items(), depth)) as numbers:
        for taken in range(1, 11):
            source.taken = taken
            assert next(numbers) == taken - 1
            wait_until(lambda: source.made - source.taken > depth, "the making of what waits")
    assert source.lead == depth + 1, "the waiting ones, and one in hand"
    assert source.closed
    assert threads() == []


def test_errors_are_raised_where_the_items_are_used() -> None:
    source = Source(10, fail_at=3)
    numbers = prefetch(source.items())
    assert [next(numbers), next(numbers), next(numbers)] == [0, 1, 2]
    with pytest.raises(LookupError):
        next(numbers)
    assert source.closed
    assert threads() == []


def test_making_goes_on_while_items_are_used() -> None:
    source = Source(10)
    for used in prefetch(source.items()):
        assert used is not None
        following = min(used + 2, 10)
        wait_until(lambda: source.made >= following, "the making of the next one")  # noqa: B023


def test_none_comes_while_the_next_item_takes_long() -> None:
    enough = threading.Event()

    def slow() -> Generator[int, None, None]:
        yield 1
        enough.wait(TIMEOUT)
        yield 2

    items: list[int | None] = []
    times: list[float] = []
    for item in prefetch(slow(), timeout=0.1):
        items.append(item)
        times.append(time.monotonic())
        if items.count(None) == 3:
            enough.set()
    assert [item for item in items if item is not None] == [1, 2]
    assert items[1:4] == [None] * 3
    assert times[3] - times[0] >= 0.29, "each after its timeout"
