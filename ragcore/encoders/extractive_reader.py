"""The extractive reader at work: the best span in each passage, and whether there is any."""

from __future__ import annotations

import dataclasses
import json
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ragcore.encoders.options import valid_text
from ragcore.errors import ModelUnavailable
from ragcore.files import atomic_write
from ragcore.models import ModelMemory, Span, Weights, folder_bytes

if TYPE_CHECKING:
    from torch import Tensor

    from ragcore.encoders.extractive import FrozenLayers, Shape, SpanHead, Window, WindowMaker
    from ragcore.models import Placement

CONFIG, WEIGHTS = "config.json", "model.safetensors"
LONGEST = 30  # tokens of a span
BATCH = 16  # windows that are read at once


class ExtractiveReader:
    """Reads passages for the answer to a question. Safe to use from several threads."""

    def __init__(
        self, shape: Shape, base: FrozenLayers, reader: SpanHead, maker: WindowMaker
    ) -> None:
        self.shape = shape
        self._base, self._reader, self._maker = base.eval(), reader.eval(), maker
        self._tokenizing = threading.Lock()  # fast tokenizers refuse to be used by two threads

    @classmethod
    def load(cls, folder: Path, base_folder: Path, *, device: str = "cpu") -> ExtractiveReader:
        """Of a model's folder and its base's. Raises ModelUnavailable if either does not fit."""
        from safetensors.torch import load_file

        from ragcore.encoders.extractive import (
            FrozenLayers,
            Shape,
            SpanHead,
            WindowMaker,
            base_weights,
        )

        try:
            shape = Shape(**json.loads((folder / CONFIG).read_text("utf-8")))
            base, reader = FrozenLayers(shape), SpanHead(shape)
            base.load_state_dict(base_weights(base_folder, shape)[0])
            given = load_file(folder / WEIGHTS)
            reader.load_state_dict({name: value.float() for name, value in given.items()})
            maker = WindowMaker(base_folder, shape.window)
        except (OSError, ValueError, TypeError, KeyError, RuntimeError) as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise ModelUnavailable(f"{folder} is no extractive reader: {reason}") from error
        return cls(shape, base.to(device), reader.to(device).requires_grad_(False), maker)

    def memory(self) -> int:
        """Bytes of the loaded weights."""
        parts = (*self._base.parameters(), *self._reader.parameters())
        return sum(p.numel() * p.element_size() for p in parts)

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
        outputs = self._logits(asked, [window for _, window in rows])
        return self._spans(rows, *outputs)

    def _logits(
        self, asked: Sequence[int], windows: Sequence[Window]
    ) -> tuple[list[Tensor], list[Tensor], list[float]]:
        """Start and end logits of each window's first token and text tokens, passage logits."""
        import torch

        from ragcore.encoders.extractive import padded

        starts: list[Tensor] = []
        ends: list[Tensor] = []
        passages: list[float] = []
        device = self._reader.segments.device
        with torch.inference_mode():
            ids, none = (t.to(device) for t in padded([asked]))
            question = self._base(ids, none)
            for at in range(0, len(windows), BATCH):
                batch = windows[at : at + BATCH]
                ids, padding = (t.to(device) for t in padded([w.ids for w in batch]))
                states = self._base(ids, padding)
                n = len(batch)
                first, last, holds = self._reader(
                    question.expand(n, -1, -1), none.expand(n, -1), states, padding
                )
                for row, window in enumerate(batch):
                    text = range(window.first, window.first + len(window.offsets))
                    chosen = torch.tensor([0, *text], device=device)
                    starts.append(first[row, chosen].float().cpu())
                    ends.append(last[row, chosen].float().cpu())
                passages += holds.float().tolist()
        return starts, ends, passages

    def _spans(
        self,
        rows: Sequence[tuple[int, Window]],
        starts: Sequence[Tensor],
        ends: Sequence[Tensor],
        passages: Sequence[float],
    ) -> list[Span]:
        import torch

        nothing = float(
            torch.stack([s[0] for s in starts]).logsumexp(0)
            + torch.stack([e[0] for e in ends]).logsumexp(0)
        )
        best: dict[int, Span] = {}
        for (number, window), start, end, holds in zip(rows, starts, ends, passages, strict=True):
            first, last, score = _best(start[1:], end[1:])
            left, right = window.offsets[first][0], window.offsets[last][1]
            span = Span(number, left, right, score - nothing, holds)
            if number not in best or span.rank > best[number].rank:
                best[number] = span
        return sorted(best.values(), key=lambda span: -span.rank)


class SharedExtractiveReader:
    """An `ExtractiveReader` whose weights load at first use.

    It shares the device's memory with the other models. Safe to use from several threads.
    """

    def __init__(
        self,
        folder: Path,
        base_folder: Path,
        *,
        name: str,
        placement: Placement,
        memory: ModelMemory | None = None,
    ) -> None:
        device = placement.device
        self.weights: Weights[ExtractiveReader] = (memory or ModelMemory()).weights(
            lambda: ExtractiveReader.load(folder, base_folder, device=device),
            part="span_reader",
            name=name,
            device=device,
            precision="float32",
            size=lambda: folder_bytes(folder, 4) + folder_bytes(base_folder, 4),
            measure=ExtractiveReader.memory,
        )

    def warm_up(self) -> None:
        """Load the weights. Raises ModelUnavailable if the folders hold no such model."""
        with self.weights.lease():
            pass

    def read(
        self, question: str, passages: Sequence[str], titles: Sequence[str] = ()
    ) -> list[Span]:
        """The best span of each passage that has text, by descending rank."""
        with self.weights.lease() as reader:
            return reader.read(question, passages, titles)


def base_name(folder: Path) -> str:
    """The name of the text encoder that a reader's folder was trained over.

    Raises ModelUnavailable if the folder holds no reader.
    """
    try:
        return str(json.loads((folder / CONFIG).read_text("utf-8"))["base"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelUnavailable(f"{folder} is no extractive reader: {error}") from error


def _best(start: Tensor, end: Tensor) -> tuple[int, int, float]:
    """First and last token of the likeliest span of at most LONGEST tokens, and its score."""
    import torch

    scores = start[:, None] + end[None, :]
    allowed = torch.ones_like(scores, dtype=torch.bool).triu().tril(LONGEST - 1)
    scores = scores.masked_fill(~allowed, -torch.inf)
    place = int(scores.argmax())
    first, last = divmod(place, len(end))
    return first, last, float(scores[first, last])


def save_extractive(folder: Path, shape: Shape, weights: Mapping[str, Any]) -> None:
    """Write a model folder: config.json and the weights in float16."""
    import torch
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(dataclasses.asdict(shape), indent=2) + "\n"
    (folder / CONFIG).write_text(text, "utf-8")
    half = {k: v.detach().to("cpu", torch.float16).contiguous() for k, v in weights.items()}
    with atomic_write(folder / WEIGHTS) as part:
        save_file(half, part)
