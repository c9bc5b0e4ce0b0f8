"""Transcribing one file that is not ingested."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from ragcore.errors import Cancelled, RagcoreError, UnreadableFile, UsageError
from ragcore.ingest import ReaderProcess, ReadRequest, reader_limit, sound_segments
from ragcore.library.core import Core
from ragcore.readers import ReadOptions
from ragcore.types import CancelToken, FileState

if TYPE_CHECKING:
    from ragcore.types import SpeechSegment


def transcribe(
    core: Core,
    sound: bytes | str | Path,
    *,
    name: str = "",
    language: str = "",
    cancel: CancelToken | None = None,
) -> Sequence[SpeechSegment]:
    """See `LibraryModels.transcribe`."""
    transcriber = core.models.transcriber()
    if transcriber is None:
        raise UsageError(
            f"profile {core.models.profile.name} has no transcriber: "
            "docs/how-to/recordings.md says how to add one"
        )
    settings = core.settings
    reader = ReaderProcess(settings.read_timeout, reader_limit(settings, 1))
    given = isinstance(sound, bytes)
    with tempfile.TemporaryDirectory(prefix="ragcore-") if given else nullcontext() as folder:
        if isinstance(sound, bytes):
            suffix = Path(name.replace("\0", "")).suffix[:10]
            path = Path(str(folder), f"recording{suffix}")
            path.write_bytes(sound)
        else:
            path = Path(sound).expanduser()
            if not path.is_file():
                raise UnreadableFile(f"there is no file {path}")
        size = path.stat().st_size
        options = ReadOptions.from_settings(settings)
        if size > options.max_file_mb << 20:
            raise UnreadableFile(f"it is over the limit of {options.max_file_mb} MiB (max_file_mb)")
        file = FileState(str(path), name or path.name, size, 0)
        request = ReadRequest(file, options, copy=str(path))
        try:
            return list(
                sound_segments(reader, request, transcriber, language=language, cancel=cancel)
            )
        except (UsageError, Cancelled):
            raise
        except RagcoreError as error:
            raise UnreadableFile(str(error)) from error
        finally:
            reader.stop()
