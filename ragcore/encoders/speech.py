"""Speech recognition with any model that transformers' pipeline of that task runs."""

from __future__ import annotations

import inspect
import threading
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ragcore.encoders.options import first_line, reject_unknown
from ragcore.errors import Cancelled, ModelUnavailable, UsageError
from ragcore.models import ModelMemory, SpeechSegment, Weights, folder_bytes
from ragcore.readers import SAMPLE_RATE, quietest

if TYPE_CHECKING:
    from ragcore.models import Placement
    from ragcore.types import CancelToken, FloatArray

_WHISPER = 28.0  # seconds of a piece, at most: the model reads 30
_OTHERS = 14.0  # of models that give no times: each piece has those of its ends
_SEARCH = 0.4  # the last part of a piece, in which the quietest place is its end
_FRAME = SAMPLE_RATE // 20  # samples whose loudness is compared
_PAUSE = 0.7  # seconds between two words, after which a segment begins
_LONG = 10.0  # seconds of words after which one begins, too
_SILENCE = 0.001  # of 1: a piece whose loudest frame is below it has nothing to recognize


class SpeechRecognizer:
    """A `Transcriber` over a folder in the hub's layout: Whisper, wav2vec 2.0 and others.

    Options: `language` (a code such as "de"; empty: recognized) and `task` ("transcribe", or
    "translate" into English) of Whisper models, `batch_size` (pieces at once, 4). Safe to use from
    several threads, which then take turns.
    """

    OPTIONS = frozenset({"language", "task", "batch_size"})

    def __init__(
        self,
        folder: Path,
        *,
        name: str,
        placement: Placement,
        options: Mapping[str, Any] | None = None,
        memory: ModelMemory | None = None,
    ) -> None:
        """Raises UsageError for an unknown option."""
        options = dict(options or {})
        reject_unknown(name, options, self.OPTIONS)
        self.name = name
        self._folder, self._placement = folder, placement
        self._language = str(options.get("language", ""))
        self._task = str(options.get("task", "transcribe"))
        self._batch = int(options.get("batch_size", 4))
        if self._task not in ("transcribe", "translate"):
            raise UsageError(f"{name}: unknown task {self._task!r}: use transcribe or translate")
        if self._batch < 1:
            raise UsageError(f"{name}: batch_size must be at least 1")
        self._lock = threading.Lock()
        self.weights: Weights[Any] = (memory or ModelMemory()).weights(
            self._load,
            part="transcriber",
            name=name,
            device=placement.device,
            precision=placement.precision,
            size=lambda: folder_bytes(folder, placement.dtype.itemsize),
            measure=lambda pipeline: folder_bytes(folder, placement.dtype.itemsize),
        )

    def warm_up(self) -> None:
        """Load the weights. Raises ModelUnavailable if the folder is no such model."""
        with self.weights.lease():
            pass

    def transcribe(
        self, samples: FloatArray, *, language: str = "", cancel: CancelToken | None = None
    ) -> list[SpeechSegment]:
        """See `Transcriber`. The sound is cut at quiet places; silent pieces are passed over."""
        segments: list[SpeechSegment] = []
        with self.weights.lease() as pipeline, self._lock:
            whisper = pipeline.type == "seq2seq_whisper"
            how = self._how(pipeline, language, whisper)
            pieces = list(_pieces(samples, _WHISPER if whisper else _OTHERS))
            # Pieces can be padded to one length only by a model that says with what.
            most = self._batch if pipeline.tokenizer.pad_token_id is not None else 1
            for at in range(0, len(pieces), most):
                if cancel is not None and cancel.cancelled:
                    raise Cancelled("the transcription was cancelled")
                batch = pieces[at : at + most]
                sounds = [
                    {"raw": samples[start:end], "sampling_rate": SAMPLE_RATE}
                    for start, end in batch
                ]
                said = pipeline(sounds, batch_size=len(sounds), **how)
                for (start, end), one in zip(batch, said, strict=True):
                    segments += _segments(one, start / SAMPLE_RATE, end / SAMPLE_RATE)
        return segments

    def _how(self, pipeline: Any, language: str, whisper: bool) -> dict[str, Any]:
        language = language or self._language
        if not whisper:
            if language and language != self._language:
                raise UsageError(f"{self.name} has one language: leave out the language")
            timed = pipeline.type == "ctc" and _has_word_times(pipeline.tokenizer)
            return {"return_timestamps": "word"} if timed else {}
        known = getattr(pipeline.model.generation_config, "lang_to_id", None) or {}
        generate: dict[str, Any] = {}
        if known:  # of a model of English alone there is nothing to choose
            if language and f"<|{language}|>" not in known:
                raise UsageError(f"{self.name} does not know the language {language!r}: use a code")
            generate["task"] = self._task
            if language:
                generate["language"] = language
        return {"return_timestamps": True, "generate_kwargs": generate}

    def _load(self) -> Any:
        from transformers import pipeline
        from transformers.utils import logging

        logging.disable_progress_bar()
        try:
            return pipeline(
                "automatic-speech-recognition",
                model=str(self._folder),
                device=self._placement.device,
                dtype=self._placement.dtype,
                trust_remote_code=False,
                model_kwargs={"use_safetensors": True},
            )
        except (OSError, ValueError, KeyError, ImportError) as error:
            raise ModelUnavailable(
                f"{self.name}: {self._folder} cannot be loaded for speech recognition "
                f"({first_line(error)})"
            ) from error


def _pieces(samples: FloatArray, longest: float) -> Iterator[tuple[int, int]]:
    """[start, end) of pieces that end at quiet places; silent ones are left out."""
    import numpy as np

    most = int(longest * SAMPLE_RATE)
    at = 0
    while at < len(samples):
        end = min(len(samples), at + most)
        if end < len(samples):
            end = quietest(samples, at + int(most * (1 - _SEARCH)), end)
        piece = samples[at:end]
        frames = np.add.reduceat(np.square(piece), np.arange(0, len(piece), _FRAME)) / _FRAME
        if float(frames.max()) >= _SILENCE**2:
            yield at, end
        at = end


def _has_word_times(tokenizer: Any) -> bool:
    return "output_word_offsets" in inspect.signature(tokenizer.decode).parameters


def _joined(chunks: Iterable[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    """Chunks of single words as one each up to a pause; others as they are."""
    words: list[str] = []
    begin = until = 0.0
    for chunk in chunks:
        text, (first, last) = str(chunk["text"]).strip(), chunk["timestamp"]
        word = " " not in text and first is not None and last is not None
        if words and (not word or first - until > _PAUSE or until - begin > _LONG):
            yield {"text": " ".join(words), "timestamp": (begin, until)}
            words = []
        if not word:
            yield chunk
            continue
        begin = begin if words else float(first)
        words.append(text)
        until = float(last)
    if words:
        yield {"text": " ".join(words), "timestamp": (begin, until)}


def _segments(said: Mapping[str, Any], start: float, end: float) -> Iterator[SpeechSegment]:
    """Segments of one piece's result, with times from the beginning of all."""
    chunks = said.get("chunks") or [{"text": said["text"], "timestamp": (0.0, end - start)}]
    for chunk in _joined(chunks):
        text = " ".join(str(chunk["text"]).split())
        first, last = chunk["timestamp"]
        begin = min(start + float(first or 0.0), end)
        until = end if last is None else min(start + float(last), end)
        if text:
            yield SpeechSegment(begin, max(begin, until), text)
