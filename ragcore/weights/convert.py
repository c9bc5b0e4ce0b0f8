"""Conversions of downloaded files into what the encoders and the LLM load, done once at pull.

Each one reads a folder of checked downloads and writes a new folder; nothing here runs when a
model is used.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ragcore.errors import ModelUnavailable
from ragcore.weights.providers.base import Reporter

if TYPE_CHECKING:
    from torch import Tensor

Conversion = Callable[[Path, Path, Reporter], None]


def conversion(name: str) -> Conversion:
    """The conversion called `name` in the registry. KeyError if there is none."""
    return _CONVERSIONS[name]


def efficientnet_to_timm(source: Path, target: Path, report: Reporter) -> None:
    """EfficientNet-Lite0's .pth to model.safetensors with timm's names (classifier included).

    Both list the same 247 tensors in the order of the network, so they pair off one to one;
    shapes are compared and the result is loaded strictly.
    """
    import timm
    import torch
    from safetensors.torch import save_file

    (checkpoint,) = source.glob("*.pth")
    report.bytes("convert", 0, checkpoint.stat().st_size)
    theirs: dict[str, Tensor] = torch.load(checkpoint, map_location="cpu", weights_only=True)
    model = timm.create_model("tf_efficientnet_lite0", pretrained=False)
    renamed = pair_in_order(theirs, model.state_dict())
    model.load_state_dict(renamed, strict=True)
    target.mkdir(parents=True)
    save_file(renamed, target / "model.safetensors", metadata={"format": "pt"})
    report.bytes("convert", checkpoint.stat().st_size, checkpoint.stat().st_size)


def pair_in_order(theirs: Mapping[str, Tensor], ours: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Values of `theirs` under the names of `ours`, paired by position, shapes equal.

    Raises ModelUnavailable if the counts or a pair's shapes differ.
    """
    if len(theirs) != len(ours):
        raise ModelUnavailable(f"expected {len(ours)} tensors, the file has {len(theirs)}")
    renamed = {}
    for (their_name, tensor), (name, like) in zip(theirs.items(), ours.items(), strict=True):
        if tensor.shape != like.shape:
            raise ModelUnavailable(
                f"tensor {their_name} has shape {tuple(tensor.shape)}, "
                f"{name} wants {tuple(like.shape)}"
            )
        renamed[name] = tensor.to(like.dtype).contiguous()
    return renamed


def gguf_to_transformers(source: Path, target: Path, report: Reporter) -> None:
    """A GGUF file to a transformers folder in bfloat16, with its tokenizer.

    The model that transformers makes of a GGUF refuses `save_pretrained`, so its weights are
    moved into a fresh model of the same configuration. bfloat16 is what these models were
    trained in; its rounding (2^-9) is far below that of a 4-bit file.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig
    from transformers.utils import logging

    logging.disable_progress_bar()
    (gguf,) = source.glob("*.gguf")
    total = gguf.stat().st_size
    report.bytes("convert", 0, total)
    tokenizer = AutoTokenizer.from_pretrained(
        source, gguf_file=gguf.name, local_files_only=True, trust_remote_code=False
    )
    report.bytes("convert", total // 4, total)
    read = AutoModelForCausalLM.from_pretrained(
        source,
        gguf_file=gguf.name,
        dtype=torch.float32,
        local_files_only=True,
        trust_remote_code=False,
    )
    report.bytes("convert", total * 3 // 4, total)
    config = read.config
    for leftover in ("quantization_config", "_name_or_path"):
        if hasattr(config, leftover):
            delattr(config, leftover)
    config.architectures = [type(read).__name__]
    config.dtype = torch.bfloat16
    fresh: Any = type(read)(config).to(torch.bfloat16)
    fresh.load_state_dict(read.state_dict(), strict=True)
    ids = {name: getattr(config, f"{name}_token_id") for name in ("bos", "eos", "pad")}
    fresh.generation_config = GenerationConfig(
        **{f"{name}_token_id": value for name, value in ids.items()}
    )
    target.mkdir(parents=True)
    fresh.save_pretrained(target)
    tokenizer.model_max_length = config.max_position_embeddings
    tokenizer.save_pretrained(target)
    report.bytes("convert", total, total)


_CONVERSIONS: Mapping[str, Conversion] = {
    "efficientnet-to-timm": efficientnet_to_timm,
    "gguf-to-transformers": gguf_to_transformers,
}
