"""Keeping a collection in step with folders while they change.

A thread listens to the file system; what it hears of waits until it is quiet: a file that is
still being written changes, and is left alone until it no longer does. Then what has changed is
ingested in one go, renames are recognized by content, and what is gone is removed. Once in a
while everything is compared, for changes that the file system missed.
"""

from __future__ import annotations

import logging
import os
import queue
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ragcore.errors import RagcoreError, UsageError
from ragcore.sources import passed_over
from ragcore.types import CancelToken, IngestReport

if TYPE_CHECKING:
    from ragcore.library.library import Library

log = logging.getLogger("ragcore.watch")

SETTLE = 1.0  # seconds without change after which a file is taken for written
TIMEOUT = 5.0  # what is ready does not wait longer for the rest of a burst
TRIES = 4  # how often a file is read that cannot be: it may be half of one
_GONE = 3  # times as long
_LOOK_EVERY = 0.2
_Signature = tuple[int, int, int] | None  # size, time and inode; None: not there


@dataclass(slots=True)
class _Waiting:
    """A path that changed: how it looked last, since when, and when it may be read again."""

    signature: _Signature
    since: float
    not_before: float = 0.0


@dataclass(slots=True)
class Pending:
    """Paths that changed and are not yet ingested."""

    settle: float = SETTLE
    _waiting: dict[str, _Waiting] = field(default_factory=dict)
    _tries: dict[str, int] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def heard(self, path: str, now: float) -> None:
        """The file system reported a change."""
        self._tries.pop(path, None)
        self._waiting[path] = _Waiting(signature(path), now)

    def again(self, path: str, now: float) -> None:
        """It could not be read: look again later, each time after twice as long."""
        tries = self._tries[path] = self._tries.get(path, 1) + 1
        if tries <= TRIES:
            wait = self.settle * 2.0 ** (tries - 1)
            self._waiting[path] = _Waiting(signature(path), now, now + wait)

    def done(self, path: str) -> None:
        self._tries.pop(path, None)

    def take(self, now: float) -> list[str]:
        """What has not changed for a while. While more is coming, nothing: a burst is one.

        What is gone waits longer than what is there: it may be the first half of a move.
        """
        ready, busy, longest = [], 0, 0.0
        for path, one in self._waiting.items():
            seen = signature(path)
            if seen != one.signature:
                one.signature, one.since = seen, now
            start = max(one.since + self.settle * (1 if seen else _GONE), one.not_before)
            if now >= start:
                ready.append(path)
                longest = max(longest, now - start)
            elif seen and now >= one.not_before:
                busy += 1
        if busy and longest < TIMEOUT:
            return []
        for path in ready:
            del self._waiting[path]
        return sorted(ready)


