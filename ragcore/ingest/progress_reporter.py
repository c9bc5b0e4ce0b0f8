"""Progress of a run: counts, rate and time left, shown a few times a second at most."""

from __future__ import annotations

import time

from ragcore.types import Progress, ProgressCallback

_EVERY = 0.2  # seconds between two calls of the callback


class ProgressReporter:
    """Counts files; `total` is set when it is known."""

    def __init__(self, callback: ProgressCallback | None) -> None:
        self._callback = callback
        self._started = time.monotonic()
        self._shown = 0.0
        self.total = 0
        self.done = 0
        self.failed = 0
        self.current = ""

    def count(self, path: str, *, failed: bool = False) -> None:
        """One more file is through the readers."""
        self.done += 1
        self.failed += failed
        self.current = path
        self.show("read")

    def show(self, stage: str, *, force: bool = False) -> None:
        now = time.monotonic()
        if self._callback is None or (now - self._shown < _EVERY and not force):
            return
        self._shown = now
        rate = self.done / max(now - self._started, 1e-6)
        left = (self.total - self.done) / rate if self.done and self.total else None
        self._callback(
            Progress(
                stage=stage,
                done=self.done,
                total=self.total,
                rate=rate,
                seconds_left=left,
                current=self.current,
                failed=self.failed,
            )
        )
