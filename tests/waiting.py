"""Waiting for what a test expects: until it is so, and no longer than the timeout given."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

# Seconds. A busy machine is slow, and that is no failure: only what never happens is one.
TIMEOUT = float(os.environ.get("TEST_PATIENCE", "300"))


def wait_until(
    condition: Callable[[], T], what: str = "it", *, seconds: float = TIMEOUT, every: float = 0.02
) -> T:
    """Ask `every` so many seconds until the answer is true, and return it.

    Raises AssertionError if it is not within `seconds`.
    """
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, f"{what} did not happen within {seconds:g} s"
        time.sleep(every)
    return found
