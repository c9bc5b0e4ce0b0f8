"""A trained projector as a model folder: projector and adapter in float16."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ragcore.files import replace_folder
from ragcore.llm.projector import save_projector

if TYPE_CHECKING:
    from ragcore.tuning.vision.train import _ProjectorRun


def export(run: _ProjectorRun, folder: Path) -> Path:
    """Rewrite the folder.

    Projector.json, projector.safetensors and, if an adapter was trained, adapter_config.json and
    adapter_model.safetensors in peft's own layout.
    """
    with replace_folder(folder) as work:
        save_projector(run.projector, work)
        if run.adapted:
            _save_adapter(run.model, work, run.recipe.base)
    return folder


def _save_adapter(model: Any, folder: Path, base: str) -> None:
    from safetensors.torch import load_file, save_file

    model.peft_config["default"].base_model_name_or_path = base
    model.save_pretrained(str(folder))
    file = str(folder / "adapter_model.safetensors")
    state = {name: value.half() for name, value in load_file(file).items()}
    save_file(state, file, metadata={"format": "pt"})
    (folder / "README.md").unlink(missing_ok=True)  # peft's empty form
