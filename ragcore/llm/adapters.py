"""LoRA adapters as things: folders in peft's layout that can be listed, mixed and exported."""

from __future__ import annotations

import json
import math
import re
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ragcore.errors import ModelUnavailable, RagcoreError, UsageError
from ragcore.files import replace_folder

if TYPE_CHECKING:
    from ragcore.llm.gguf_export import Precision
    from ragcore.settings import Settings

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True, slots=True)
class AdapterInfo:
    """What is known of an adapter without loading it. `bytes` is its size on disk."""

    name: str
    folder: Path
    base: str
    rank: int
    alpha: float
    targets: tuple[str, ...]
    bytes: int
    shipped: bool


class AdapterStore:
    """The adapters of a home folder, and those that come with ragcore."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.folder = settings.home / "adapters"

    def list(self) -> list[AdapterInfo]:
        """All adapters that are here, by name."""
        found = {
            child.name: _inspect(child, shipped=False)
            for child in (sorted(self.folder.iterdir()) if self.folder.is_dir() else ())
            if (child / CONFIG).is_file()
        }
        for name, folder in self._shipped().items():
            found.setdefault(name, _inspect(folder, shipped=True))
        return [found[name] for name in sorted(found)]

    def find(self, name: str) -> Path:
        """The folder of an adapter: of the home, shipped, or a path. Raises UsageError."""
        path = Path(name).expanduser()
        for folder in (self.folder / name if _NAME.fullmatch(name) else path, path):
            if (folder / CONFIG).is_file():
                return folder
        if (shipped := self._shipped().get(name)) is not None:
            return shipped
        known = ", ".join(info.name for info in self.list()) or "none yet"
        raise UsageError(f"no adapter {name!r}; there are: {known}")

    def inspect(self, name: str) -> AdapterInfo:
        folder = self.find(name)
        return _inspect(folder, shipped=folder.parent != self.folder)

    def add(self, folder: Path, name: str | None = None, *, replace: bool = False) -> AdapterInfo:
        """Copy an adapter folder (peft's layout, safetensors only) into the home."""
        if not (folder / CONFIG).is_file() or not (folder / WEIGHTS).is_file():
            raise UsageError(f"{folder} is no adapter: it needs {CONFIG} and {WEIGHTS}")
        target = self._target(name or folder.name, replace=replace)
        with replace_folder(target) as work:
            for file in (CONFIG, WEIGHTS, "README.md"):
                if (folder / file).is_file():
                    shutil.copyfile(folder / file, work / file)
        return _inspect(target, shipped=False)

    def remove(self, name: str) -> None:
        """Delete an adapter of the home. Shipped ones stay. Raises UsageError."""
        folder = self.folder / name
        if not _NAME.fullmatch(name) or not (folder / CONFIG).is_file():
            where = "comes with ragcore and stays" if name in self._shipped() else "is not here"
            raise UsageError(f"adapter {name!r} {where}")
        shutil.rmtree(folder)

    def combine(
        self, weights: Mapping[str, float], name: str, *, replace: bool = False
    ) -> AdapterInfo:
        """A new adapter that adds the given ones, each times its weight, exactly.

        The low-rank factors are set side by side, so ranks add up: with B = [w1 s1 B1, w2 s2 B2]
        and A = [A1; A2], B A is the weighted sum of the updates. Raises UsageError if the
        adapters' bases differ.
        """
        if not weights:
            raise UsageError("give at least one adapter to combine")
        target = self._target(name, replace=replace)
        folders = [self.find(n) for n in weights]
        configs = [_config(f) for f in folders]
        if len({c.get("base_model_name_or_path") for c in configs}) > 1:
            raise UsageError("adapters of different base models cannot be combined")
        if any(c.get("use_dora") or c.get("rank_pattern") for c in configs):
            raise UsageError("adapters with DoRA or a rank pattern cannot be combined")
        state = _stacked(folders, configs, list(weights.values()))
        rank = sum(int(c["r"]) for c in configs)
        modules = sorted({m for c in configs for m in _modules(c)})
        config = {**configs[0], "r": rank, "lora_alpha": rank, "use_rslora": False,
                  "target_modules": modules}  # fmt: skip
        from safetensors.torch import save_file

        with replace_folder(target) as work:
            save_file(state, str(work / WEIGHTS), metadata={"format": "pt"})
            (work / CONFIG).write_text(json.dumps(config, indent=2) + "\n")
        return _inspect(target, shipped=False)

    def merge(self, name: str, target: Path, *, base: str | None = None) -> Path:
        """Write base plus adapter as an ordinary model folder (safetensors, tokenizer)."""
        from transformers import AutoModelForCausalLM, AutoTokenizer

        from ragcore.weights import WeightStore

        if target.exists() and any(target.iterdir()):
            raise UsageError(f"{target} is not empty")
        info = self.inspect(name)
        source = WeightStore(self._settings).folder_of(base or info.base)
        loaded = AutoModelForCausalLM.from_pretrained(
            source, dtype="auto", local_files_only=True, trust_remote_code=False
        )
        tokenizer = AutoTokenizer.from_pretrained(
            source, local_files_only=True, trust_remote_code=False
        )
        model = attach(loaded, info.folder, name)
        with replace_folder(target) as work:
            model.merge_and_unload(safe_merge=True).save_pretrained(str(work))
            tokenizer.save_pretrained(str(work))
        return target

    def export_gguf(
        self, name: str, target: Path, *, base: str | None = None, precision: Precision = "f16"
    ) -> Path:
        """Write base plus adapter as one GGUF file, for llama.cpp. As `merge` otherwise."""
        from ragcore.llm.gguf_export import export_gguf

        if target.exists():
            raise UsageError(f"{target} exists")
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent) as work:
            merged = self.merge(name, Path(work) / "merged", base=base)
            return export_gguf(merged, target, precision=precision)

    def _target(self, name: str, *, replace: bool) -> Path:
        if not _NAME.fullmatch(name) or name in ("none", "default"):
            raise UsageError(f"{name!r} is no adapter name: use letters, digits, '.', '_', '-'")
        target = self.folder / name
        if target.exists() and not replace:
            raise UsageError(f"adapter {name!r} exists; give another name or replace it")
        return target

    def _shipped(self) -> dict[str, Path]:
        from ragcore.weights import WeightStore, registered

        store = WeightStore(self._settings)
        folders = {
            name: store.find(name)
            for name, entry in registered().items()
            if entry.task == "llm-adapter"
        }
        return {name: folder for name, folder in folders.items() if folder is not None}


