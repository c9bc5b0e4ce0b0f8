"""Icons drawn by the test itself: colored shapes with names, in the layout of the real ones."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

COLORS = {"red": (220, 30, 30), "green": (30, 160, 60), "blue": (40, 60, 220), "black": (0, 0, 0)}
SHAPES = ("square", "circle", "triangle", "bar")


def draw_icons(folder: Path, *, styles: tuple[str, ...] = ("flat", "line", "bold")) -> Path:
    """Write STYLE.npz and STYLE.jsonl with 16 icons of 32 x 32 each."""
    folder.mkdir(parents=True, exist_ok=True)
    for width, style in enumerate(styles):
        images, lines = [], []
        for number, (color, shape) in enumerate((c, s) for c in COLORS for s in SHAPES):
            images.append(_drawn(COLORS[color], shape, width))
            row = {
                "codepoints": [f"{number:04X}"],
                "name": f"{color} {shape}",
                "tags": [color, shape, "icon"],
                "group": "round things" if shape == "circle" else "straight things",
                "subgroup": f"{shape}s",
                "style": style,
            }
            lines.append(json.dumps(row))
        np.savez(folder / f"{style}.npz", images=np.stack(images))
        (folder / f"{style}.jsonl").write_text("\n".join(lines), "utf-8")
    return folder


def _drawn(color: tuple[int, int, int], shape: str, width: int) -> np.ndarray:
    image = Image.new("RGB", (32, 32), "white")
    pen = ImageDraw.Draw(image)
    how = {"fill": color if width != 1 else "white", "outline": color, "width": width + 1}
    if shape == "square":
        pen.rectangle((6, 6, 26, 26), **how)  # type: ignore[arg-type]
    elif shape == "circle":
        pen.ellipse((6, 6, 26, 26), **how)  # type: ignore[arg-type]
    elif shape == "bar":
        pen.rectangle((4, 13, 28, 19), **how)  # type: ignore[arg-type]
    else:
        pen.polygon(((16, 5), (27, 26), (5, 26)), **how)  # type: ignore[arg-type]
    return np.asarray(image)
