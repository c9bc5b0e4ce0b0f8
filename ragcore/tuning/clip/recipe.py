"""The recipe of `ragcore tune clip`."""

from __future__ import annotations

import hashlib
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from ragcore.tuning.recipe import Recipe


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ClipData(_Part):
    """Captioned images.

    Each path as `ragcore.datasets.image_sets.read_captioned` takes it, or collection:NAME for the
    captioned images of a collection.
    """

    train: str = ""
    dev: str = Field(default="", description="empty: a part of train is held out")
    dev_fraction: float = Field(default=0.05, gt=0, lt=0.5)


class Augmentation(_Part):
    """What is done to a training image, drawn again each time. Probabilities and fractions."""

    crop_scale: tuple[float, float] = (0.4, 1.0)
    flip: float = Field(default=0.5, ge=0, le=1)
    jitter: float = Field(
        default=0.3, ge=0, description="brightness, contrast, saturation: +- this"
    )
    gray: float = Field(default=0.05, ge=0, le=1)
    low_resolution: float = Field(
        default=0.0, ge=0, le=1, description="shrunk to 32-96 pixels and back"
    )


class Lora(_Part):
    """Low-rank adaptation of the towers' linear and 1 x 1 convolution layers."""

    rank: int = Field(default=16, gt=0)
    alpha: float = Field(default=32.0, gt=0)
    dropout: float = Field(default=0.05, ge=0, lt=1)


class Start(_Part):
    """Only for starter-clip: what the heads start from."""

    weights: Literal["closed-form", "shipped"] = "closed-form"


class ClipRecipe(Recipe):
    """Contrastive training of an open_clip model. Sizes are images, rates per step."""

    model: str = "starter-clip"
    output: str = "runs/clip"
    data: ClipData = ClipData()
    augment: Augmentation = Augmentation()
    lora: Lora = Lora()
    start: Start = Start()

    mode: Literal["heads", "lora", "full"] = "heads"
    loss: Literal["clip", "siglip"] = "clip"
    epochs: int = Field(default=20, gt=0)
    batch_size: int = Field(default=512, gt=1)
    micro_batch: int = Field(
        default=0, ge=0, description="0: the whole batch at once; else GradCache"
    )
    learning_rate: float = Field(default=1e-3, gt=0)
    weight_decay: float = Field(default=0.05, ge=0)
    warmup_steps: int = Field(default=20, ge=0)
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    logit_scale: float = Field(default=20.0, gt=0, description="inverse temperature at the start")
    head_dropout: float = Field(default=0.0, ge=0, lt=1)
    feature_dropout: float = Field(default=0.0, ge=0, lt=1)
    average: float = Field(
        default=0.0, ge=0, lt=1, description="decay of the averaged weights; 0: off"
    )
    cache_features: bool = Field(False, description="mode heads: run the frozen towers only once")
    cache_views: int = Field(default=4, gt=0, description="versions kept of each image")
    eval_every: int = Field(default=1, gt=0, description="epochs")
    patience: int = Field(default=0, ge=0, description="evaluations without gain to stop at")
    seed: int = 0
    workers: int = Field(default=2, ge=1)

    def features_key(self) -> str:
        """As `key`, over what cached features depend on."""
        parts = (self.model, self.data, self.augment, self.cache_views, self.seed)
        return hashlib.sha256(repr(parts).encode()).hexdigest()[:12]

    @model_validator(mode="after")
    def _fits_together(self) -> ClipRecipe:
        if self.cache_features and self.mode != "heads":
            raise ValueError("cache_features needs mode = 'heads': other modes change the features")
        if self.cache_features and self.micro_batch:
            raise ValueError("micro_batch is of no use with cache_features: leave it 0")
        if self.micro_batch > self.batch_size:
            raise ValueError("micro_batch cannot exceed batch_size")
        return self
