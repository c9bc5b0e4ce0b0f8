"""Does a confidence of 0.7 come true seven times in ten?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Bin:
    """Answers of like confidence: their number, mean confidence and share that came true."""

    count: int
    confidence: float
    true: float


def bins(pairs: Sequence[tuple[float, bool]], *, count: int = 10) -> list[Bin]:
    """(confidence in [0, 1], came true) in `count` equal bins; empty ones are left out."""
    groups: list[list[tuple[float, bool]]] = [[] for _ in range(count)]
    for confidence, true in pairs:
        groups[min(count - 1, int(confidence * count))].append((confidence, true))
    return [
        Bin(len(g), sum(c for c, _ in g) / len(g), sum(t for _, t in g) / len(g))
        for g in groups
        if g
    ]


def calibration_error(pairs: Sequence[tuple[float, bool]], *, count: int = 10) -> float:
    """Expected calibration error (Naeini et al. 2015): mean gap of the bins, by their size."""
    total = max(len(pairs), 1)
    return sum(b.count * abs(b.confidence - b.true) for b in bins(pairs, count=count)) / total


def draw_reliability(pairs: Sequence[tuple[float, bool]], path: Path) -> Path:
    """The reliability diagram as an image file: share that came true over confidence."""
    from matplotlib.figure import Figure

    found = bins(pairs)
    figure = Figure(figsize=(5, 5), layout="constrained")
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], linestyle="--", color="grey", label="perfect")
    axes.plot([b.confidence for b in found], [b.true for b in found], marker="o", label="answers")
    for b in found:
        axes.annotate(str(b.count), (b.confidence, b.true), textcoords="offset points",
                      xytext=(5, -10))  # fmt: skip
    error = calibration_error(pairs)
    axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="confidence", ylabel="share with an answer there",
             title=f"{len(pairs)} answers, calibration error {error:.2f}")  # fmt: skip
    axes.legend()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    return path
