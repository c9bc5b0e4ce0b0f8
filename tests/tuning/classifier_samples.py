"""Drawn images and short texts with labels, and small local backbones in the hub's layouts."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from ragcore.tuning.classifier.recipe import ClassifierRecipe

COLORS = {"red": "#d02020", "green": "#20a030", "blue": "#2040d0"}


def draw_classes(
    folder: Path, *, classes: Sequence[str] = ("red", "green", "blue"), each: int = 8
) -> Path:
    """Sub-folders of images: a disc of the class' color at a place that varies."""
    rng = np.random.default_rng(0)
    for name in classes:
        target = folder / name
        target.mkdir(parents=True)
        for number in range(each):
            image = Image.new("RGB", (40, 40), tuple(rng.integers(180, 256, 3).tolist()))
            left, top = rng.integers(0, 16, 2).tolist()
            ImageDraw.Draw(image).ellipse((left, top, left + 24, top + 24), fill=COLORS[name])
            image.save(target / f"{number}.png")
    return folder


def write_texts(path: Path, *, each: int = 12) -> Path:
    """A .jsonl of short texts of two classes that differ in their words."""
    rng = np.random.default_rng(0)
    words = {"sea": ("river", "sea", "ship"), "law": ("tax", "law", "query")}
    rows = []
    for number in range(each):
        for label, own in words.items():
            text = " ".join(rng.choice([*own, *own, "the", "a", "of"], 6)) + f" {number}"
            rows.append(json.dumps({"text": text, "label": label}))
    path.write_text("\n".join(rows), "utf-8")
    return path


def save_timm(folder: Path) -> Path:
    """A small ResNet with random weights, as timm saves it for the hub."""
    import timm
    import torch
    from timm.models import save_for_hf

    torch.manual_seed(0)
    model = timm.create_model("test_resnet", pretrained=False, num_classes=5)
    save_for_hf(model, folder, model_config={"num_classes": 5}, safe_serialization=True)
    return folder


def save_vit(folder: Path) -> Path:
    """A small vision transformer with random weights, as transformers saves it."""
    import torch
    from transformers import ViTConfig, ViTImageProcessor, ViTModel

    torch.manual_seed(0)
    config = ViTConfig(
        image_size=32, patch_size=8, hidden_size=32, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=64,
    )  # fmt: skip
    ViTModel(config).save_pretrained(folder)
    ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(folder)
    return folder


def recipe(backbone: Path, folder: Path, output: Path, **changes: object) -> ClassifierRecipe:
    values: dict[str, object] = {
        "name": "shapes",
        "output": str(output),
        "backbone": f"local:{backbone}",
        "data": {"train": str(folder)},
        "curve": (1,),
        "strengths": (10.0,),
        "folds": 3,
        "tower": {"epochs": 2, "max_steps": 4, "batch_size": 6},
        **changes,
    }
    return ClassifierRecipe.model_validate(values)
