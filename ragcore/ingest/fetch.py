"""Between discovering and reading: a file of a remote source is fetched while it is read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace

from ragcore.ingest.discover import Discovered
from ragcore.ingest.worker import ReadRequest
from ragcore.settings import Settings
from ragcore.sources import copies_of

# Within it, the request's content is on this computer. Raises UnreadableFile.
Fetch = Callable[[ReadRequest], AbstractContextManager[ReadRequest]]


class Fetcher:
    """Fetches what is to be read; files of this computer are read where they are.

    Called from as many threads as there are readers, so that there are no more copies than
    files being read.
    """

    def __init__(self, found: Discovered, settings: Settings) -> None:
        self._remote = found.remote
        self._copies = copies_of(settings)

    @contextmanager
    def __call__(self, request: ReadRequest) -> Iterator[ReadRequest]:
        at = self._remote.get(request.file.path)
        if at is None:
            yield request
            return
        source, item = at
        with self._copies.of(source, item) as path:
            yield replace(
                request,
                file=replace(request.file, size=path.stat().st_size),
                copy=str(path),
            )
