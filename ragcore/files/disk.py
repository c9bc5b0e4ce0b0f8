"""What the disk says when it is full or read-only, as errors of one line."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ragcore.errors import StorageFull, StorageReadOnly, StorageUnavailable

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_READ_ONLY = frozenset({errno.EROFS, errno.EACCES, errno.EPERM})
_ALMOST_NOTHING = 1 << 20  # bytes


def full(what: str) -> StorageFull:
    """The error for a disk that was full while `what` was written."""
    return StorageFull(f"the disk is full: {what}; make room, then do the same again")


def read_only(what: str) -> StorageReadOnly:
    """The error for a folder in which `what` cannot be written."""
    return StorageReadOnly(
        f"{what}: the folder is read-only here (searching, asking and backups work)"
    )


def storage_error(error: OSError, what: str) -> StorageUnavailable | None:
    """The error that stands for `error`, if it means a full or read-only disk.

    `what` says what was not done, as in "a.pdf was not stored".
    """
    if error.errno in _FULL:
        return full(what)
    if error.errno in _READ_ONLY:
        return read_only(what)
    return None


@contextmanager
def storing(what: str) -> Iterator[None]:
    """Raises StorageFull or StorageReadOnly in place of the system's errors of that kind."""
    try:
        yield
    except OSError as error:
        raise storage_error(error, what) or error from error


def can_write(folder: Path) -> bool:
    """Whether files can be made in a folder, or in the nearest one above it that exists."""
    for one in (folder, *folder.parents):
        if one.exists():
            return os.access(one, os.W_OK)
    return False


def is_full(folder: Path) -> bool:
    """Whether there is next to no room left."""
    try:
        found = os.statvfs(folder)
    except (OSError, AttributeError):  # gone, or not on this system
        return False
    return found.f_bavail * found.f_frsize < _ALMOST_NOTHING
