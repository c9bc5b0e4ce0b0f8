"""Files of a home are their owner's alone: 0600, folders 0700."""

from __future__ import annotations

import hashlib
import os
import shutil
import socket
import stat
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

from ragcore.files.disk import storing

_OTHERS = 0o077
_FOLDER, _FILE = 0o700, 0o600
_FOREIGN_SECONDS = 86_400.0


@contextmanager
def private_process() -> Iterator[None]:
    """Within it, everything that this process and its children write is their user's alone.

    For processes of our own, commands and servers: the mask belongs to the whole process.
    """
    before = os.umask(_OTHERS)
    try:
        yield
    finally:
        os.umask(before)


def private_folder(path: Path) -> Path:
    """Make a folder, and those above it that are missing, for this user alone; return it."""
    missing = []
    for one in (path, *path.parents):
        if one.exists():
            break
        missing.append(one)
    for one in reversed(missing):
        one.mkdir(mode=_FOLDER, exist_ok=True)
    path.mkdir(exist_ok=True)  # raises what mkdir raises where a file is in the way
    return path


def private_file(path: Path) -> None:
    """Make an empty file for this user alone, unless there is one."""
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, _FILE))


def write_private(path: Path, data: bytes | str) -> None:
    """Write a file for this user alone."""
    content = data.encode() if isinstance(data, str) else data
    with open(path, "wb", opener=_opener) as out:
        out.write(content)
    path.chmod(_FILE)  # one that was there keeps its mode otherwise


def replace_private(path: Path, data: bytes | str) -> None:
    """Write a file for this user alone in place of what is there: all of it, or nothing.

    Raises StorageFull or StorageReadOnly where the disk refuses.
    """
    with storing(f"{path.name} was not written"):
        private_folder(path.parent)
        with atomic_write(path) as partial:
            write_private(partial, data)


@contextmanager
def atomic_write(path: Path, *, durable: bool = False) -> Iterator[Path]:
    """The file to write within the block, which then takes the place of `path`.

    All of it, or nothing. `durable`: on the disk itself before it does.

    Raises StorageFull or StorageReadOnly where the disk refuses.
    """
    partial = path.with_name(f".{path.name[:100]}{partial_suffix()}")
    try:
        with storing(f"{path.name} was not written"):
            path.parent.mkdir(parents=True, exist_ok=True)
            yield partial
            if durable:
                with partial.open("rb") as file:
                    os.fsync(file.fileno())
            partial.replace(path)
    except BaseException:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        raise


@contextmanager
def replace_folder(folder: Path) -> Iterator[Path]:
    """The private folder to fill within the block, which then takes the place of `folder`.

    A reader finds all of the old one or all of the new one, but for the moment between two
    renames; a crash leaves the old one, and what `strays` finds.
    """
    partial, old = (folder.with_name(f".{folder.name[:100]}{end}{partial_suffix()}")
                    for end in ("", ".old"))  # fmt: skip
    try:
        for left in (partial, old):
            shutil.rmtree(left, ignore_errors=True)
        private_folder(partial)
        yield partial
        make_private(partial)
        if folder.exists():
            folder.rename(old)
        try:
            partial.rename(folder)
        except OSError:
            if old.exists():
                old.rename(folder)
            raise
    finally:
        for left in (partial, old):
            shutil.rmtree(left, ignore_errors=True)


def partial_suffix() -> str:
    """How names of files and folders end that are being written: by which process they are."""
    return f".{_host()}.{os.getpid()}.{threading.get_ident()}.partial"


def strays(folder: Path) -> list[Path]:
    """What ended processes have left half-written in a folder and below it.

    Of other computers' files, what is older than a day. Folders are not entered.
    """
    found = []
    for base, folders, files in os.walk(folder):
        for name in (*folders, *files):
            if name.endswith(".partial") and _is_left(Path(base, name)):
                found.append(Path(base, name))
        folders[:] = [name for name in folders if not name.endswith(".partial")]
    return found


def strays_here(folder: Path) -> list[Path]:
    """As `strays`, of backups and restores in this folder alone."""
    found = folder.glob(".ragcore-*.partial")
    return [path for path in found if _is_left(path)]


def remove_strays(paths: Iterable[Path]) -> int:
    """Delete what `strays` found; return how many there were."""
    count = 0
    for path in paths:
        with suppress(OSError):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()
            count += 1
    return count


def _is_left(path: Path) -> bool:
    parts = path.name.split(".")
    try:
        host, pid = parts[-4], int(parts[-3])
        if host == _host():
            os.kill(pid, 0)  # only asks whether there is such a process
            return False
        return time.time() - path.stat().st_mtime > _FOREIGN_SECONDS
    except ProcessLookupError:
        return True
    except (OSError, ValueError, IndexError):
        return False


@cache
def _host() -> str:
    return hashlib.sha256(socket.gethostname().encode()).hexdigest()[:8]


def make_private(folder: Path) -> None:
    """Take everything in a folder that was just written, and the folder, from other users."""
    for path in exposed(folder):
        path.chmod(_FOLDER if path.is_dir() else _FILE)


def exposed(folder: Path) -> list[Path]:
    """The folder and what is in it, as far as other users have any right to it.

    Links are left out: what they lead to is not ours. Nothing on systems without such rights.
    """
    if os.name == "nt" or not folder.is_dir():
        return []
    found = [folder] if _open_to_others(folder.lstat().st_mode) else []
    for base, folders, files in os.walk(folder):
        for name in (*folders, *files):
            path = Path(base, name)
            try:
                mode = path.lstat().st_mode
            except OSError:  # a file of a moment
                continue
            if not stat.S_ISLNK(mode) and _open_to_others(mode):
                found.append(path)
    return found


def _open_to_others(mode: int) -> bool:
    return bool(mode & _OTHERS)


def _opener(path: str, flags: int) -> int:
    return os.open(path, flags, _FILE)
