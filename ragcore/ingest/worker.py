"""A reader process: takes files one by one over a connection, sends back what it read.

Run as `python -m ragcore.ingest.worker FD`. A file that crashes or hangs a parser takes down
this process only; see `ragcore.ingest.pool`. It is no multiprocessing child, so that calling
`Library.ingest` needs no `if __name__ == "__main__"` guard in the caller's script.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING

from ragcore.errors import UnreadableFile
from ragcore.types import FileState, PassageDraft, ReadDocument

if TYPE_CHECKING:
    from ragcore.ingest.readers import ReadOptions

_MEMORY_LIMIT = 12 << 30  # address space; a backstop behind the readers' own limits


@dataclass(frozen=True, slots=True)
class ReadRequest:
    """`file` carries its hash already."""

    file: FileState
    options: ReadOptions


@dataclass(frozen=True, slots=True)
class ReadResult:
    """Exactly one of: `same` (its hash is known), `error`, or `document` with `passages`."""

    file: FileState
    document: ReadDocument | None = None
    passages: Sequence[PassageDraft] = ()
    same: bool = False
    error: str = ""


def read_file(request: ReadRequest) -> ReadResult:
    """Read and split one file. Never raises for a bad file."""
    from ragcore.ingest.readers import read
    from ragcore.ingest.split import split

    file = request.file
    try:
        document = read(Path(file.path), options=request.options)
        return ReadResult(file, document=document, passages=split(document))
    except UnreadableFile as error:
        return ReadResult(file, error=_one_line(str(error)))
    except MemoryError:
        return ReadResult(file, error="needs more memory than a reader is given")
    except OSError as error:
        return ReadResult(file, error=f"cannot be read: {error.strerror or _one_line(str(error))}")
    except Exception as error:  # a parser's own error: one recorded failure, never a stopped run
        reason = f"{type(error).__name__}: {_one_line(str(error))}"
        return ReadResult(file, error=f"cannot be read ({reason})")


def _one_line(text: str) -> str:
    return " ".join(text.split())[:500]


def _limit_memory() -> None:
    try:
        import resource
    except ImportError:  # not on this system
        return
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    limit = _MEMORY_LIMIT if hard == resource.RLIM_INFINITY else min(hard, _MEMORY_LIMIT)
    resource.setrlimit(resource.RLIMIT_AS, (limit, hard))


def main() -> None:
    """Serve requests until the other end closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides what Ctrl-C means
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # there is one process a core already
    _limit_memory()
    sys.stdout = sys.stderr
    connection = Connection(int(sys.argv[1]))
    while True:
        try:
            request = connection.recv()
        except (EOFError, OSError):
            return
        try:
            connection.send(read_file(request))
        except OSError:
            return


if __name__ == "__main__":
    # Pickles name classes by module: serve from the importable one, not from `__main__`.
    from ragcore.ingest.worker import main as serve

    serve()
