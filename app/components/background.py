"""Work that goes on in the background of the pages, one of a kind for each home."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any

from ragcore.errors import Cancelled, RagcoreError
from ragcore.types import CancelToken, Progress, ProgressCallback

log = logging.getLogger("ragcore.app")

_starting = threading.Lock()
_last: dict[tuple[str, str], Background] = {}  # by home and kind


class Background:
    """Some work in a thread of its own; `about` says what of. `result` is there at its end."""

    def __init__(
        self, kind: str, about: str, work: Callable[[ProgressCallback, CancelToken], Any]
    ) -> None:
        self.about = about
        self.progress: Progress | None = None
        self.result: Any = None
        self.error = ""
        self._work, self._cancel = work, CancelToken()
        self._thread = threading.Thread(target=self._run, name=f"ragcore-{kind}", daemon=True)
        self._thread.start()

    @property
    def running(self) -> bool:
        return self._thread.is_alive()

    def cancel(self) -> None:
        """Stop at the next step; what is finished stays."""
        self._cancel.cancel()

    def wait(self, seconds: float) -> None:
        self._thread.join(seconds)

    def _run(self) -> None:
        def note(progress: Progress) -> None:
            self.progress = progress

        try:
            self.result = self._work(note, self._cancel)
        except Cancelled:
            self.error = "cancelled"
        except RagcoreError as error:
            self.error = str(error)
        except Exception:
            log.exception("the work on %s failed", self.about)
            self.error = "something went wrong: the server's log has the details"


def start(
    home: str, kind: str, about: str, work: Callable[[ProgressCallback, CancelToken], Any]
) -> Background:
    """Begin some work for the pages of a home; what of its kind runs already goes on."""
    with _starting:
        known = _last.get((home, kind))
        if known is None or not known.running:
            known = _last[home, kind] = Background(kind, about, work)
        return known


def latest(home: str, kind: str) -> Background | None:
    """What of this kind runs, or ran last, if any."""
    return _last.get((home, kind))
