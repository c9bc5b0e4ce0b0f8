"""A LoRA adapter in peft's layout as a GGUF file, which is what llama.cpp loads.

Converted once for each adapter and kind of model; the result lies in a cache.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ragcore.errors import ModelUnavailable, StorageUnavailable, UsageError
from ragcore.files import atomic_write
from ragcore.llm.adapters import CONFIG, WEIGHTS
from ragcore.llm.gguf_export import interleaved

if TYPE_CHECKING:
    from ragcore.llm.gguf_file import GgufModel

# Architectures by GGUF's name, and whether llama.cpp wants the rows of query and key interleaved.
_ARCHITECTURES = {"llama": True, "qwen2": False, "qwen3": False}
_LAYOUT = 1  # of the files written here; another one makes them again


@dataclass(frozen=True, slots=True)
class _Factor:
    """A low-rank factor as the adapter's file names it."""

    name: str
    shape: tuple[int, ...]


def adapter_gguf(folder: Path, model: GgufModel, cache: Path, *, name: str) -> Path:
    """The adapter in `folder` as a GGUF file for `model`, in the folder `cache`.

    Raises UsageError for an adapter of another base model or of a kind that llama.cpp does not
    run, ModelUnavailable for one that cannot be read or stored.
    """
    try:
        config = json.loads((folder / CONFIG).read_text("utf-8"))
        digest = hashlib.sha256((folder / WEIGHTS).read_bytes())
    except (OSError, ValueError) as error:
        raise ModelUnavailable(f"adapter {name} cannot be read: {error}") from error
    shape = [_LAYOUT, model.architecture, model.heads, model.kv_heads, model.layers]
    digest.update(json.dumps([config, shape], sort_keys=True).encode())
    target = cache / f"{digest.hexdigest()[:24]}.gguf"
    factors = _factors(folder / WEIGHTS, model, name)
    _check_fit(factors, config, model, name)
    if not target.is_file():
        _write(target, folder / WEIGHTS, factors, config, model, name)
    return target


def _factors(file: Path, model: GgufModel, name: str) -> dict[str, tuple[_Factor, _Factor]]:
    """llama.cpp's name of each adapted weight with its low-rank factors A [r, in], B [out, r].

    From the file's header: no tensor is read, and torch is not loaded.
    """
    import gguf
    from safetensors import SafetensorError, safe_open

    if model.architecture not in _ARCHITECTURES:
        known = ", ".join(_ARCHITECTURES)
        raise UsageError(
            f"adapters run on GGUF models of the architectures {known}, and {model.path.name} is "
            f"of {model.architecture}: use the model in kind transformers"
        )
    kind = next(k for k, n in gguf.MODEL_ARCH_NAMES.items() if n == model.architecture)
    names = gguf.get_tensor_name_map(kind, model.layers)
    try:
        with safe_open(str(file), "numpy") as opened:
            shapes = {key: tuple(opened.get_slice(key).get_shape()) for key in opened.keys()}  # noqa: SIM118  # no mapping
    except (OSError, SafetensorError) as error:
        raise ModelUnavailable(f"adapter {name} cannot be read: {error}") from error
    found: dict[str, dict[str, _Factor]] = {}
    for key, shape in shapes.items():
        module, _, rest = key.removeprefix("base_model.model.").partition(".lora_")
        if rest not in ("A.weight", "B.weight"):
            raise UsageError(f"adapter {name} has {key}, which llama.cpp does not run")
        new = names.get_name(module)
        if new is None:
            raise _other_base(name, model, f"it adapts {module}")
        found.setdefault(f"{new}.weight", {})[rest[0]] = _Factor(key, shape)
    if any(set(pair) != {"A", "B"} for pair in found.values()):
        raise ModelUnavailable(f"adapter {name} is damaged: a low-rank factor is missing")
    return {key: (pair["A"], pair["B"]) for key, pair in found.items()}


def _check_fit(
    factors: Mapping[str, tuple[_Factor, _Factor]],
    config: Mapping[str, Any],
    model: GgufModel,
    name: str,
) -> None:
    plain = not any(config.get(key) for key in ("use_dora", "rank_pattern", "alpha_pattern"))
    if not plain or config.get("bias", "none") != "none" or config.get("modules_to_save"):
        raise UsageError(
            f"adapter {name} has DoRA, biases, whole modules or a rank pattern: llama.cpp runs "
            "plain LoRA; merge it instead (ragcore adapters export)"
        )
    for key, (a, b) in factors.items():
        if key not in model.shapes:
            raise _other_base(name, model, f"the model has no {key}")
        if (b.shape[0], a.shape[1]) != model.shapes[key]:
            adapted = f"{b.shape[0]} x {a.shape[1]}"
            has = " x ".join(map(str, model.shapes[key]))
            raise _other_base(name, model, f"{key} is {has} in the model, {adapted} in the adapter")


def _other_base(name: str, model: GgufModel, why: str) -> UsageError:
    return UsageError(f"adapter {name} is for another base model than {model.path.name}: {why}")


def _write(
    target: Path,
    weights: Path,
    factors: Mapping[str, tuple[_Factor, _Factor]],
    config: Mapping[str, Any],
    model: GgufModel,
    name: str,
) -> None:
    import gguf
    from safetensors.torch import load_file

    alpha, rank = float(config["lora_alpha"]), int(config["r"])
    if config.get("use_rslora"):
        alpha *= math.sqrt(rank)  # llama.cpp divides by the rank, rsLoRA by its root
    try:
        state = load_file(str(weights))
        with atomic_write(target) as partial:
            writer = gguf.GGUFWriter(partial, model.architecture)
            writer.add_type("adapter")
            writer.add_string("adapter.type", "lora")
            writer.add_float32("adapter.lora.alpha", alpha)
            for key, (a, b) in factors.items():
                up = state[b.name]
                if _ARCHITECTURES[model.architecture]:
                    heads = {"attn_q": model.heads, "attn_k": model.kv_heads}.get(
                        key.split(".")[-2]
                    )
                    if heads and up.shape[0] % (2 * heads) == 0:
                        up = interleaved(up, heads)
                for part, value in (("lora_a", state[a.name]), ("lora_b", up)):
                    writer.add_tensor(f"{key}.{part}", value.float().contiguous().numpy())
            writer.write_header_to_file()
            writer.write_kv_data_to_file()
            writer.write_tensors_to_file()
            writer.close()
    except (OSError, StorageUnavailable) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ModelUnavailable(
            f"adapter {name} cannot be converted in {target.parent} ({reason}): set "
            "RAGCORE_WEIGHTS_CACHE to a folder of yours"
        ) from error
