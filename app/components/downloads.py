"""Models that are fetched in the background of the pages, one profile at a time."""

from __future__ import annotations

import logging
import threading

from ragcore.errors import Cancelled, RagcoreError
from ragcore.library import Library
from ragcore.types import CancelToken, Progress

log = logging.getLogger("ragcore.app")

_starting = threading.Lock()
_running: dict[str, Download] = {}  # the last of each home


class Download:
    """The fetching of a profile's models, in a thread of its own."""

    def __init__(self, library: Library, profile: str) -> None:
        self.profile = profile
        self.progress: Progress | None = None
        self.error = ""
        self._library, self._cancel = library, CancelToken()
        self._thread = threading.Thread(target=self._run, name="ragcore-download", daemon=True)
        self._thread.start()

    @property
    def running(self) -> bool:
        return self._thread.is_alive()

    def cancel(self) -> None:
        """What was fetched stays; the next download goes on from there."""
        self._cancel.cancel()

    def wait(self, seconds: float) -> None:
        self._thread.join(seconds)

    def _run(self) -> None:
        def note(progress: Progress) -> None:
            self.progress = progress

        try:
            self._library.models.pull(profile=self.profile, progress=note, cancel=self._cancel)
        except Cancelled:
            self.error = "cancelled"
        except RagcoreError as error:
            self.error = str(error)
        except Exception:
            log.exception("the models of %s could not be fetched", self.profile)
            self.error = "something went wrong: the server's log has the details"


def start(library: Library, home: str, profile: str) -> Download:
    """Fetch a profile's models for the pages of a home; what runs already goes on."""
    with _starting:
        known = _running.get(home)
        if known is None or not known.running:
            known = _running[home] = Download(library, profile)
        return known


def latest(home: str) -> Download | None:
    """The download that runs, or ran last, if any."""
    return _running.get(home)