class Watcher:
    """Follows files and folders into one collection until `stop` is set.

    `on_report` is called after each change that was stored. Raises UsageError for paths that do not
    exist or may not be ingested, before anything is watched.
    """

    def __init__(
        self,
        library: Library,
        paths: Iterable[str | Path],
        *,
        collection: str,
        compare_every: float = 900.0,
        settle: float = SETTLE,
        on_report: Callable[[IngestReport], None] = lambda _report: None,
    ) -> None:
        self._library = library
        self._roots = [Path(os.path.abspath(os.path.expanduser(path))) for path in paths]
        self._collection = collection
        self._compare_every = compare_every
        self._on_report = on_report
        self._pending = Pending(settle)
        self._changes: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._cancel = CancelToken()
        self._stop = threading.Event()
        library.documents.check_paths(self._roots)

    def stop(self) -> None:
        """End after the batch at hand."""
        self._cancel.cancel()
        self._stop.set()

    def run(self) -> None:
        """Compare everything once, then follow changes. Returns after `stop`."""
        listened: list[Path] = []
        listener: _Listener | None = None
        compared = 0.0
        try:
            while not self._stop.is_set():
                here = [root for root in self._roots if root.exists()]
                due = time.monotonic() - compared >= self._compare_every
                if listener is None or here != listened or not listener.alive:
                    if listener is not None:
                        listener.stop()
                    listener, listened, due = _Listener(here, self._changes), here, True
                if due and here:
                    self._ingest(here, sync=True)
                    compared = time.monotonic()
                self._follow()
                self._stop.wait(_LOOK_EVERY)
        finally:
            if listener is not None:
                listener.stop()

    def _follow(self) -> None:
        now = time.monotonic()
        while not self._changes.empty():
            path = self._changes.get()
            if self._concerns(Path(path)):
                self._pending.heard(path, now)
        ready = self._pending.take(now)
        gone = [path for path in ready if not os.path.lexists(path)]
        if here := [path for path in ready if path not in gone]:
            self._ingest(here)  # first: what is gone may have been moved there
        if gone and all(root.exists() for root in self._roots):  # no disk was taken away
            count = self._library.documents.forget_missing(gone, collection=self._collection)
            if count:
                self._on_report(IngestReport(removed=count))

    def _ingest(self, paths: Sequence[str | Path], *, sync: bool = False) -> None:
        allowed = []
        for path in paths:
            try:
                self._library.documents.check_paths([path])
                allowed.append(path)
            except UsageError as error:  # it went meanwhile, or may not be ingested
                log.debug("%s", error)
        if not allowed:
            return
        try:
            report = self._library.ingest(
                allowed, collection=self._collection, sync=sync, cancel=self._cancel
            )
        except RagcoreError as error:  # such as a locked catalog: a later look may do
            log.warning("%s", error)
            for path in allowed:
                self._pending.again(str(path), time.monotonic())
            return
        failed = {failure.path for failure in report.failed}
        for path in map(str, allowed):
            if path not in failed:
                self._pending.done(path)
        for path in failed:
            self._pending.again(path, time.monotonic())
        if report.added or report.updated or report.renamed or report.removed or failed:
            self._on_report(report)

    def _concerns(self, path: Path) -> bool:
        """Whether an ingest of the roots would find this path (or would have found it)."""
        for root in self._roots:
            if path == root:
                return True
            if path.is_relative_to(root):
                parts = path.relative_to(root).parts
                folders = [root.joinpath(*parts[:n]) for n in range(1, len(parts))]
                return not (
                    any(map(passed_over, parts))
                    or any(map(os.path.islink, folders))
                    or (path.is_symlink() and (path.is_dir() or _leads_out(path, root)))
                )
        return False


def _leads_out(link: Path, root: Path) -> bool:
    return not link.resolve().is_relative_to(root.resolve())


class _Listener:
    """A thread that puts the paths of changes into a queue. Made once it listens."""

    def __init__(self, roots: Sequence[Path], changes: queue.SimpleQueue[str]) -> None:
        self._stop = threading.Event()
        self._listening = threading.Event()
        self._thread = threading.Thread(
            target=self._run, args=(roots, changes), name="ragcore-watch", daemon=True
        )
        self._thread.start()
        self._listening.wait(30)

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(10)

    def _run(self, roots: Sequence[Path], changes: queue.SimpleQueue[str]) -> None:
        from watchfiles import Change, watch

        if not roots:
            self._listening.set()
            self._stop.wait()
            return
        try:
            for found in watch(
                *roots,
                watch_filter=None,
                debounce=200,
                step=50,
                rust_timeout=200,
                yield_on_timeout=True,
                stop_event=self._stop,
                raise_interrupt=False,
                ignore_permission_denied=True,
            ):
                self._listening.set()  # the first comes after a time-out, with nothing in it
                for change, path in found:
                    if change is not Change.modified or not os.path.isdir(path):
                        changes.put(path)
        except (OSError, RuntimeError) as error:  # a root went, or there are no watches left
            log.warning("the file system cannot be listened to: %s", error)
            self._stop.wait(5)
        finally:
            self._listening.set()


def signature(path: str) -> _Signature:
    """What changes when a file is written to or replaced."""
    try:
        info = os.stat(path)
    except OSError:
        return None
    return info.st_size, info.st_mtime_ns, info.st_ino
