"""Videos: a frame wherever the scene changes, with its second, and what the file says of itself."""

from __future__ import annotations

import datetime as dt
import re
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ragcore.errors import UnreadableFile
from ragcore.extras import require_extra
from ragcore.readers import audio, images
from ragcore.readers.contract import InputFile
from ragcore.readers.coverage import CoverageBuilder
from ragcore.readers.media import decoded_frames, length_of, opened, said
from ragcore.readers.options import ReadOptions
from ragcore.text import clock
from ragcore.types import ImageMetadata, ReadDocument, ReadImage

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_SHORT = 60.0  # seconds up to which every frame is looked at; of longer videos the key frames
_EVERY = 0.2  # seconds between two frames that are compared
_APART = 1.0  # seconds between two frames that are kept, at least
_CHANGE = 0.08  # mean difference of colors (of 1) from the frame kept last
_SMALL = (32, 18)  # pixels in which frames are compared
_SIDE = 1600  # pixels a side, at most, of a frame that is kept
_LONGEST = 240.0  # seconds of reading, less than the setting read_timeout
_POSITION = re.compile(r"^([+-]\d+(?:\.\d+)?)([+-]\d+(?:\.\d+)?)")


def read(file: InputFile, options: ReadOptions) -> ReadDocument:
    """Frames at scene changes as images with their `second`; length, codecs and date.

    What is said in it is read as that of a recording; one without images is a recording.
    """
    require_extra("video", "videos")
    coverage = CoverageBuilder()
    with opened(file) as container:
        stream = next(iter(container.streams.video), None)
        if stream is None:
            return audio.read_opened(container, file, options)
        _check_size(stream, options)
        about = _metadata(container)
        found = tuple(
            replace(frame, metadata=about)
            for frame in _scenes(container, stream, options, coverage)
        )
        if not found:
            raise UnreadableFile("none of its frames could be decoded: it is damaged")
        return ReadDocument(
            media_type=file.media_type,
            title=said(container.metadata, "title"),
            images=found,
            metadata=_details(container, stream),
            sound=audio.track(container, options, coverage),
            coverage=coverage.done(),
        )


def _check_size(stream: Any, options: ReadOptions) -> None:
    pixels = int(stream.codec_context.width) * int(stream.codec_context.height)
    if pixels > options.max_megapixels * 1_000_000:
        raise UnreadableFile(
            f"its frames are larger than {options.max_megapixels} megapixels: "
            "raise the setting max_megapixels"
        )


def _scenes(
    container: Any, stream: Any, options: ReadOptions, coverage: CoverageBuilder
) -> Iterator[ReadImage]:
    """The first frame, and each that differs from the one before it that was kept."""
    import numpy as np

    length = length_of(container, stream)
    most = max(1, options.max_images)
    apart = max(_APART, length / most)
    until = time.monotonic() + _LONGEST
    kept: NDArray[np.int16] | None = None
    last, count = -apart, 0
    for second, frame in _frames(container, stream, keys_only=length > _SHORT):
        if count >= most or time.monotonic() > until:
            why = "many scenes" if count >= most else "reading took too long"
            coverage.skip("image", f"{why}: nothing after {clock(second)} was looked at")
            return
        if second - last < apart and kept is not None:
            continue
        small = _reduced(frame)
        if kept is not None and float(np.abs(small - kept).mean()) < _CHANGE * 255:
            continue
        kept, last, count = small, second, count + 1
        coverage.read("image")
        yield _kept(frame, second)


def _frames(container: Any, stream: Any, *, keys_only: bool) -> Iterator[tuple[float, Any]]:
    """Frames with their seconds from the beginning, at most one in `_EVERY` seconds.

    Packets that cannot be decoded are passed over, until there are too many.
    """
    stream.thread_type = "NONE"  # the readers share the processor already
    if keys_only:
        stream.codec_context.skip_frame = "NONKEY"
    start = float((stream.start_time or 0) * stream.time_base)
    seen = -_EVERY
    for frame in decoded_frames(container, stream):
        if frame.time is None:
            continue
        second = max(0.0, float(frame.time) - start)
        if second - seen >= _EVERY - 0.001 or second < seen:
            seen = second
            yield second, frame


def _reduced(frame: Any) -> NDArray[np.int16]:
    import numpy as np

    width, height = _SMALL
    small = frame.reformat(width=width, height=height, format="rgb24").to_ndarray()
    return np.asarray(small, dtype=np.int16)


def _kept(frame: Any, second: float) -> ReadImage:
    """A frame, upright, as a JPEG of its own."""
    import io

    image = frame.to_image()
    if turn := round(float(getattr(frame, "rotation", 0) or 0)) % 360:
        image = image.rotate(turn, expand=True)
    image.thumbnail((_SIDE, _SIDE))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=88)
    loaded = images.load(buffer.getvalue())
    described = images.describe(loaded, data=buffer.getvalue())
    return replace(described, second=round(second, 3))


def _details(container: Any, stream: Any) -> dict[str, Any]:
    codec = stream.codec_context
    found: dict[str, Any] = {
        "duration": round(length_of(container, stream), 3),
        "width": int(codec.width),
        "height": int(codec.height),
        "video_codec": str(codec.name),
    }
    if stream.average_rate:
        found["frame_rate"] = round(float(stream.average_rate), 3)
    sound = next(iter(container.streams.audio), None)
    if sound is not None:
        found["audio_codec"] = str(sound.codec_context.name)
    return found


def _metadata(container: Any) -> ImageMetadata:
    """When and where it was taken, as cameras and telephones write it."""
    written = container.metadata
    prefix = "com.apple.quicktime."
    date = said(written, f"{prefix}creationdate") or said(written, "creation_time")
    taken, offset = _date(date)
    latitude, longitude = _position(
        said(written, f"{prefix}location.ISO6709") or said(written, "location")
    )
    make, model = (
        said(written, f"{prefix}{one}") or said(written, one) for one in ("make", "model")
    )
    camera = model if model.lower().startswith(make.lower()) else f"{make} {model}".strip()
    return ImageMetadata(
        taken_at=taken,
        utc_offset=offset,
        taken_from="video" if taken else "",
        camera=camera,
        latitude=latitude,
        longitude=longitude,
    )


def _date(text: str) -> tuple[dt.datetime | None, int | None]:
    """The clock and its minutes ahead of UTC. Cameras that know no date write 1904 or 1970."""
    try:
        when = dt.datetime.fromisoformat(text)
    except ValueError:
        return None, None
    if not 1971 <= when.year <= 2200:
        return None, None
    ahead = when.utcoffset()
    minutes = None if ahead is None else round(ahead.total_seconds() / 60)
    return when.replace(tzinfo=None, microsecond=0), minutes


def _position(text: str) -> tuple[float | None, float | None]:
    found = _POSITION.match(text)
    if not found:
        return None, None
    latitude, longitude = map(float, found.groups())
    inside = abs(latitude) <= 90 and abs(longitude) <= 180 and (latitude or longitude)
    return (latitude, longitude) if inside else (None, None)
