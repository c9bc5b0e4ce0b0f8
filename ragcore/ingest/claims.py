"""Which ingest reads a file: of several that come to the same one at once, the first.

A claim is a small file with the name of the process that works on it. It ends with the run, and
with the process.
"""

from __future__ import annotations

import hashlib
import os
import socket
import time
from contextlib import suppress
from pathlib import Path

import psutil
from filelock import FileLock

from ragcore.files import private_folder, storing

_UNWRITTEN_SECONDS = 30.0  # a claim without a name in it is that of a process that died
_NEW = os.O_CREAT | os.O_EXCL | os.O_WRONLY


class Claims:
    """The claims of one run in one collection. `folder` is shared by all runs of a home."""

    def __init__(self, folder: Path, collection_id: int) -> None:
        self._folder = folder
        self._collection_id = collection_id
        self._mine: set[Path] = set()
        self._name = _this_process()

    def take(self, path: str) -> bool:
        """Claim a file; False where another run has done so."""
        claim = self._claim(path)
        if claim in self._mine or self._create(claim):
            return True
        if not _is_stale(claim):
            return False
        with FileLock(self._folder / ".lock"):  # of two who find it stale, one removes it
            if _is_stale(claim):
                claim.unlink(missing_ok=True)
            return self._create(claim)

    def release(self, path: str) -> None:
        """Give up a claim, if it is this run's."""
        claim = self._claim(path)
        if claim in self._mine:
            self._mine.discard(claim)
            claim.unlink(missing_ok=True)

    def release_all(self) -> None:
        """Give up all claims of this run."""
        while self._mine:
            self._mine.pop().unlink(missing_ok=True)

    def forget_stale(self) -> None:
        """Remove the claims of processes that are gone, of this collection."""
        for claim in self._folder.glob(f"{self._collection_id}-*"):
            if _is_stale(claim):
                claim.unlink(missing_ok=True)

    def _claim(self, path: str) -> Path:
        digest = hashlib.sha256(path.encode("utf-8", "surrogatepass")).hexdigest()[:40]
        return self._folder / f"{self._collection_id}-{digest}"

    def _create(self, claim: Path) -> bool:
        with storing("the ingest has not begun"):
            try:
                try:
                    descriptor = os.open(claim, _NEW, 0o600)
                except FileNotFoundError:
                    private_folder(self._folder)
                    descriptor = os.open(claim, _NEW, 0o600)
            except FileExistsError:
                return False
            self._mine.add(claim)
            with os.fdopen(descriptor, "w") as file:
                file.write(self._name)
        return True


def _this_process() -> str:
    return f"{socket.gethostname()}:{os.getpid()}:{psutil.Process().create_time():.2f}"


def _is_stale(claim: Path) -> bool:
    """Whether the process that claimed is gone. A claim that is not there is stale, too."""
    try:
        written, age = claim.read_text(), time.time() - claim.stat().st_mtime
    except FileNotFoundError:
        return True
    if not written:
        return age > _UNWRITTEN_SECONDS
    host, pid, started = written.rsplit(":", 2)
    if host != socket.gethostname():
        return False  # only that machine knows
    with suppress(psutil.Error):
        return f"{psutil.Process(int(pid)).create_time():.2f}" != started
    return True
