"""An image being made in the background of the page Studio: looked at, cancelled, taken."""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass, field
from typing import Any

from ragcore.errors import Cancelled, RagcoreError
from ragcore.library import Imagined, ImagineRequest, ImagineStep, Library
from ragcore.types import CancelToken

log = logging.getLogger("ragcore.app")
_PREVIEWS = 12  # of one image at most


@dataclass
class Making:
    """One run of the image maker over several requests, in a thread of its own.

    Read from the page's thread: each attribute is replaced as a whole, never changed in place.
    """

    library: Library
    requests: list[ImagineRequest]
    labels: list[str] = field(default_factory=list)  # of a grid's cells
    number: int = 0
    total: int = 1
    done: int = 0
    preview: Any = None
    results: tuple[Imagined, ...] = ()
    error: str = ""
    cancelled: bool = False
    seconds: float = 0.0
    taken: bool = False  # by the page, into its history

    def __post_init__(self) -> None:
        self._token = CancelToken()
        self._thread = threading.Thread(target=self._run, name="studio", daemon=True)

    def start(self) -> None:
        self._thread.start()

    @property
    def running(self) -> bool:
        return self._thread.is_alive()

    @property
    def share(self) -> float:
        """How far it is, from 0 to 1, over all requests."""
        return min(1.0, (self.done + self.number / max(1, self.total)) / len(self.requests))

    def cancel(self) -> None:
        self._token.cancel()

    def _run(self) -> None:
        began = time.monotonic()
        try:
            for request in self.requests:
                self._one(request)
                self.done += 1
                self.number = 0
        except Cancelled:
            self.cancelled = True
        except RagcoreError as error:
            self.error = str(error)
        except Exception:
            log.exception("an image could not be made")
            self.error = "the image could not be made; the server's log says why"
        finally:
            self.seconds = time.monotonic() - began

    def _one(self, request: ImagineRequest) -> None:
        every = max(1, request.steps // _PREVIEWS)
        for event in self.library.imagine_stream(request, preview_every=every, cancel=self._token):
            if isinstance(event, ImagineStep):
                self.number, self.total = event.number, event.total
                if event.preview is not None:
                    self.preview = event.preview
            else:
                self.results = (*self.results, event)
