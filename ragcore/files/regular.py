"""Opening files that others can change while we look: regular ones only, and never waiting."""

from __future__ import annotations

import os
import stat
from io import BufferedReader
from pathlib import Path

_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)
_BINARY = getattr(os, "O_BINARY", 0)


class NotRegularFile(OSError):
    """A device, pipe, socket or folder stands where a file was expected."""


def open_regular(path: str | Path) -> BufferedReader:
    """The file at `path`, open for reading.

    What it is is asked of the open file: a pipe or device put there in between is refused
    without waiting for it and without reading from it. Raises OSError.
    """
    descriptor = os.open(path, _FLAGS | _BINARY)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise NotRegularFile(0, "not a regular file", str(path))
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def read_regular(path: str | Path) -> bytes:
    """The content of a regular file. Raises OSError."""
    with open_regular(path) as file:
        return file.read()
