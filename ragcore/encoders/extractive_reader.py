"""The extractive reader at work: the best span in each passage, and whether there is any.

A BERT cross-encoder with two outputs: start and end logits of every token, and the log-odds that
the passage holds the answer. It runs in NumPy, so that an answer does not wait for torch.
"""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ragcore.encoders.bert import Bert
from ragcore.encoders.extractive import Window, WindowMaker
from ragcore.encoders.options import valid_text
from ragcore.errors import ModelUnavailable
from ragcore.files import atomic_write
from ragcore.models import ModelMemory, Span, Weights, folder_bytes

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ragcore.types import FloatArray

CONFIG, TOKENIZER, WEIGHTS, READER = (
    "config.json",
    "tokenizer.json",
    "model.safetensors",
    "reader.json",
)
LONGEST = 30  # tokens of a span
_BATCH_TOKENS = 1024  # padded tokens that are read at once

Network = Callable[["SpanInputs"], "SpanOutputs"]


class SpanInputs:
    """Questions with one window each, padded: `ids`, `types` and `mask`, all [n, tokens]."""

    def __init__(self, rows: Sequence[tuple[Sequence[int], Window]]) -> None:
        import numpy as np

        longest = max(len(question) + len(window.ids) for question, window in rows)
        self.ids: NDArray[np.int64] = np.zeros((len(rows), longest), np.int64)
        self.types: NDArray[np.int64] = np.zeros((len(rows), longest), np.int64)
        self.mask: NDArray[np.float32] = np.zeros((len(rows), longest), np.float32)
        for row, (question, window) in enumerate(rows):
            end = len(question) + len(window.ids)
            self.ids[row, :end] = [*question, *window.ids]
            self.types[row, len(question) : end] = 1
            self.mask[row, :end] = 1


class SpanOutputs:
    """Start and end logits [n, tokens] and the passages' log-odds [n], as NumPy arrays.

    The first token of a row stands for "no answer in this window".
    """

    def __init__(self, starts: FloatArray, ends: FloatArray, passages: FloatArray) -> None:
        self.starts, self.ends, self.passages = starts, ends, passages


@dataclass(frozen=True, slots=True)
class SpanScale:
    """The log-odds that a span is right: a weighted sum of the span's and its window's own."""

    span: float = 1.0
    window: float = 0.0
    bias: float = 0.0

    def score(self, span: float, window: float) -> float:
        return self.span * span + self.window * window + self.bias


