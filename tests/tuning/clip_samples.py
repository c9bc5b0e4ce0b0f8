"""A small open_clip model in the hub's layout, and drawn images with captions."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

from PIL import Image, ImageDraw

CONFIG = {
    "embed_dim": 32,
    "vision_cfg": {
        "image_size": 32,
        "layers": 2,
        "width": 48,
        "patch_size": 8,
        "head_width": 16,
    },
    "text_cfg": {
        "context_length": 12,
        "vocab_size": 49408,
        "width": 32,
        "heads": 2,
        "layers": 2,
    },
}
COLORS = ("red", "green", "blue", "yellow", "white", "purple")
SHAPES = ("circle", "square", "bar")


def save_small_model(folder: Path) -> Path:
    """A randomly initialized ViT CLIP with its configuration, as open_clip's local-dir has it."""
    import open_clip
    import torch
    from safetensors.torch import save_file

    torch.manual_seed(0)
    model = open_clip.CLIP(**json.loads(json.dumps(CONFIG)))
    folder.mkdir(parents=True)
    save_file(model.state_dict(), folder / "open_clip_model.safetensors")
    whole = {"model_cfg": CONFIG, "preprocess_cfg": {"mean": [0.5] * 3, "std": [0.5] * 3}}
    (folder / "open_clip_config.json").write_text(json.dumps(whole))
    return folder


def draw(color: str, shape: str, place: int) -> Image.Image:
    image = Image.new("RGB", (48, 48), "black")
    left = 4 + 8 * place
    box = {
        "circle": (left, 8, left + 24, 32),
        "square": (left, 10, left + 24, 34),
        "bar": (0, left, 48, left + 8),
    }[shape]
    pen = ImageDraw.Draw(image)
    (pen.ellipse if shape == "circle" else pen.rectangle)(box, fill=color)
    return image


def save_images(folder: Path, places: int = 2) -> Path:
    """Every color and shape in some places, with captions.jsonl."""
    folder.mkdir(parents=True)
    rows = []
    for color, shape, place in itertools.product(COLORS, SHAPES, range(places)):
        name = f"{color}-{shape}-{place}.png"
        draw(color, shape, place).save(folder / name)
        rows.append({"file": name, "captions": [f"a {color} {shape}", f"{shape} in {color}"]})
    (folder / "captions.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    return folder
