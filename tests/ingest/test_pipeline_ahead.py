"""Making items a little ahead of their use."""

from __future__ import annotations

import threading
import time
from collections.abc import Generator
from contextlib import closing

import pytest

from ragcore.ingest.ahead import ahead


class Source:
    """Numbers, with a note of how many were made and whether it was closed."""

    def __init__(self, count: int, *, fail_at: int = -1) -> None:
        self.made = 0
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
                yield number
        finally:
            self.closed = True


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "ragcore-ahead"]


def test_items_come_in_order_from_another_thread() -> None:
    source = Source(50)
    assert list(ahead(source.items())) == list(range(50))
    assert source.thread == "ragcore-ahead"
    assert source.closed
    assert threads() == []


@pytest.mark.parametrize("depth", [1, 4])
def test_no_more_than_the_depth_is_made_in_advance(depth: int) -> None:
    source = Source(1000)
    with closing(ahead(source.items(), depth)) as numbers:
        assert next(numbers) == 0
        time.sleep(0.4)
        assert source.made <= depth + 2, "one taken, the waiting ones, one in hand"
    assert source.closed
    assert threads() == []


def test_errors_are_raised_where_the_items_are_used() -> None:
    source = Source(10, fail_at=3)
    numbers = ahead(source.items())
    assert [next(numbers), next(numbers), next(numbers)] == [0, 1, 2]
    with pytest.raises(LookupError):
        next(numbers)
    assert source.closed
    assert threads() == []


def test_making_goes_on_while_items_are_used() -> None:
    def slow() -> Generator[int, None, None]:
        for number in range(10):
            time.sleep(0.2)
            yield number

    started = time.monotonic()
    for _ in ahead(slow()):
        time.sleep(0.2)
    assert time.monotonic() - started < 3.6, "one after the other it takes four seconds"


def test_none_comes_while_the_next_item_takes_long() -> None:
    def slow() -> Generator[int, None, None]:
        yield 1
        time.sleep(0.6)
        yield 2

    items = list(ahead(slow(), patience=0.1))
    assert [item for item in items if item is not None] == [1, 2]
    assert 2 <= items.count(None) <= 8