def attach(model: Any, folder: Path, name: str) -> Any:
    """Load an adapter folder onto a model; returns the (wrapped) model, the adapter active.

    Raises ModelUnavailable when the adapter is broken or made for another model.
    """
    from peft import PeftModel

    inner = name.replace(".", "_")  # module names may not hold a dot
    try:
        if isinstance(model, PeftModel):
            if inner not in model.peft_config:
                model.load_adapter(str(folder), inner, is_trainable=False)
            model.base_model.set_adapter(inner, inference_mode=True)
        else:
            model = PeftModel.from_pretrained(
                model, str(folder), inner, is_trainable=False, local_files_only=True
            )
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        reason = str(error).strip().splitlines()[0][:200]
        raise ModelUnavailable(f"adapter {name} does not fit the model: {reason}") from error
    return model.eval()


def _config(folder: Path) -> dict[str, Any]:
    try:
        config: dict[str, Any] = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RagcoreError(f"{folder / CONFIG} cannot be read: {error}") from error
    return config


def _modules(config: Mapping[str, Any]) -> Sequence[str]:
    modules = config.get("target_modules") or ()
    return [modules] if isinstance(modules, str) else list(modules)


def _inspect(folder: Path, *, shipped: bool) -> AdapterInfo:
    config = _config(folder)
    return AdapterInfo(
        name=folder.name,
        folder=folder,
        base=str(config.get("base_model_name_or_path", "")),
        rank=int(config.get("r", 0)),
        alpha=float(config.get("lora_alpha", 0)),
        targets=tuple(sorted(_modules(config))),
        bytes=sum(f.stat().st_size for f in folder.iterdir() if f.is_file()),
        shipped=shipped,
    )


def _stacked(
    folders: Sequence[Path], configs: Sequence[Mapping[str, Any]], weights: Sequence[float]
) -> dict[str, Any]:
    import torch
    from safetensors.torch import load_file

    parts: dict[str, list[Any]] = {}
    shapes: dict[str, tuple[int, ...]] = {}
    for folder, config, weight in zip(folders, configs, weights, strict=True):
        rank = int(config["r"])
        root = math.sqrt(rank) if config.get("use_rslora") else rank
        scale = weight * float(config["lora_alpha"]) / root
        for key, value in load_file(str(folder / WEIGHTS)).items():
            factor = value.float() * scale if "lora_B" in key else value.float()
            parts.setdefault(key, []).append(factor)
            shapes[key] = tuple(value.shape)
    count = len(folders)
    if any(len(values) != count for values in parts.values()):
        raise UsageError("adapters with different target modules cannot be combined")
    return {
        key: torch.cat(values, 1 if "lora_B" in key else 0).half().contiguous()
        for key, values in parts.items()
    }
