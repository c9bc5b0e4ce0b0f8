"""Copies of files that a source fetched: in a folder of their own, bounded, and removed again."""

from __future__ import annotations

import shutil
import tempfile
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from ragcore.errors import RagcoreError, UnreadableFile
from ragcore.files import private_folder
from ragcore.redaction import redact
from ragcore.sources.contract import Source, SourceItem

_lock = threading.Lock()
_swept: set[Path] = set()


class Copies:
    """Temporary copies, each in a sub-folder of `folder` that is named after this process.

    What a killed process left is removed when another one creates its first copy.
    """

    def __init__(self, folder: Path, *, max_file_mb: int, seconds: float) -> None:
        """`seconds` is how long fetching one file may take."""
        self._folder = folder
        self._max_file_mb = max_file_mb
        self._seconds = seconds

    @contextmanager
    def of(self, source: Source, item: SourceItem) -> Iterator[Path]:
        """Within it, a file of this computer with the item's content and name.

        Raises UnreadableFile, with one line that says why, if it cannot be had.
        """
        if item.size is not None:
            self._check(item.size)
        with own_folder(self._folder) as name:
            folder = Path(name)
            path = self._fetched(source, item, folder)
            if path.parent == folder and path.name != item.name:
                path = path.rename(folder / item.name)
            yield path

    def _fetched(self, source: Source, item: SourceItem, folder: Path) -> Path:
        path: list[Path] = []
        error: list[Exception] = []

        def fetch() -> None:
            try:
                path.append(source.fetch(item, folder, most_bytes=self._max_file_mb << 20))
            except Exception as reason:  # whatever a plug-in raises is one failed file
                error.append(reason)

        thread = threading.Thread(target=fetch, name="ragcore-fetch", daemon=True)
        thread.start()
        thread.join(self._seconds)
        if thread.is_alive():
            raise UnreadableFile(
                f"fetching took longer than {self._seconds:g} s (setting read_timeout)"
            )
        if error:
            raise UnreadableFile(_reason(error[0])) from error[0]
        if not isinstance(path[0], Path) or not path[0].is_file():
            raise UnreadableFile(f"its source fetched no file ({type(source).__name__})")
        self._check(path[0].stat().st_size)
        return path[0]

    def _check(self, size: int) -> None:
        if size > self._max_file_mb << 20:
            raise UnreadableFile(
                f"{size / 2**20:.0f} MiB is over the limit of {self._max_file_mb} MiB: raise the "
                "setting max_file_mb"
            )


def own_folder(parent: Path) -> tempfile.TemporaryDirectory[str]:
    """A new folder in `parent`, with this process's name.

    It is removed when it is closed or forgotten. The first one of a process removes what killed
    ones left there.
    """
    private_folder(parent)
    with _lock:
        if parent not in _swept:
            _sweep(parent)
            _swept.add(parent)
    return tempfile.TemporaryDirectory(
        dir=parent, prefix=f"{_process(psutil.Process())}-", ignore_cleanup_errors=True
    )


def write_limited(blocks: Iterable[bytes], path: Path, most_bytes: int) -> Path:
    """Write blocks of bytes to a new file at `path`; return it.

    Raises UnreadableFile as soon as there are more than `most_bytes`.
    """
    size = 0
    with path.open("xb") as file:
        for block in blocks:
            size += len(block)
            if size > most_bytes:
                raise UnreadableFile(
                    f"more than {most_bytes >> 20} MiB: raise the setting max_file_mb"
                )
            file.write(block)
    return path


def _reason(error: Exception) -> str:
    text = " ".join(redact(str(error)).split())[:300]
    if isinstance(error, RagcoreError):
        return text
    if isinstance(error, OSError) and error.strerror:
        return f"cannot be fetched: {error.strerror}"
    return f"cannot be fetched ({type(error).__name__}: {text})"


def _process(process: psutil.Process) -> str:
    return f"{process.pid}-{process.create_time():.2f}"


def _sweep(folder: Path) -> None:
    """Remove what processes left that are gone."""
    for left in folder.glob("*-*-*"):
        pid, started, _ = left.name.split("-", 2)
        alive = False
        with suppress(psutil.Error, ValueError):
            alive = _process(psutil.Process(int(pid))) == f"{pid}-{started}"
        if not alive:
            shutil.rmtree(left, ignore_errors=True)
