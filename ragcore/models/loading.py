"""How transformers loads weights: in how many bits, and on which devices."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING, Any

from ragcore.errors import ModelUnavailable, UsageError

if TYPE_CHECKING:
    from ragcore.models.device import Placement

QUANTIZATIONS = {"8bit": 8, "4bit": 4}
_DEVICE_MAPS = ("", "auto", "balanced", "sequential")


def check_loading(name: str, quantization: str, device_map: str) -> None:
    """Raises UsageError for an unknown quantization or device map."""
    if quantization not in ("", *QUANTIZATIONS):
        raise UsageError(f"{name}: unknown quantization {quantization!r}: use 4bit or 8bit")
    if device_map not in _DEVICE_MAPS:
        raise UsageError(f"{name}: unknown device_map {device_map!r}: use auto")


def loading_options(
    name: str, placement: Placement, quantization: str = "", device_map: str = ""
) -> dict[str, Any]:
    """Arguments of `from_pretrained` besides the folder.

    Raises ModelUnavailable where a package is missing.
    """
    how: dict[str, Any] = {
        "dtype": placement.dtype,
        "local_files_only": True,
        "use_safetensors": True,
    }
    if quantization:
        if importlib.util.find_spec("bitsandbytes") is None:
            raise ModelUnavailable(
                f"{name}: quantization = {quantization!r} needs the package bitsandbytes: "
                "pip install bitsandbytes"
            )
        from transformers import BitsAndBytesConfig

        bits: dict[str, Any] = {f"load_in_{quantization}": True}
        if quantization == "4bit":
            bits |= {"bnb_4bit_compute_dtype": placement.dtype, "bnb_4bit_quant_type": "nf4"}
        how["quantization_config"] = BitsAndBytesConfig(**bits)
        device_map = device_map or placement.device
    if device_map:
        how["device_map"] = device_map
    return how


def weight_share(quantization: str, precision_bytes: int) -> float:
    """By what the bytes of weights in memory are multiplied when they are quantized."""
    bits = QUANTIZATIONS.get(quantization)
    return 1.0 if bits is None else bits / (8 * precision_bytes)