class ExtractiveReader:
    """Reads passages for the answer to a question. Safe to use from several threads."""

    def __init__(
        self, network: Network, maker: WindowMaker, scale: SpanScale | None = None
    ) -> None:
        self._network, self._maker = network, maker
        self._scale = scale or SpanScale()
        self._tokenizing = threading.Lock()  # fast tokenizers refuse to be used by two threads

    def read(
        self, question: str, passages: Sequence[str], titles: Sequence[str] = ()
    ) -> list[Span]:
        """The best span of each passage that has text, the likeliest first."""
        rows: list[tuple[int, Window]] = []
        with self._tokenizing:
            asked = self._maker.question(valid_text(question))
            for number, text in enumerate(passages):
                title = titles[number] if titles else ""
                made = self._maker.windows(valid_text(text), valid_text(title))
                rows += [(number, window) for window in made if window.offsets]
        if not rows:
            return []
        return _spans(rows, self._logits(asked, [window for _, window in rows]), self._scale)

    def _logits(
        self, asked: Sequence[int], windows: Sequence[Window]
    ) -> list[tuple[FloatArray, FloatArray, float]]:
        """For each window: logits of its first token and its text's, starts and ends; log-odds."""
        import numpy as np

        found: list[tuple[FloatArray, FloatArray, float]] = []
        longest = len(asked) + max(len(window.ids) for window in windows)
        size = max(1, _BATCH_TOKENS // longest)
        for at in range(0, len(windows), size):
            batch = windows[at : at + size]
            out = self._network(SpanInputs([(asked, window) for window in batch]))
            for row, window in enumerate(batch):
                text = len(asked) + window.first + np.arange(len(window.offsets))
                chosen = np.concatenate(([0], text))
                starts, ends = out.starts[row, chosen], out.ends[row, chosen]
                found.append((starts, ends, float(out.passages[row])))
        return found


class BertSpans:
    """The network of a reader's folder, in NumPy."""

    def __init__(self, folder: Path) -> None:
        self._bert = Bert(folder, max_tokens=512)
        self._head = self._bert.tensors(
            "span.weight", "span.bias", "pooler.dense.weight", "pooler.dense.bias",
            "passage.weight", "passage.bias",
        )  # fmt: skip

    @property
    def bytes(self) -> int:
        return self._bert.bytes

    def __call__(self, inputs: SpanInputs) -> SpanOutputs:
        import numpy as np

        span, span_bias, pooler, pooler_bias, passage, passage_bias = self._head
        states = self._bert.states(inputs.ids, inputs.mask, inputs.types)
        logits = states @ span.T + span_bias
        pooled = np.tanh(states[:, 0] @ pooler.T + pooler_bias)
        return SpanOutputs(
            logits[..., 0], logits[..., 1], (pooled @ passage.T + passage_bias)[:, 0]
        )


class SharedExtractiveReader:
    """An `ExtractiveReader` whose weights load at first use.

    It shares the device's memory with the other models. Safe to use from several threads.
    """

    def __init__(self, folder: Path, *, name: str, memory: ModelMemory | None = None) -> None:
        self._folder = folder
        self._window, self._scale = reader_settings(folder)
        self.weights: Weights[BertSpans] = (memory or ModelMemory()).weights(
            self._load,
            part="span_reader",
            name=name,
            device="cpu",
            precision="float32",
            size=lambda: 4 * folder_bytes(folder),  # one byte a weight in the file
            measure=lambda network: network.bytes,
        )
        self._maker: WindowMaker | None = None

    def _load(self) -> BertSpans:
        try:
            self._maker = WindowMaker(self._folder, self._window)
            return BertSpans(self._folder)
        except Exception as error:  # the tokenizers library raises bare exceptions
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise ModelUnavailable(f"{self._folder} is no extractive reader: {reason}") from error

    def warm_up(self) -> None:
        """Load the weights. Raises ModelUnavailable if the folder holds no such model."""
        with self.weights.lease():
            pass

    def read(
        self, question: str, passages: Sequence[str], titles: Sequence[str] = ()
    ) -> list[Span]:
        """The best span of each passage that has text, by descending rank."""
        with self.weights.lease() as network:
            assert self._maker is not None
            reader = ExtractiveReader(network, self._maker, self._scale)
            return reader.read(question, passages, titles)


def reader_settings(folder: Path) -> tuple[int, SpanScale]:
    """Tokens of a passage that a reader reads at once, and how sure its spans are.

    Raises ModelUnavailable if the folder holds no reader.
    """
    try:
        read = json.loads((folder / READER).read_text("utf-8"))
        return int(read["window"]), SpanScale(**read["scale"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelUnavailable(f"{folder} is no extractive reader: {error}") from error


def save_extractive(
    folder: Path,
    base: Path,
    tensors: Mapping[str, FloatArray],
    config: str,
    *,
    window: int,
    scale: SpanScale | None = None,
) -> None:
    """Write a reader's folder: the BERT's config.json, the base's tokenizer, 8-bit weights.

    Matrices are stored as int8 with one scale a row ("NAME.scale", float32), the rest in float32.
    """
    import numpy as np
    from safetensors.numpy import save_file

    stored: dict[str, NDArray[np.generic]] = {}
    for name, tensor in tensors.items():
        if tensor.ndim != 2:
            stored[name] = np.ascontiguousarray(tensor, np.float32)
            continue
        steps = np.maximum(np.abs(tensor).max(1), 1e-12).astype(np.float32) / 127
        stored[name] = np.rint(tensor / steps[:, None]).astype(np.int8)
        stored[f"{name}.scale"] = steps
    folder.mkdir(parents=True, exist_ok=True)
    (folder / CONFIG).write_text(config, "utf-8")
    settings = {"window": window, "scale": asdict(scale or SpanScale())}
    (folder / READER).write_text(json.dumps(settings, indent=2) + "\n", "utf-8")
    shutil.copyfile(base / TOKENIZER, folder / TOKENIZER)
    with atomic_write(folder / WEIGHTS) as part:
        save_file(stored, part)


def _spans(
    rows: Sequence[tuple[int, Window]],
    logits: Sequence[tuple[FloatArray, FloatArray, float]],
    scale: SpanScale,
) -> list[Span]:
    nothing = _logsumexp([starts[0] for starts, _, _ in logits])
    nothing += _logsumexp([ends[0] for _, ends, _ in logits])
    best: dict[int, Span] = {}
    for (number, window), (starts, ends, holds) in zip(rows, logits, strict=True):
        first, last, score = _best(starts[1:], ends[1:])
        left, right = window.offsets[first][0], window.offsets[last][1]
        span = Span(number, left, right, scale.score(score - nothing, holds), holds)
        if number not in best or span.rank > best[number].rank:
            best[number] = span
    return sorted(best.values(), key=lambda span: -span.rank)


def _best(starts: FloatArray, ends: FloatArray) -> tuple[int, int, float]:
    """First and last token of the likeliest span of at most LONGEST tokens, and its score."""
    import numpy as np

    scores = starts[:, None] + ends[None, :]
    allowed = np.tril(np.triu(np.ones_like(scores, dtype=bool)), LONGEST - 1)
    scores = np.where(allowed, scores, -np.inf)
    first, last = divmod(int(scores.argmax()), len(ends))
    return first, last, float(scores[first, last])


def _logsumexp(values: Sequence[float]) -> float:
    import numpy as np

    return float(np.logaddexp.reduce(np.asarray(values, np.float64)))
