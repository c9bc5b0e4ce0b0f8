"""The recipe of `ragcore tune diffusion`."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from ragcore.renamed import with_current_names
from ragcore.tuning.recipe import Recipe

_DEPRECATED = {"picture_every": "image_every"}  # earlier names of keys


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class IconData(_Part):
    """A folder of STYLE.npz and STYLE.jsonl; which styles and groups, and what is held out."""

    folder: str = ""
    styles: tuple[str, ...] = ()
    leave_out: tuple[str, ...] = Field(default=(), description="groups that are not wanted")
    unseen_names: float = Field(default=0.05, ge=0, lt=0.5)
    unseen_pairs: float = Field(default=0.05, ge=0, lt=0.5)


class Stage(_Part):
    """How long and how one network is trained. A longer `steps` or `max_minutes` goes on.

    The rate falls by steps or by the clock, whichever is further.
    """

    steps: int = Field(default=1000, ge=0)
    max_minutes: float | None = Field(
        default=None, gt=0, description="wall-clock limit; the first step is not counted"
    )
    batch_size: int = Field(default=64, gt=0)
    learning_rate: float = Field(default=1e-3, gt=0)
    weight_decay: float = Field(default=0.01, ge=0)
    warmup: int = Field(default=100, ge=0, description="steps")
    cooldown: float = Field(default=0.2, ge=0, le=1, description="last part, with a falling rate")
    average: float = Field(default=0.999, ge=0, lt=1, description="decay of the moving average")
    log_every: int = Field(default=50, gt=0)
    save_every: int = Field(default=500, gt=0)
    image_every: int = Field(default=500, gt=0, description="steps between image strips")
    compile: bool = Field(default=False, description="by torch.compile, where there is a GPU")
    cpu: dict[str, Any] = Field(
        default={}, description="keys of this stage that are different where there is no GPU"
    )

    @model_validator(mode="before")
    @classmethod
    def _earlier_names(cls, values: Any) -> Any:
        current = with_current_names(values, _DEPRECATED, "the recipe's key")
        if isinstance(current, Mapping) and "cpu" in current:
            cpu = with_current_names(current["cpu"], _DEPRECATED, "the recipe's key")
            current = {**current, "cpu": cpu}
        return current

    @model_validator(mode="after")
    def _cpu_is_a_stage(self) -> Self:
        if self.cpu:
            self.on("cpu")
        return self

    def on(self, device: str, max_minutes: float | None = None) -> Self:
        """The stage as it is on a device, without its table `cpu`; a limit replaces its own."""
        changes = dict(self.cpu) if device == "cpu" else {}
        if max_minutes is not None:
            changes["max_minutes"] = max_minutes
        return type(self).model_validate({**self.model_dump(exclude={"cpu"}), **changes})


class AutoencoderStage(Stage):
    """The first stage: an autoencoder from pixels to latents."""

    stem: int = Field(default=4, gt=0, description="pixels a side that become channels")
    channels: tuple[int, ...] = Field(default=(64, 128), min_length=1)
    layers: int = Field(default=1, gt=0)
    latent_channels: int = Field(default=16, gt=0)
    kl_weight: float = Field(default=1e-5, ge=0)
    edge_weight: float = Field(default=0.5, ge=0, description="of differences of neighbours")


class DenoiserStage(Stage):
    """The second stage: the denoiser of latents, with its noise schedule."""

    channels: tuple[int, ...] = Field(default=(96, 160), min_length=1)
    layers: int = Field(default=1, gt=0)
    decoder_depth: int = Field(default=1, gt=0, description="transformer layers on the way up")
    text_dropout: float = Field(default=0.1, ge=0, le=1)
    prediction: Literal["v_prediction", "epsilon"] = "v_prediction"
    schedule: Literal["squaredcos_cap_v2", "scaled_linear", "linear"] = "squaredcos_cap_v2"
    min_snr: float = Field(default=5.0, ge=0, description="most that a noise level counts; 0: off")


class ClassifierStage(Stage):
    """The classifier of noisy latents that guidance uses."""

    channels: tuple[int, ...] = Field(default=(96, 160), min_length=1)
    smallest_class: int = Field(default=60, gt=0, description="images a class needs")
    dropout: float = Field(default=0.1, ge=0, lt=1)
    shift: int = Field(default=0, ge=0, description="latent positions that icons are moved by")
    mirror: bool = Field(default=False, description="learn from mirror images too")


class DiffusionRecipe(Recipe):
    """A latent diffusion model of icons: autoencoder, denoiser, noise-aware classifier."""

    name: str = "diffusion"
    output: str = "runs/diffusion"
    text_encoder: str = "minilm-l6-v2"
    data: IconData = IconData()
    autoencoder: AutoencoderStage = AutoencoderStage()
    denoiser: DenoiserStage = DenoiserStage()
    classifier: ClassifierStage = ClassifierStage()
    seed: int = 0

    @model_validator(mode="after")
    def _has_data(self) -> DiffusionRecipe:
        if not self.data.folder:
            raise ValueError("data.folder must name the folder of the icons")
        return self


# What may change in a run that goes on.
_FREE = {"steps", "max_minutes", "cooldown", "log_every", "save_every", "image_every", "compile"}


def stage_key(*parts: BaseModel | str | int) -> str:
    """Twelve hex digits over what a stage's weights depend on, its length left out."""
    shown = [
        p.model_dump_json(exclude=_FREE) if isinstance(p, BaseModel) else str(p) for p in parts
    ]
    return hashlib.sha256("\n".join(shown).encode()).hexdigest()[:12]


def fingerprint(folder: Path) -> str:
    """Sixteen hex digits over the weights in a network's folder."""
    (file,) = folder.glob("*.safetensors")
    return hashlib.sha256(file.read_bytes()).hexdigest()[:16]


class ControlNetStage(Stage):
    """A ControlNet for a trained denoiser."""

    text_dropout: float = Field(default=0.5, ge=0, le=1)
    min_snr: float = Field(default=5.0, ge=0, description="as the denoiser's")
    zero_convolutions: bool = Field(default=True, description="False: random ones, to compare")
    embedding_channels: tuple[int, ...] = Field(
        default=(16, 32, 64, 96), min_length=1, description="each further one halves the condition"
    )


class ControlNetRecipe(Recipe):
    """A ControlNet for one kind of condition over a frozen diffusion model."""

    kind: str
    model: str = Field(description="folder of the diffusion model, or a name of the registry")
    output: str = "runs/controlnet"
    install: bool = Field(False, description="put it into the model's folder, to be used there")
    data: IconData = IconData()
    training: ControlNetStage = ControlNetStage()
    seed: int = 0
