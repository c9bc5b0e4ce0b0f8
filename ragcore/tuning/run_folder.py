"""A training run's folder: recipe, log as JSON Lines, curves as an image, checkpoints."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ragcore.extras import require_extra
from ragcore.files import atomic_write

LOG = "log.jsonl"
CURVES = "curves.png"
CHECKPOINT = "checkpoint.pt"
REPORT = "report.json"


class RunFolder:
    """Where a run writes. Made when first written to; every file is replaced atomically.

    Raises MissingExtra without the libraries that training needs, before anything is trained.
    """

    def __init__(self, path: Path) -> None:
        require_extra("train", "training runs")
        self.path = path

    def log(self, **values: Any) -> None:
        """Append one line to log.jsonl."""
        self.path.mkdir(parents=True, exist_ok=True)
        with (self.path / LOG).open("a", encoding="utf-8") as file:
            file.write(json.dumps(values) + "\n")

    def rows(self) -> list[dict[str, Any]]:
        """Everything logged so far, oldest first; a line cut off by a crash is left out."""
        path = self.path / LOG
        if not path.is_file():
            return []
        rows = []
        for line in path.read_text("utf-8").splitlines():
            try:
                rows.append(json.loads(line))
            except ValueError:
                continue
        return rows

    def clear(self) -> None:
        """Forget log and checkpoint: the next run starts again."""
        for name in (LOG, CHECKPOINT, CURVES):
            (self.path / name).unlink(missing_ok=True)

    def truncate_log(self, step: int) -> None:
        """Drop lines of steps after `step`, which a resumed run will do again."""
        rows = [row for row in self.rows() if row.get("step", 0) <= step]
        text = "".join(json.dumps(row) + "\n" for row in rows)
        with atomic_write(self.path / LOG) as part:
            part.write_text(text, "utf-8")

    def save_checkpoint(self, state: Mapping[str, Any]) -> None:
        """Write tensors and plain values; a crash at any instant leaves the last good one."""
        import torch

        with atomic_write(self.path / CHECKPOINT, durable=True) as part:
            torch.save(dict(state), part)

    def load_checkpoint(self) -> dict[str, Any] | None:
        """The last checkpoint, or None."""
        import torch

        path = self.path / CHECKPOINT
        if not path.is_file():
            return None
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        return state

    def write_report(self, values: Mapping[str, Any]) -> None:
        """Write what a run did into report.json."""
        with atomic_write(self.path / REPORT) as part:
            part.write_text(json.dumps(values, indent=2) + "\n", "utf-8")

    def draw_curves(
        self, panels: Mapping[str, Sequence[str]], *, marks: Mapping[str, int] | None = None
    ) -> None:
        """Draw logged values over steps, one panel each: title -> names of values.

        `marks` are steps to be marked in every panel, by what is said of them.
        """
        import matplotlib

        matplotlib.use("Agg")
        from matplotlib import pyplot

        rows = self.rows()
        figure, axes = pyplot.subplots(
            1, len(panels), figsize=(5 * len(panels), 3.6), squeeze=False
        )
        for axis, (title, names) in zip(axes[0], panels.items(), strict=True):
            for name in names:
                points = [(row["step"], row[name]) for row in rows if name in row and "step" in row]
                if points:
                    axis.plot(*zip(*points, strict=True), label=name)
            for text, step in (marks or {}).items():
                axis.axvline(step, linestyle="--", color="gray", label=f"{text}: {step}")
            axis.set_title(title)
            axis.set_xlabel("step")
            if axis.lines:
                axis.legend(fontsize="small")
        figure.tight_layout()
        with atomic_write(self.path / CURVES) as part:
            figure.savefig(part, dpi=110, format="png")
        pyplot.close(figure)
