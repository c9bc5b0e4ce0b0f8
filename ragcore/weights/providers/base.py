"""What a provider is, and the progress that all of them report."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ragcore.errors import Cancelled
from ragcore.types import CancelToken, Progress, ProgressCallback
from ragcore.weights.registry import Entry

_MIN_INTERVAL = 0.1  # seconds between two reports of the same step


class Reporter:
    """Turns counts of bytes into `Progress`, with rate and time left, and watches for cancel."""

    def __init__(
        self,
        stage: str,
        progress: ProgressCallback | None = None,
        cancel: CancelToken | None = None,
    ) -> None:
        self._stage = stage
        self._progress = progress
        self._cancel = cancel
        self._step = ""
        self._first = (0.0, 0)  # time and count at which this step began
        self._last = 0.0

    def check(self) -> None:
        """Raise Cancelled if the caller's token is set."""
        if self._cancel is not None and self._cancel.cancelled:
            raise Cancelled(f"{self._stage}: cancelled")

    def bytes(self, step: str, done: int, total: int) -> None:
        """Report `done` of `total` bytes of `step` (download, unpack, convert, check)."""
        self.check()
        now = time.monotonic()
        if step != self._step:
            self._step, self._first, self._last = step, (now, done), 0.0
        if self._progress is None or (now - self._last < _MIN_INTERVAL and done != total):
            return
        self._last = now
        spent, gained = now - self._first[0], done - self._first[1]
        rate = gained / spent if spent > 0 else 0.0
        left = (total - done) / rate if rate > 0 and total >= done else None
        self._progress(Progress(self._stage, done, total, rate, left, current=step))


@dataclass(frozen=True, slots=True)
class Fetched:
    """Where the files are. `in_place`: they stay there, outside of the weights cache."""

    folder: Path
    in_place: bool = False
    revision: str = ""  # as resolved, e.g. the hub's commit


class Provider(Protocol):
    """Gets the files of one entry."""

    def locate(self, entry: Entry) -> Fetched | None:
        """The files where they are in place already and need no fetching, else None."""
        ...

    def fetch(self, entry: Entry, work: Path, report: Reporter) -> Fetched:
        """Get the files, checked, into a folder below `work` (or name where they lie).

        Raises ModelUnavailable with what to do, or Cancelled.
        """
        ...
