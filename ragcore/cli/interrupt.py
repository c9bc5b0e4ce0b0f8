"""Ctrl-C of a long command: the first one asks it to stop, the second one ends it."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from ragcore.cli.output import echo
from ragcore.types import CancelToken


@contextmanager
def cancel_on_interrupt() -> Iterator[CancelToken]:
    """A token that the first Ctrl-C cancels; the handler from before is put back at the end."""
    token = CancelToken()

    def stop(_signal: int, _frame: FrameType | None) -> None:
        if token.cancelled:
            raise KeyboardInterrupt
        token.cancel()
        echo("\nstopping after this batch; Ctrl-C again to stop at once", err=True)

    before = signal.signal(signal.SIGINT, stop)
    try:
        yield token
    finally:
        signal.signal(signal.SIGINT, before)
