"""From what an image tower sees to what a language model reads (LLaVA; Liu et al. 2023).

Each cell of the tower's feature map becomes one input embedding of the language model: a
linear map beside a two-layer perceptron, plus a learned vector for the cell's place.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu

from ragcore.errors import ModelUnavailable

CONFIG = "projector.json"
WEIGHTS = "projector.safetensors"


@dataclass(frozen=True, slots=True)
class ProjectorConfig:
    """What a projector was made for. `base` and `tower` are names of the weights registry."""

    base: str
    tower: str
    side: int  # cells a side of the grid; one more cell is the whole image
    channels: int
    hidden: int
    width: int  # of the language model's input embeddings
    caption_question: str

    @property
    def cells(self) -> int:
        return self.side**2 + 1


class Projector(nn.Module):
    """Cells [n, cells, channels] to input embeddings [n, cells, width]."""

    mean: Tensor
    scale: Tensor

    def __init__(self, config: ProjectorConfig) -> None:
        super().__init__()
        self.config = config
        c = config
        self.register_buffer("mean", torch.zeros(c.channels))
        self.register_buffer("scale", torch.ones(c.channels))
        self.straight = nn.Linear(c.channels, c.width)
        self.inner = nn.Linear(c.channels, c.hidden)
        self.outer = nn.Linear(c.hidden, c.width, bias=False)
        self.place = nn.Parameter(torch.zeros(c.cells, c.width))

    def forward(self, cells: Tensor) -> Tensor:
        x = (cells - self.mean) / self.scale
        out: Tensor = self.straight(x) + self.outer(gelu(self.inner(x))) + self.place
        return out


def save_projector(projector: Projector, folder: Path) -> None:
    """Write the projector in float16 with its configuration into `folder`."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    state = {k: v.detach().cpu().half().contiguous() for k, v in projector.state_dict().items()}
    save_file(state, str(folder / WEIGHTS), metadata={"format": "pt"})
    text = json.dumps(asdict(projector.config), indent=2) + "\n"
    (folder / CONFIG).write_text(text, "utf-8")


def read_config(folder: Path) -> ProjectorConfig:
    """The configuration in `folder`. Raises ModelUnavailable if it is missing or wrong."""
    try:
        values: Mapping[str, Any] = json.loads((folder / CONFIG).read_text("utf-8"))
        config = ProjectorConfig(**values)
        typed = {"base": str, "tower": str, "caption_question": str}
        wrong = [
            f.name for f in fields(config)
            if not isinstance(getattr(config, f.name), typed.get(f.name, int))
        ]  # fmt: skip
        if wrong:
            raise ValueError(f"{wrong[0]} has the wrong type")
    except (OSError, ValueError, TypeError) as error:
        raise ModelUnavailable(f"{folder} holds no projector: {CONFIG}: {error}") from error
    return config


def load_projector(folder: Path) -> Projector:
    """The projector in `folder`, float32, evaluation mode. Raises ModelUnavailable."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    projector = Projector(read_config(folder))
    try:
        state = {k: v.float() for k, v in load_file(str(folder / WEIGHTS)).items()}
        projector.load_state_dict(state)
    except (OSError, RuntimeError, SafetensorError) as error:
        reason = str(error).strip().splitlines()[0][:200]
        raise ModelUnavailable(f"the projector in {folder} cannot be read: {reason}") from error
    return projector.eval()
