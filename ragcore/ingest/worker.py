"""A reader process: takes files one by one over a connection, sends back what it read.

Run as `python -m ragcore.ingest.worker FD MEMORY`, the memory in bytes. A file that crashes or
hangs a parser takes down this process only; see `ragcore.ingest.pool`. It is no multiprocessing
child, so that calling `Library.ingest` needs no `if __name__ == "__main__"` guard in the caller's
script.
"""

from __future__ import annotations

import hashlib
import logging
import os
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING

from ragcore.errors import UnreadableFile
from ragcore.files import open_regular
from ragcore.sources import is_remote
from ragcore.types import (
    DEFAULT_PASSAGES,
    FileState,
    ImageMetadata,
    PassageDraft,
    PassageSize,
    ReadDocument,
    ReadImage,
)

if TYPE_CHECKING:
    from ragcore.readers import ReadOptions

_LIBRARIES = 256 << 20  # bytes of a reader that are code, and not counted as data
_BLOCK = 2**20
_OOM_SCORE = "800"  # of 1000: where memory runs out, a reader goes before its parent


@dataclass(frozen=True, slots=True)
class ReadRequest:
    """`hash_only`: find the file's hash.

    Without it, `file` carries its hash already. `metadata_only`: read an image file's metadata,
    whatever its hash. `copy` is where its content is, if not at its own path. Passages are cut to
    `size`. `sound`: only the sound from a second on, for so many seconds.
    """

    file: FileState
    options: ReadOptions
    hash_only: bool = False
    metadata_only: bool = False
    copy: str = ""
    size: PassageSize = DEFAULT_PASSAGES
    sound: tuple[float, float] | None = None

    @property
    def place(self) -> Path:
        """The file on this machine."""
        return Path(self.copy or self.file.path)


@dataclass(frozen=True, slots=True)
class ReadResult:
    """Exactly one of.

    `same` (its hash is known), `error`, `document` with `passages`, or `metadata`; none of them
    where only the hash was wanted. `warnings` come with `metadata`. `samples` are the sound that
    was asked for: int16, mono, 16,000 a second.
    """

    file: FileState
    document: ReadDocument | None = None
    passages: Sequence[PassageDraft] = ()
    same: bool = False
    error: str = ""
    size: PassageSize = DEFAULT_PASSAGES  # of the passages
    metadata: ImageMetadata | None = None
    warnings: tuple[str, ...] = ()
    samples: bytes = b""


def carry_out(request: ReadRequest) -> ReadResult:
    """What is asked for: the file's hash, an image's metadata, sound, or its text and passages."""
    if request.sound is not None:
        return _guarded(request, _read_sound)
    if request.metadata_only:
        return _guarded(request, _read_metadata)
    return hash_file(request) if request.hash_only else read_file(request)


def hash_file(request: ReadRequest) -> ReadResult:
    """The file with its hash. Never raises for a bad file."""
    file, limit = request.file, request.options.max_file_mb
    digest = hashlib.sha256()
    try:
        with open_regular(request.place) as stream:
            size = os.fstat(stream.fileno()).st_size
            while size <= limit << 20 and (block := stream.read(_BLOCK)):
                digest.update(block)
                size = max(size, stream.tell())
        if size > limit << 20:
            reason = f"{size / 2**20:.0f} MiB is over the limit of {limit} MiB"
            return ReadResult(file, error=f"{reason}: raise the setting max_file_mb")
    except OSError as error:
        return ReadResult(file, error=f"cannot be read: {error.strerror}")
    return ReadResult(replace(file, sha256=digest.hexdigest()))


def read_file(request: ReadRequest) -> ReadResult:
    """Read and split one file. Never raises for a bad file."""
    return _guarded(request, _read)


def _read(request: ReadRequest) -> ReadResult:
    from ragcore.ingest.split import split
    from ragcore.readers import read

    file = request.file
    document = read(request.place, options=request.options)
    if is_remote(file.path):
        document = _with_own_image(document, request.place)
    images = [_dated(image, file) for image in document.images]
    return ReadResult(
        file,
        document=replace(document, images=tuple(images)),
        passages=split(document, request.size),
        size=request.size,
    )


def _dated(image: ReadImage, file: FileState) -> ReadImage:
    from ragcore.readers import with_file_date

    if image.metadata is None:
        return image
    return replace(image, metadata=with_file_date(image.metadata, file.name, file.mtime_ns))


def _read_metadata(request: ReadRequest) -> ReadResult:
    from ragcore.readers import read_metadata, with_file_date

    file = request.file
    found, warnings = read_metadata(request.place, request.options)
    return ReadResult(
        file, metadata=with_file_date(found, file.name, file.mtime_ns), warnings=warnings
    )


def _read_sound(request: ReadRequest) -> ReadResult:
    from ragcore.readers import read_sound

    start, seconds = request.sound or (0.0, 0.0)
    return ReadResult(
        request.file, samples=read_sound(request.place, start, seconds).astype("<i2").tobytes()
    )


def _guarded(request: ReadRequest, work: Callable[[ReadRequest], ReadResult]) -> ReadResult:
    """What comes of it; an error for whatever a bad file raises."""
    file = request.file
    try:
        return work(request)
    except UnreadableFile as error:
        return ReadResult(file, error=_one_line(str(error)))
    except MemoryError:
        return ReadResult(file, error="needs more memory than a reader is given")
    except OSError as error:
        return ReadResult(file, error=f"cannot be read: {error.strerror or _one_line(str(error))}")
    except Exception as error:  # a parser's own error: one recorded failure, never a stopped run
        reason = f"{type(error).__name__}: {_one_line(str(error))}"
        return ReadResult(file, error=f"cannot be read ({reason})")


def _with_own_image(document: ReadDocument, path: Path) -> ReadDocument:
    """A document whose image is the file itself, with its bytes: the file is a passing copy."""
    images = [
        replace(image, data=path.read_bytes())
        if image.page is None and image.data is None
        else image
        for image in document.images
    ]
    return replace(document, images=tuple(images))


def _one_line(text: str) -> str:
    return " ".join(text.split())[:500]


def _limit_memory(limit: int) -> None:
    """Let allocations beyond `limit` bytes fail, and this process be the first to be ended."""
    with suppress(OSError):  # not on this system
        Path("/proc/self/oom_score_adj").write_text(_OOM_SCORE)
    try:
        import resource
    except ImportError:  # not on this system
        return
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    wanted = max(_LIBRARIES, limit - _LIBRARIES)
    if hard != resource.RLIM_INFINITY:
        wanted = min(hard, wanted)
    resource.setrlimit(resource.RLIMIT_DATA, (wanted, hard))


def main() -> None:
    """Serve requests until the other end closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides what Ctrl-C means
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # there is one process a core already
    _limit_memory(int(sys.argv[2]))
    # The process that started this one has reported the plug-ins that cannot be used.
    logging.getLogger("ragcore.extensions").setLevel(logging.ERROR)
    sys.stdout = sys.stderr
    connection = Connection(int(sys.argv[1]))
    while True:
        try:
            request = connection.recv()
        except (EOFError, OSError):
            return
        try:
            connection.send(carry_out(request))
        except OSError:
            return


if __name__ == "__main__":
    # Pickles name classes by module: serve from the importable one, not from `__main__`.
    from ragcore.ingest.worker import main as serve

    serve()
