"""What another thread or a native library writes, until it ends or nobody wants it any more."""

from __future__ import annotations

import queue
from collections.abc import Iterator
from typing import TypeVar

from ragcore.errors import Cancelled
from ragcore.types import CancelToken

T = TypeVar("T")
_LOOK_EVERY = 0.05  # seconds between two looks at the cancel token


def received(
    pieces: queue.SimpleQueue[T | BaseException | None], cancel: CancelToken | None
) -> Iterator[T]:
    """Yield what comes, up to None. Raises an exception that comes, and Cancelled."""
    while True:
        if cancel is not None and cancel.cancelled:
            raise Cancelled("the answer was cancelled")
        try:
            piece = pieces.get(timeout=_LOOK_EVERY)
        except queue.Empty:
            continue
        if piece is None:
            return
        if isinstance(piece, BaseException):
            raise piece
        yield piece
