"""Second stage: files are read in processes of their own, each under a time limit."""

from __future__ import annotations

import os
import queue
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterable
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import replace
from multiprocessing.connection import Connection

import psutil

from ragcore.catalog import FileState
from ragcore.errors import UnreadableFile
from ragcore.ingest.memory import MOST, reader_limit
from ragcore.ingest.speech import Transcription
from ragcore.ingest.worker import ReadRequest, ReadResult
from ragcore.settings import Settings

_LOOK_EVERY = 0.1  # seconds between two looks at a reader's memory
_FAREWELL = 5.0  # seconds in which a killed reader goes, unless it waits for a dead disk


class ReaderProcess:
    """One reader process, started when needed and again after it was lost.

    `memory`: bytes that it may use.
    """

    def __init__(self, read_timeout: float, memory: int = MOST) -> None:
        self._timeout = read_timeout
        self._memory = memory
        self._process: subprocess.Popen[bytes] | None = None
        self._watched: psutil.Process | None = None  # the same, to see its memory
        self._connection: Connection | None = None

    def read(self, request: ReadRequest) -> ReadResult:
        connection = self._connection or self._start()
        try:
            connection.send(request)
            error = self._wait(connection)
            if not error:
                result: ReadResult = connection.recv()
                return result
        except (EOFError, OSError):
            error = "its reader process died: the file is damaged or needs too much memory"
        self.stop()
        return ReadResult(request.file, error=error)

    def _wait(self, connection: Connection) -> str:
        """Wait for a result; what went wrong, or "" when it has come."""
        end = time.monotonic() + self._timeout
        watched = self._watched
        while not connection.poll(max(0.0, min(_LOOK_EVERY, end - time.monotonic()))):
            if time.monotonic() >= end:
                return f"reading took longer than {self._timeout:g} s (setting read_timeout)"
            with suppress(psutil.Error):  # it died, which the connection reports
                if watched is not None and watched.memory_info().rss > self._memory:
                    return (
                        f"needs more memory than the {self._memory >> 20} MiB that a reader may "
                        "use (setting reader_memory_mb)"
                    )
        return ""

    def _start(self) -> Connection:
        ours, theirs = socket.socketpair()
        with theirs:
            # -P: the reader must not import modules from the folder the user is in.
            command = [sys.executable, "-P", "-m", "ragcore.ingest.worker"]
            command += [str(theirs.fileno()), str(self._memory)]
            self._process = subprocess.Popen(
                command, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL
            )
        with suppress(psutil.Error):  # it has died already, which the connection reports
            self._watched = psutil.Process(self._process.pid)
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
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(_FAREWELL)
            self._process = self._watched = None


class ReaderPool:
    """Reads files side by side. A crash, a hang or a time-out costs one file, not the run.

    Every file is hashed first; one whose content `is_known` comes back as `same`, unread.
    At most `4 * workers` results wait to be taken; then reading pauses.
    """

    def __init__(
        self,
        settings: Settings,
        is_known: Callable[[FileState], bool],
        fetch: Callable[[ReadRequest], AbstractContextManager[ReadRequest]] = nullcontext,
        transcription: Transcription | None = None,
    ) -> None:
        """`fetch` brings a file's content to this computer for as long as it is read.

        `transcription` adds what is said to files that have sound.
        """
        self._transcription = transcription
        self._is_known = is_known
        self._fetch = fetch
        self._count = max(1, settings.workers or os.cpu_count() or 1)
        self._timeout = settings.read_timeout
        self._memory = reader_limit(settings, self._count)
        self._stopping = threading.Event()
        self._readers: list[ReaderProcess] = []

    def results(
        self, requests: Iterable[ReadRequest], *, timeout: float = 1.0
    ) -> Generator[ReadResult | None, None, None]:
        """Yield one result a request, in the order in which they are done.

        None comes whenever there was nothing for `timeout` seconds. Leaving the iteration
        early ends the reader processes.
        """
        results: queue.Queue[ReadResult | None] = queue.Queue(maxsize=4 * self._count)
        waiting = iter(requests)
        lock = threading.Lock()
        problems: list[Exception] = []

        def serve(reader: ReaderProcess) -> None:
            while not self._stopping.is_set():
                try:
                    with lock:
                        request = next(waiting, None)
                except Exception as error:  # raised again where the results are taken
                    problems.append(error)
                    break
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

        self._readers = [ReaderProcess(self._timeout, self._memory) for _ in range(self._count)]
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
                    result = results.get(timeout=timeout)
                except queue.Empty:
                    yield None
                    continue
                if result is None:
                    running -= 1
                    if problems:
                        raise problems[0]
                else:
                    yield result
        finally:
            self._stopping.set()
            if self._transcription is not None:
                self._transcription.cancel()
            for reader in self._readers:
                reader.kill()
            for thread in threads:
                thread.join(timeout=10)

    def _hash_or_read(self, reader: ReaderProcess, request: ReadRequest) -> ReadResult:
        try:
            with self._fetch(request) as here:
                return self._hash_or_read_here(reader, here)
        except UnreadableFile as error:
            return ReadResult(request.file, error=str(error))

    def _hash_or_read_here(self, reader: ReaderProcess, request: ReadRequest) -> ReadResult:
        if request.metadata_only:
            return reader.read(request)
        hashed = reader.read(replace(request, hash_only=True))
        if hashed.error:
            return hashed
        if self._is_known(hashed.file):
            return ReadResult(hashed.file, same=True)
        request = replace(request, file=hashed.file)
        result = reader.read(request)
        if self._transcription is None or result.document is None or not result.document.sound:
            return result
        return self._transcription.add(reader, request, result)
