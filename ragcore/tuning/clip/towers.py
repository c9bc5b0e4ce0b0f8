"""Which weights of a model are trained, and where its towers end and its heads begin."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ragcore.errors import UsageError

if TYPE_CHECKING:
    from torch import Tensor, nn

    from ragcore.tuning.clip.recipe import ClipRecipe, Lora

HEAD_WORDS = ("proj", "head", "ln_final", "ln_post", "attn_pool")
TOWERS = ("visual.trunk.", "text.transformer.")


def set_trainable(model: Any, recipe: ClipRecipe) -> list[tuple[str, nn.Parameter]]:
    """Freeze what the mode does not train; return the rest by name. LoRA layers are added.

    Raises UsageError if nothing is left to train.
    """
    if recipe.mode == "full":
        chosen = list(model.named_parameters())
    elif recipe.mode == "lora":
        add_lora(model, recipe.lora)
        chosen = [(n, p) for n, p in model.named_parameters() if "lora_" in n or is_head(n)]
    else:
        chosen = [(n, p) for n, p in model.named_parameters() if is_head(n)]
    names = {name for name, _ in chosen}
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name in names)
    if not any(not name.startswith("logit_") for name in names):
        raise UsageError(f"this model has no heads to train in mode {recipe.mode!r}: use full")
    return chosen


def is_head(name: str) -> bool:
    """Whether a parameter joins the towers to the common space (projections, temperature)."""
    if name.startswith("logit_"):
        return True
    if name.startswith(TOWERS):
        return False
    parts = name.split(".")
    inner = any(part in ("resblocks", "layers", "blocks", "stages") for part in parts)
    return not inner and any(word in part for part in parts for word in HEAD_WORDS)


def add_lora(model: Any, lora: Lora) -> None:
    """Put low-rank adapters beside the towers' linear and 1 x 1 convolution layers, in place."""
    from peft import LoraConfig, inject_adapter_in_model

    targets = [name for name, layer in model.named_modules() if _adaptable(name, layer)]
    if not targets:
        raise UsageError("this model has no layers that LoRA can adapt: use heads or full")
    config = LoraConfig(
        r=lora.rank, lora_alpha=lora.alpha, lora_dropout=lora.dropout, target_modules=targets
    )
    inject_adapter_in_model(config, model)


def merge_lora(model: Any) -> None:
    """Add the adapters into the layers that they adapt, in place, and take them away."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    adapted = [(n, m) for n, m in model.named_modules() if isinstance(m, BaseTunerLayer)]
    for name, layer in adapted:
        layer.merge()
        parent, _, last = name.rpartition(".")
        setattr(model.get_submodule(parent), last, layer.get_base_layer())


def _adaptable(name: str, layer: Any) -> bool:
    from torch import nn

    if is_head(f"{name}.weight") or "attn.out_proj" in name:
        return False  # nn.MultiheadAttention reads out_proj's weight directly, past an adapter
    if isinstance(layer, nn.Conv2d):
        return layer.kernel_size == (1, 1) and layer.groups == 1
    return isinstance(layer, nn.Linear)


def freeze_statistics(model: Any) -> None:
    """Training mode, but batch normalization keeps its statistics: batches are small."""
    from torch import nn

    model.train()
    for layer in model.modules():
        if isinstance(layer, nn.modules.batchnorm._BatchNorm):
            layer.eval()


@dataclass(frozen=True, slots=True)
class SplitTowers:
    """A model cut between towers and heads.

    `image_body`: [n, 3, h, w] -> [n, f]; `image_head`: [n, f] -> [n, d]; `text_body`: ids
    [n, t] -> [n, w]; `text_head`: [n, w] -> [n, d].
    """

    image_body: nn.Module
    image_head: nn.Module
    text_body: Callable[[Tensor], Tensor]
    text_head: nn.Module


def split_towers(model: Any) -> SplitTowers:
    """Cut a model of a timm image tower and a transformers text tower.

    Raises UsageError for other architectures: their features cannot be cached.
    """
    visual, text = model.visual, getattr(model, "text", None)
    if not (hasattr(visual, "trunk") and hasattr(visual, "head") and hasattr(text, "pooler")):
        raise UsageError("cache_features needs a timm image tower and a transformers text tower")
    assert text is not None
    pad = text.config.pad_token_id

    def text_body(ids: Tensor) -> Tensor:
        mask = (ids != pad).long()
        out: Tensor = text.pooler(text.transformer(input_ids=ids, attention_mask=mask), mask)
        return out

    return SplitTowers(visual.trunk, visual.head, text_body, text.proj)


def decay_groups(
    chosen: list[tuple[str, nn.Parameter]], weight_decay: float
) -> Iterator[dict[str, Any]]:
    """Optimizer groups: biases, norms and the temperature are not decayed."""
    matrices = [p for _, p in chosen if p.ndim > 1]
    others = [p for _, p in chosen if p.ndim <= 1]
    yield {"params": matrices, "weight_decay": weight_decay}
    yield {"params": others, "weight_decay": 0.0}
