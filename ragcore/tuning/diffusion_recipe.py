"""The recipe of `ragcore tune diffusion`."""

from __future__ import annotations

import hashlib
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from ragcore.tuning.recipe import Recipe


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
    """How long and how one network is trained. A change of `steps` goes on with the same run."""

    steps: int = Field(default=1000, ge=0)
    batch_size: int = Field(default=64, gt=0)
    learning_rate: float = Field(default=1e-3, gt=0)
    weight_decay: float = Field(default=0.01, ge=0)
    warmup: int = Field(default=100, ge=0, description="steps")
    cooldown: float = Field(default=0.2, ge=0, le=1, description="last part, with a falling rate")
    average: float = Field(default=0.999, ge=0, lt=1, description="decay of the moving average")
    log_every: int = Field(default=50, gt=0)
    save_every: int = Field(default=500, gt=0)
    picture_every: int = Field(default=500, gt=0, description="steps between picture strips")


class AutoencoderStage(Stage):
    stem: int = Field(default=4, gt=0, description="pixels a side that become channels")
    channels: tuple[int, ...] = Field(default=(64, 128), min_length=1)
    layers: int = Field(default=1, gt=0)
    latent_channels: int = Field(default=16, gt=0)
    kl_weight: float = Field(default=1e-5, ge=0)
    edge_weight: float = Field(default=0.5, ge=0, description="of differences of neighbours")


class DenoiserStage(Stage):
    channels: tuple[int, ...] = Field(default=(96, 160), min_length=1)
    layers: int = Field(default=1, gt=0)
    text_dropout: float = Field(default=0.1, ge=0, le=1)
    prediction: Literal["v_prediction", "epsilon"] = "v_prediction"
    schedule: Literal["squaredcos_cap_v2", "scaled_linear", "linear"] = "squaredcos_cap_v2"
    min_snr: float = Field(default=5.0, ge=0, description="gamma of min-SNR weighting; 0: off")


class ClassifierStage(Stage):
    channels: tuple[int, ...] = Field(default=(96, 160), min_length=1)
    smallest_class: int = Field(default=60, gt=0, description="pictures a class needs")


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
_FREE = {"steps", "cooldown", "log_every", "save_every", "picture_every"}


def stage_key(*parts: BaseModel | str | int) -> str:
    """Twelve hex digits over what a stage's weights depend on, its length left out."""
    shown = [
        p.model_dump_json(exclude=_FREE) if isinstance(p, BaseModel) else str(p) for p in parts
    ]
    return hashlib.sha256("\n".join(shown).encode()).hexdigest()[:12]


class ControlNetStage(Stage):
    text_dropout: float = Field(default=0.5, ge=0, le=1)
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
