"""Second stage: files are read in processes of their own, each under a time limit."""

from __future__ import annotations

import hashlib
import os
import queue
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Generator, Iterable
from dataclasses import replace
from multiprocessing.connection import Connection

from ragcore.catalog import FileState
from ragcore.ingest.worker import ReadRequest, ReadResult


class Reader:
    """One reader process, started when needed and again after it was lost."""

    def __init__(self, read_timeout: float) -> None:
        self._timeout = read_timeout
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: Connection | None = None

    def read(self, request: ReadRequest) -> ReadResult:
        connection = self._connection or self._start()
        try:
            connection.send(request)
            if connection.poll(self._timeout):
                result: ReadResult = connection.recv()
                return result
            error = f"reading took longer than {self._timeout:g} s (setting read_timeout)"
        except (EOFError, OSError):
            error = "its reader process died: the file is damaged or needs too much memory"
        self.stop()
        return ReadResult(request.file, error=error)

    def _start(self) -> Connection:
        ours, theirs = socket.socketpair()
        with theirs:
            # -P: the reader must not import modules from the folder the user is in.
            command = [sys.executable, "-P", "-m", "ragcore.ingest.worker", str(theirs.fileno())]
            self._process = subprocess.Popen(
                command, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL
            )
        self._connection = Connection(ours.detach())
        return self._connection

    def kill(self) -> None:
        """End the process from another thread; a `read` under way sees the closed line."""
        if self._process is not None:
            self._process.kill()

    def stop(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


class ReaderPool:
    """Reads files side by side. A crash, a hang or a time-out costs one file, not the run.

    Every file is hashed first; one whose content `is_known` comes back as `same`, unread.
    At most `4 * workers` results wait to be taken; then reading pauses.
    """

    def __init__(
        self, workers: int, read_timeout: float, is_known: Callable[[FileState], bool]
    ) -> None:
        self._is_known = is_known
        self._count = max(1, workers or os.cpu_count() or 1)
        self._timeout = read_timeout
        self._stopping = threading.Event()
        self._readers: list[Reader] = []

    def results(
        self, requests: Iterable[ReadRequest], *, patience: float = 1.0
    ) -> Generator[ReadResult | None, None, None]:
        """Yield one result a request, in the order in which they are done.

        None comes whenever there was nothing for `patience` seconds. Leaving the iteration
        early ends the reader processes.
        """
        results: queue.Queue[ReadResult | None] = queue.Queue(maxsize=4 * self._count)
        waiting = iter(requests)
        lock = threading.Lock()

        def serve(reader: Reader) -> None:
            while not self._stopping.is_set():
                with lock:
                    request = next(waiting, None)
                if request is None:
                    break
                try:
                    result = self._hash_or_read(reader, request)
                except Exception as error:  # never a file that nobody hears of again
                    reader.stop()
                    reason = f"cannot be read ({type(error).__name__}: {error})"
                    result = ReadResult(request.file, error=reason)
                while not self._stopping.is_set():
                    try:
                        results.put(result, timeout=0.2)
                        break
                    except queue.Full:
                        continue
            reader.stop()
            if not self._stopping.is_set():
                results.put(None)

        self._readers = [Reader(self._timeout) for _ in range(self._count)]
        threads = [
            threading.Thread(target=serve, args=(reader,), name="ragcore-read", daemon=True)
            for reader in self._readers
        ]
        for thread in threads:
            thread.start()
        running = len(threads)
        try:
            while running:
                try:
                    result = results.get(timeout=patience)
                except queue.Empty:
                    yield None
                    continue
                if result is None:
                    running -= 1
                else:
                    yield result
        finally:
            self._stopping.set()
            for reader in self._readers:
                reader.kill()
            for thread in threads:
                thread.join(timeout=10)

    def _hash_or_read(self, reader: Reader, request: ReadRequest) -> ReadResult:
        try:
            with open(request.file.path, "rb") as stream:
                digest = hashlib.file_digest(stream, "sha256").hexdigest()
        except OSError as error:
            return ReadResult(request.file, error=f"cannot be read: {error.strerror}")
        file = replace(request.file, sha256=digest)
        if self._is_known(file):
            return ReadResult(file, same=True)
        return reader.read(replace(request, file=file))
