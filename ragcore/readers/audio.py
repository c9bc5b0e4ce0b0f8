"""Recordings: their length and metadata, and their sound in pieces.

What is said in them is recognized by the profile's transcriber, outside of the readers
(`ragcore.ingest.speech`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ragcore.errors import UnreadableFile
from ragcore.extras import require_extra
from ragcore.readers.contract import InputFile
from ragcore.readers.coverage import CoverageBuilder
from ragcore.readers.media import decoded_frames, length_of, opened, said
from ragcore.readers.options import ReadOptions
from ragcore.types import ReadDocument

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ragcore.types import FloatArray

SAMPLE_RATE = 16_000  # samples a second of what `samples` returns
NO_TRANSCRIBER = (
    "what is said is not read: that needs a profile with a [transcriber], and the engine local"
)
_INSIDE = "what is said in a file inside another is not read: add it by itself"
_LENGTH_UNKNOWN = 12 * 3600.0  # seconds; reading ends with the file
_QUIET = SAMPLE_RATE // 20  # samples whose loudness is compared


def read(file: InputFile, options: ReadOptions) -> ReadDocument:
    """Length, codec, title and artist; `sound` says how many seconds there are to transcribe."""
    with opened(file) as container:
        return read_opened(container, file, options)


def read_opened(container: Any, file: InputFile, options: ReadOptions) -> ReadDocument:
    """As `read`, of a file that is open already."""
    if why := _why_not(options):
        raise UnreadableFile(why)
    stream = next(iter(container.streams.audio), None)
    if stream is None:
        raise UnreadableFile("it has neither sound nor video")
    coverage = CoverageBuilder()
    details: dict[str, Any] = {
        "duration": round(length_of(container, stream), 3),
        "audio_codec": str(stream.codec_context.name),
    }
    for name in ("artist", "album", "date"):
        if text := said(container.metadata, name):
            details["author" if name == "artist" else name] = text
    return ReadDocument(
        media_type=file.media_type.replace("video/", "audio/", 1),
        title=said(container.metadata, "title"),
        metadata=details,
        sound=track(container, options, coverage),
        coverage=coverage.done(),
    )


def track(container: Any, options: ReadOptions, coverage: CoverageBuilder) -> float:
    """Seconds of sound to transcribe; 0 where there is none, or nothing that does it."""
    stream = next(iter(container.streams.audio), None)
    if stream is None:
        return 0.0
    if why := _why_not(options):
        coverage.skip("text", why, "sound")
        return 0.0
    return length_of(container, stream) or _LENGTH_UNKNOWN


def _why_not(options: ReadOptions) -> str:
    """Why sound is not read; "" where it is."""
    if not options.speech:
        return NO_TRANSCRIBER
    return _INSIDE if options.depth else ""


def samples(file: InputFile, start: float, seconds: float) -> NDArray[np.int16]:
    """The sound from a second on: int16 [n], mono, 16,000 a second; fewer at the end.

    Raises UnreadableFile.
    """
    require_extra("video", "recordings")
    import av
    import numpy as np

    with opened(file) as container:
        stream = next(iter(container.streams.audio), None)
        if stream is None:
            raise UnreadableFile("it has no sound")
        stream.thread_type = "NONE"  # the readers share the processor already
        begin = float((stream.start_time or 0) * stream.time_base)
        if start:
            container.seek(int((start + begin) * 1_000_000))
        resampler = av.AudioResampler(format="s16", layout="mono", rate=SAMPLE_RATE)
        found: list[NDArray[np.int16]] = []
        count, skip, most = 0, -1, round(seconds * SAMPLE_RATE)
        for frame in decoded_frames(container, stream):
            if skip < 0:
                at = start if frame.time is None else float(frame.time) - begin
                skip = max(0, round((start - at) * SAMPLE_RATE))
            for piece in resampler.resample(frame):
                found.append(piece.to_ndarray().reshape(-1).astype(np.int16, copy=False))
                count += len(found[-1])
            if count >= skip + most:
                break
        whole = np.concatenate(found) if found else np.zeros(0, np.int16)
        return whole[max(0, skip) :][:most]


def quietest(samples: FloatArray, start: int, end: int) -> int:
    """The middle of the quietest 50 ms in [start, end)."""
    import numpy as np

    count = (end - start) // _QUIET
    if count < 1:
        return end
    frames = np.square(samples[start : start + count * _QUIET].astype(np.float32))
    loudness = frames.reshape(count, _QUIET).sum(axis=1)
    return start + int(loudness.argmin()) * _QUIET + _QUIET // 2
