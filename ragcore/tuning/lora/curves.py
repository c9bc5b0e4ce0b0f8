"""Images of a LoRA run."""

from __future__ import annotations

import json
from pathlib import Path


def draw_curves(run: Path) -> Path | None:
    """`curves.png` in the run folder: loss, learning rate and dev scores over examples seen."""
    rows = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    steps = [r for r in rows if "loss" in r]
    if not steps:
        return None
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    seen = [r["examples"] for r in steps]
    window = max(1, len(steps) // 40)
    smooth = [
        sum(r["loss"] for r in steps[max(0, i - window) : i + 1]) / min(i + 1, window + 1)
        for i in range(len(steps))
    ]
    left.plot(seen, [r["loss"] for r in steps], alpha=0.25)
    left.plot(seen, smooth)
    left.set(xlabel="examples seen", ylabel="loss on answer tokens", ylim=(0, None))
    for name in ("f1", "cited", "declined_unanswerable", "declined_answerable"):
        points = [(r["examples"], r["dev"][name]) for r in rows if name in r.get("dev", {})]
        if points:
            right.plot(*zip(*points, strict=True), marker="o", label=name)
            right.legend()
    right.set(xlabel="examples seen", ylabel="dev", ylim=(0, 1))
    path = run / "curves.png"
    figure.savefig(path, dpi=110)
    return path
