"""What is said in recordings and videos: the sound is read in pieces, and transcribed here.

Decoding stays in the reader process; the transcriber is one of this process's models.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

import numpy as np

from ragcore.errors import RagcoreError
from ragcore.ingest.split import split
from ragcore.ingest.worker import ReadRequest, ReadResult
from ragcore.readers import NO_TRANSCRIBER, SAMPLE_RATE, PageBuilder, paragraphs, quietest
from ragcore.text import stamp
from ragcore.types import CancelToken, Coverage, PartCounts, SkippedParts

if TYPE_CHECKING:
    from ragcore.models import SpeechSegment, Transcriber
    from ragcore.types import FloatArray

_PIECE = 300.0  # seconds that are decoded at a time
_SEARCH = 20.0  # the last seconds of a piece, in which it is cut at the quietest place
_LONGEST = 12 * 3600.0  # seconds of one file that are transcribed


class SoundReader(Protocol):
    """Carries out a request: a reader process, or what stands for one."""

    def read(self, request: ReadRequest) -> ReadResult: ...


class Transcription:
    """Adds a page with what is said to documents that have sound."""

    def __init__(
        self, transcriber: Callable[[], Transcriber | None], cancel: CancelToken | None = None
    ) -> None:
        """`transcriber` is called when there is sound to be transcribed."""
        self._transcriber = transcriber
        self._cancel = cancel or CancelToken()

    def cancel(self) -> None:
        """Stop between two pieces."""
        self._cancel.cancel()

    def add(self, reader: SoundReader, request: ReadRequest, result: ReadResult) -> ReadResult:
        """The result with what is said in its document; an error where that failed.

        A recording without speech is an error, a video without is not.
        """
        document = result.document
        assert document is not None
        builder = PageBuilder()
        skipped: list[SkippedParts] = []
        try:
            transcriber = self._transcriber()
            if transcriber is None:
                return ReadResult(result.file, error=NO_TRANSCRIBER)
            segments = sound_segments(
                reader, request, transcriber, skipped=skipped, cancel=self._cancel
            )
            for begin, words in paragraphs((one.start, one.end, one.text) for one in segments):
                if len(builder) > request.options.max_characters:
                    why = f"only the first {request.options.max_characters:,} characters are kept"
                    skipped.append(_missing(begin, why))
                    break
                builder.add(f"[{stamp(begin)}] {words}")
        except RagcoreError as error:
            return ReadResult(result.file, error=f"its sound: {error}")
        if not len(builder):
            if not document.images:
                return ReadResult(result.file, error="no speech was recognized in it")
            return replace(result, document=replace(document, sound=0.0))
        before = document.coverage or Coverage()
        partial = len(skipped)
        coverage = replace(
            before,
            pages=PartCounts(found=1, read=1 - partial, partial=partial),
            skipped=(*before.skipped, *skipped),
        )
        document = replace(
            document,
            pages=(builder.page(1),),
            sound=0.0,
            coverage=coverage,
            warnings=(*document.warnings, *map(str, skipped)),
        )
        return replace(result, document=document, passages=split(document, request.size))


def sound_segments(
    reader: SoundReader,
    request: ReadRequest,
    transcriber: Transcriber,
    *,
    language: str = "",
    skipped: list[SkippedParts] | None = None,
    cancel: CancelToken | None = None,
) -> Iterator[SpeechSegment]:
    """What is said in a file, in order, with times from its beginning.

    What was left out is appended to `skipped`. Raises RagcoreError.
    """
    at = 0.0
    while True:
        if at >= _LONGEST:
            if skipped is not None:
                skipped.append(_missing(at, f"only {_LONGEST / 3600:.0f} hours are transcribed"))
            return
        found = reader.read(replace(request, sound=(at, _PIECE)))
        if found.error:
            raise RagcoreError(found.error)
        samples: FloatArray = np.frombuffer(found.samples, "<i2").astype(np.float32)
        samples /= 32768
        last = len(samples) < _PIECE * SAMPLE_RATE
        if not last:
            end = len(samples)
            samples = samples[: quietest(samples, end - int(_SEARCH * SAMPLE_RATE), end)]
        for one in transcriber.transcribe(samples, language=language, cancel=cancel):
            yield replace(one, start=one.start + at, end=one.end + at)
        if last:
            return
        at += len(samples) / SAMPLE_RATE


def _missing(begin: float, why: str) -> SkippedParts:
    return SkippedParts("page", 1, f"from {stamp(begin)}", why, partial=True)
