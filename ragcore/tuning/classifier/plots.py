"""Images of a classifier's results: confusion, mistakes, calibration, labels against accuracy."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ragcore.datasets import bins
from ragcore.errors import UnreadableFile
from ragcore.files import atomic_write

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image

    from ragcore.tuning.classifier.data import LabelledExample

_NAMED = 40  # classes up to which the axes bear names
_CELL, _LINE = 160, 15  # pixels


def draw_confusion(result: Mapping[str, Any], path: Path) -> None:
    """The share of each true class (rows) that was taken for each class (columns)."""
    import numpy as np
    from matplotlib.figure import Figure

    matrix = np.array(result["matrix"], float)
    shares = matrix / np.maximum(matrix.sum(1, keepdims=True), 1)
    names = [_named(name) for name in result["labels"]]
    side = min(12.0, 3.5 + 0.22 * min(len(names), _NAMED))
    figure = Figure(figsize=(side, side), layout="constrained")
    axes = figure.subplots()
    axes.imshow(shares, vmin=0, vmax=1, cmap="Blues")
    axes.set(xlabel="chosen", ylabel="true")
    if len(names) <= _NAMED:
        axes.set_xticks(range(len(names)), names, rotation=90, fontsize="small")
        axes.set_yticks(range(len(names)), names, fontsize="small")
    if len(names) <= 12:
        for (row, column), count in np.ndenumerate(matrix):
            if count:
                color = "white" if shares[row, column] > 0.5 else "black"
                axes.text(column, row, f"{count:.0f}", ha="center", va="center", color=color)
    _save(figure, path)


def draw_calibration(
    before: Sequence[tuple[float, bool]], after: Sequence[tuple[float, bool]], path: Path
) -> None:
    """The share that was right over the confidence, without and with the temperature."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.5, 4.5), layout="constrained")
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], linestyle="--", color="grey", label="perfect")
    for name, pairs in (("as trained", before), ("with the temperature", after)):
        found = bins(pairs)
        axes.plot([b.confidence for b in found], [b.true for b in found], marker="o", label=name)
    axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="confidence", ylabel="share that was right")
    axes.legend()
    _save(figure, path)


def draw_curve(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Accuracy with its interval over the labels a class, one line a way."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.5, 4), layout="constrained")
    axes = figure.subplots()
    for way in dict.fromkeys(row["way"] for row in rows):
        points = sorted((row for row in rows if row["way"] == way), key=lambda r: r["per_class"])
        counts = [row["per_class"] for row in points]
        axes.plot(counts, [row["accuracy"] for row in points], marker="o", label=way)
        axes.fill_between(
            counts, [row["low"] for row in points], [row["high"] for row in points], alpha=0.15
        )
    ticks = sorted({round(row["per_class"], 1) for row in rows})
    axes.set(xscale="log", xlabel="labels a class", ylabel="accuracy", ylim=(0, 1.02))
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()
    axes.legend()
    _save(figure, path)


def draw_mistakes(
    mistakes: Sequence[tuple[LabelledExample, str, str, float]], path: Path, *, max_megapixels: int
) -> None:
    """A sheet of the surest mistakes: each image or text with (true, chosen, probability)."""
    from PIL import Image, ImageDraw

    columns = min(6, max(1, len(mistakes)))
    height = _CELL + 3 * _LINE
    lines = math.ceil(max(1, len(mistakes)) / columns)
    sheet = Image.new("RGB", (columns * (_CELL + 8), lines * (height + 8)), "white")
    pen = ImageDraw.Draw(sheet)
    for number, (example, true, chosen, probability) in enumerate(mistakes):
        left, top = number % columns * (_CELL + 8) + 4, number // columns * (height + 8) + 4
        sheet.paste(_cell(example, max_megapixels), (left, top))
        result = (f"is {true}", f"taken for {chosen}", f"with {probability:.2f}")
        for line, text in enumerate(result):
            pen.text(
                (left, top + _CELL + 1 + line * _LINE),
                _latin(text)[:26],
                fill="#222222",
                font_size=11,
            )
    with atomic_write(path) as part:
        sheet.save(part, format="PNG", optimize=True)


def _cell(example: LabelledExample, max_megapixels: int) -> Image:
    from PIL import Image, ImageDraw, ImageOps

    if example.text:
        cell = Image.new("RGB", (_CELL, _CELL), "#f2f2ee")
        lines = textwrap.wrap(_latin(example.text), 27)[:11]
        ImageDraw.Draw(cell).multiline_text((4, 4), "\n".join(lines), fill="#222222", font_size=10)
        return cell
    try:
        return ImageOps.pad(example.open(max_megapixels), (_CELL, _CELL), color="#f2f2ee")
    except UnreadableFile:
        return Image.new("RGB", (_CELL, _CELL), "#cccccc")


def _named(name: str) -> str:
    """At most 24 characters, as they are: a $ would begin a formula."""
    return (name if len(name) <= 24 else f"{name[:23]}…").replace("$", r"\$")


def _latin(text: str) -> str:
    """What the built-in font can draw."""
    return " ".join(text.split()).encode("latin-1", "replace").decode("latin-1")


def _save(figure: Any, path: Path) -> None:
    with atomic_write(path) as part:
        figure.savefig(part, dpi=110, format="png")


def pairs(chances: NDArray[np.float32], labels: NDArray[np.int64]) -> list[tuple[float, bool]]:
    """(confidence, came true) of each row."""
    right = (chances.argmax(1) == labels).tolist()
    return list(zip(chances.max(1).tolist(), right, strict=True))
