"""What a run starts from and what it leaves behind: models in, models out."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ragcore.encoders import (
    CONFIG_FILE,
    STARTER,
    LoadedClip,
    load_clip,
    starter_clip,
    starter_space,
)

if TYPE_CHECKING:
    from torch import Tensor

    from ragcore.settings import Settings
    from ragcore.tuning.clip.batches import Inputs
    from ragcore.tuning.clip.recipe import ClipRecipe


def load_start(recipe: ClipRecipe, settings: Settings) -> LoadedClip:
    """The model to train, in float32 on the CPU, with its heads' dropout as the recipe says."""
    import math

    import torch
    from torch import nn

    torch.manual_seed(recipe.seed)
    if recipe.model != STARTER:
        loaded = load_clip(recipe.model, settings=settings)
    elif recipe.start.weights == "shipped":
        loaded = starter_clip.load_starter(settings)
    else:
        loaded = starter_clip.build_untrained(settings)
        starter_clip.closed_form(loaded)
    model: Any = loaded.model
    with torch.no_grad():
        model.logit_scale.fill_(math.log(recipe.logit_scale))
    if recipe.loss == "siglip" and getattr(model, "logit_bias", None) is None:
        # so that at the start a pair is held for a match about once a row
        bias = -math.log(max(1, recipe.batch_size - 1))
        model.logit_bias = nn.Parameter(torch.full_like(model.logit_scale, bias))
    head = getattr(model.visual, "head", None)
    for layer in head.modules() if isinstance(head, nn.Module) else ():
        if isinstance(layer, nn.Dropout):
            layer.p = recipe.head_dropout
    return loaded


def members(recipe: ClipRecipe) -> int:
    """How many heads are trained side by side, each with a loss of its own."""
    return starter_space.MEMBERS if recipe.model == STARTER else 1


def set_apart(loaded: LoadedClip, recipe: ClipRecipe, apart: bool) -> None:
    """Whether starter-clip's heads give their members' outputs alone, for training."""
    if recipe.model == STARTER:
        for head in starter_clip.heads(loaded.model):
            head.apart = apart


def finish_starter(loaded: LoadedClip, data: Inputs, count: int) -> None:
    """After training: the members onto fewer dimensions, and what is usual in an image.

    Both are taken from the first `count` pairs of the training data.
    """
    import torch

    from ragcore.encoders import starter_heads

    image_head, text_head = starter_clip.heads(loaded.model)
    loaded.model.eval()
    features, images, texts = [], [], []
    with torch.inference_mode():
        for start in range(0, count, 500):
            rows = range(start, min(start + 500, count))
            features.append(data.features(rows).cpu())
            images.append(data.images(rows, False).cpu())
            texts.append(data.texts(rows, [0] * len(rows)).cpu())
        image_head.cpu()
        text_head.cpu()
        starter_heads.turn_together(image_head, text_head, torch.cat(images), torch.cat(texts))
        starter_heads.center(image_head, torch.cat(features))


def save_model(
    folder: Path, loaded: LoadedClip, weights: Mapping[str, Tensor], recipe: ClipRecipe
) -> Path:
    """Write the trained model into `folder` and return it.

    starter-clip: model.safetensors in half precision with the tensors that differ from the
    packages (to be shipped). Others: a folder that open_clip reads as "local-dir:FOLDER".
    """
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    if recipe.model == STARTER:
        own = {k: v for k, v in weights.items() if k not in starter_clip.FROM_PACKAGES}
        if recipe.mode == "heads":
            own = {k: v for k, v in own.items() if not _in_a_tower(k)}
        halves = {k: v.half().contiguous() for k, v in own.items()}
        save_file(halves, folder / starter_clip.SHIPPED_WEIGHTS)
        return folder
    save_file(
        {k: v.contiguous() for k, v in weights.items()}, folder / "open_clip_model.safetensors"
    )
    config = json.loads(json.dumps(dict(loaded.config), default=str))
    if "logit_bias" in weights:
        config["init_logit_bias"] = float(weights["logit_bias"])
    preprocess = getattr(loaded.model.visual, "preprocess_cfg", {})
    (folder / CONFIG_FILE).write_text(
        json.dumps({"model_cfg": config, "preprocess_cfg": preprocess}, indent=1), "utf-8"
    )
    tokenizer: Any = getattr(loaded.tokenize, "tokenizer", None)
    if hasattr(tokenizer, "save_pretrained"):
        tokenizer.save_pretrained(folder)
    return folder


def _in_a_tower(name: str) -> bool:
    return name.startswith(("visual.trunk.", "text.transformer."))
