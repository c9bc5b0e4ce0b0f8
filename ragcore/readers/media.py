"""Recordings and videos, opened by PyAV (FFmpeg).

FFmpeg would open whatever a playlist names, so the file is handed over as a file object with the
format that its first bytes show, and anything else that is to be opened is refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from ragcore.errors import UnreadableFile
from ragcore.extras import require_extra
from ragcore.files import open_regular
from ragcore.readers.contract import InputFile

# Media types of files, and what FFmpeg calls their format.
FORMATS: Mapping[str, str] = {
    "audio/aac": "aac",
    "audio/aiff": "aiff",
    "audio/amr": "amr",
    "audio/flac": "flac",
    "audio/mp4": "mov",
    "audio/mpeg": "mp3",
    "audio/ogg": "ogg",
    "audio/wav": "wav",
    "audio/webm": "matroska",
    "audio/x-matroska": "matroska",
    "audio/x-ms-wma": "asf",
    "video/mp4": "mov",
    "video/quicktime": "mov",
    "video/x-matroska": "matroska",
    "video/webm": "matroska",
    "video/x-msvideo": "avi",
    "video/mpeg": "mpeg",
    "video/mp2t": "mpegts",
    "video/x-ms-wmv": "asf",
    "video/x-flv": "flv",
}

_DAMAGED = 500  # packets that cannot be decoded, after which the rest is left


@contextmanager
def opened(file: InputFile) -> Iterator[Any]:
    """PyAV's container of the file. Raises UnreadableFile for what is cut off or damaged."""
    require_extra("video", "recordings and videos")
    import av

    def refuse(address: str, flags: int, options: Any) -> Any:
        raise PermissionError("a recording that refers to other files or addresses")

    try:
        with (
            open_regular(file.path) as stream,
            av.open(
                stream,
                format=FORMATS[file.media_type],
                io_open=refuse,
                metadata_errors="replace",
            ) as container,
        ):
            yield container
    except UnreadableFile:
        raise
    except PermissionError as error:
        raise UnreadableFile(str(error)) from error
    except (av.FFmpegError, ValueError, OverflowError) as error:
        reason = " ".join(str(error).split())[:120]
        raise UnreadableFile(f"it is cut off or damaged ({reason})") from error


def decoded_frames(container: Any, stream: Any) -> Iterator[Any]:
    """Decoded frames; packets that cannot be decoded are passed over, until there are too many."""
    import av

    damaged = 0
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets, None)
            frames = packet.decode() if packet is not None else []
        except av.FFmpegError:
            damaged += 1
            if damaged > _DAMAGED:
                return
            continue
        if packet is None:
            return
        yield from frames


def length_of(container: Any, stream: Any) -> float:
    """Seconds; 0 where the file does not say."""
    if container.duration:
        return max(0.0, float(container.duration) / 1_000_000)
    if stream.duration and stream.time_base:
        return max(0.0, float(stream.duration * stream.time_base))
    return 0.0


def said(metadata: Mapping[str, str], name: str) -> str:
    """A field of the file's own metadata as one line; "" where it has none."""
    text = metadata.get(name, "")
    return " ".join(text.replace("\0", " ").split())[:500]
