"""Reading and embedding on the nodes of a Ray cluster; this process plans and stores.

A file's content goes to the node that reads it, so that nodes need no shared folder. What they
send back is held here until it is stored: a node that is lost takes nothing with it.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import ray
from ray.exceptions import RayError, RayTaskError

from ragcore.catalog import FileState, NewDocument
from ragcore.errors import UnreadableFile
from ragcore.files import open_regular, read_regular
from ragcore.ingest.embed import SpaceIds, new_documents
from ragcore.ingest.engines import DecideSize, Engine, FindSpaces
from ragcore.ingest.fetch import Fetch
from ragcore.ingest.ray_cluster import Cluster
from ragcore.ingest.ray_embedders import Embedders
from ragcore.ingest.ray_nodes import read_sent
from ragcore.ingest.worker import ReadRequest, ReadResult, read_file
from ragcore.settings import Settings

_RETRIES = 3  # of reading one file, when its node or worker is lost
_PER_CPU = 2  # files that are sent for each processor: one is read, one waits
_MOST_SENT = 1 << 30  # bytes of files that are on their way at once
_TIMEOUT = 1.0
_LOOK = 0.2  # seconds that embedding waits for a result before it looks around
_MODEL_FIELDS = ("profile", "device", "precision", "threads", "model_memory_mb", "weights_cache")


@dataclass(frozen=True, slots=True)
class _Sent:
    file: FileState
    bytes: int


class RayEngine(Engine):
    """The cluster at `address` ("": RAY_ADDRESS, or the one this machine belongs to)."""

    def __init__(
        self,
        settings: Settings,
        model_settings: Settings,
        find_spaces: FindSpaces,
        decide_size: DecideSize,
        address: str = "",
    ) -> None:
        """The nodes make their models from `model_settings`."""
        self._settings, self._model_settings = settings, model_settings
        self._find_spaces = find_spaces
        self._decide_size = decide_size
        self._address = address
        self._models_agree = threading.Event()  # nothing is read before
        self._over = threading.Event()

    def __enter__(self) -> Self:
        """Raises RagcoreError if no cluster answers."""
        self._cluster = Cluster(self._address)
        fields = {name: getattr(self._model_settings, name) for name in _MODEL_FIELDS}
        self._embedders = Embedders(self._cluster, fields)
        return self

    def __exit__(self, *error: object) -> None:
        self._embedders.close()
        self._cluster.close()

    def read(
        self,
        requests: Iterable[ReadRequest],
        is_known: Callable[[FileState], bool],
        fetch: Fetch,
    ) -> Generator[ReadResult | None, None, None]:
        while not self._models_agree.wait(_TIMEOUT):
            if self._over.is_set():
                return
            yield None
        waiting = (replace(request, size=self._size) for request in requests)
        flying: dict[Any, _Sent] = {}
        task: Any = ray.remote(read_sent).options(
            num_cpus=1, max_retries=_RETRIES, scheduling_strategy="SPREAD"
        )
        try:
            while not self._over.is_set():
                request = next(waiting, None) if self._has_room(flying.values()) else None
                if request is not None:
                    try:
                        with fetch(request) as here:
                            result = self._send(here, is_known, task, flying)
                    except UnreadableFile as error:
                        result = ReadResult(request.file, error=str(error))
                    if result is not None:
                        yield result
                    continue
                if not flying:
                    return
                done, _ = ray.wait(list(flying), num_returns=1, timeout=_TIMEOUT)
                if not done:
                    yield None
                for ref in done:
                    yield _received(ref, flying.pop(ref))
        finally:
            for ref in flying:
                ray.cancel(ref, force=True)

    def embed(
        self, batches: Iterable[Sequence[ReadResult] | None]
    ) -> Iterator[Sequence[NewDocument]]:
        embedders = self._embedders
        try:
            spaces = yield from self._agree()
            for batch in batches:
                if batch is not None:
                    embedders.put(batch)
                for done, vectors in embedders.step(0):
                    yield new_documents(done, vectors, spaces)
                while embedders.full:
                    for done, vectors in embedders.step(_LOOK):
                        yield new_documents(done, vectors, spaces)
                    yield ()
            while embedders.working:
                for done, vectors in embedders.step(_LOOK):
                    yield new_documents(done, vectors, spaces)
                yield ()
        finally:
            self._over.set()

    def _agree(self) -> Generator[Sequence[NewDocument], None, SpaceIds]:
        """Wait for the first actor, whose models must be those of the collection."""
        while self._embedders.opened is None:
            for _ in self._embedders.step(_LOOK):
                pass
            yield ()
        opened = self._embedders.opened
        spaces = self._find_spaces(opened.text, opened.image)
        self._size = self._decide_size(opened.text.name, opened.reach)
        self._models_agree.set()
        return spaces

    def _has_room(self, flying: Iterable[_Sent]) -> bool:
        sent = [file.bytes for file in flying]
        most = _PER_CPU * max(1, self._cluster.cpus)
        return len(sent) < most and sum(sent) < _MOST_SENT

    def _send(
        self,
        request: ReadRequest,
        is_known: Callable[[FileState], bool],
        task: Any,
        flying: dict[Any, _Sent],
    ) -> ReadResult | None:
        """Send a file on its way to a node; the result of one that need not or cannot go."""
        path = request.place
        try:
            if request.file.size > request.options.max_file_mb << 20:
                with open_regular(path) as stream:
                    content, digest = None, hashlib.file_digest(stream, "sha256").hexdigest()
            else:
                content = read_regular(path)
                digest = hashlib.sha256(content).hexdigest()
        except OSError as error:
            return ReadResult(request.file, error=f"cannot be read: {error.strerror}")
        request = replace(request, file=replace(request.file, sha256=digest))
        if is_known(request.file):
            return ReadResult(request.file, same=True)
        if content is None:
            return read_file(request)  # which refuses it by its size
        ref = task.remote(replace(request, copy=""), content, self._settings.read_timeout)
        flying[ref] = _Sent(request.file, len(content))
        return None


def _received(ref: Any, sent: _Sent) -> ReadResult:
    try:
        result: ReadResult = ray.get(ref)
    except RayTaskError as error:
        cause = error.cause
        return ReadResult(sent.file, error=f"cannot be read ({type(cause).__name__}: {cause})")
    except RayError as error:
        reason = f"its node was lost {_RETRIES + 1} times ({type(error).__name__})"
        return ReadResult(sent.file, error=reason)
    return result
