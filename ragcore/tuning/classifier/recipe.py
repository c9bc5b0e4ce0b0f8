"""The recipe of `ragcore tune classifier`."""

from __future__ import annotations

import hashlib
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from ragcore.encoders import PROFILE, Way, check_classifier_name
from ragcore.errors import UsageError
from ragcore.renamed import warn_renamed
from ragcore.tuning.recipe import Recipe


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ClassifierData(_Part):
    """Labelled images or texts: a folder, a .csv or .jsonl, or collection:NAME."""

    train: str = ""
    test: str = Field(default="", description="empty: a part of train is held out")
    kind: Literal["auto", "images", "texts"] = "auto"
    test_fraction: float = Field(default=0.25, gt=0, lt=0.9)
    dev_fraction: float = Field(
        default=0.15, ge=0, lt=0.9, description="held out to choose by, and for the temperature"
    )
    flipped: float = Field(
        default=0.0, ge=0, le=0.5, description="an experiment: measure this share of wrong labels"
    )

    @field_validator("kind", mode="before")
    @classmethod
    def _earlier_kind(cls, kind: Any) -> Any:
        if kind != "pictures":  # deprecated
            return kind
        warn_renamed("the recipe's kind", kind, "images")
        return "images"


class TowerTraining(_Part):
    """Training of the backbone itself (ways lora and full), from the linear layer of features."""

    epochs: int = Field(default=5, gt=0)
    max_steps: int = Field(default=120, gt=0)
    batch_size: int = Field(default=16, gt=1)
    learning_rate: float = Field(default=1e-4, gt=0, description="of way full")
    lora_learning_rate: float = Field(default=1e-3, gt=0)
    head_learning_rate: float = Field(default=1e-2, gt=0)
    weight_decay: float = Field(default=0.01, ge=0)
    warmup_steps: int = Field(default=5, ge=0)
    crop: float = Field(default=0.7, gt=0, le=1, description="least part of an image seen")
    flip: float = Field(default=0.5, ge=0, le=1)


class ClassifierLora(_Part):
    """The low-rank adapters of the way `lora`."""

    rank: int = Field(default=8, gt=0)
    alpha: float = Field(default=16.0, gt=0)
    dropout: float = Field(default=0.05, ge=0, lt=1)


class ClassifierRecipe(Recipe):
    """A classifier of one's own categories, in one to three ways on the same split."""

    name: str
    output: str = Field(default="", description="run folder; empty: inside the home folder")
    backbone: str = PROFILE
    ways: tuple[Way, ...] = ("features",)
    keep: Literal["best", "features", "lora", "full"] = "best"
    curve: tuple[int, ...] = Field(
        default=(1, 5, 20), description="labels a class to measure with, besides all"
    )
    curve_ways: tuple[Way, ...] = Field(default=("features",), description="of these ways")
    strengths: tuple[float, ...] = Field(
        default=(1.0, 10.0, 100.0, 1000.0),
        description="inverse L2 penalties of the linear layer to try",
    )
    refit: bool = Field(
        default=True, description="way features: at last train on the held-out examples too"
    )
    folds: int = Field(default=5, ge=2, description="of the search for suspicious labels")
    data: ClassifierData = ClassifierData()
    tower: TowerTraining = TowerTraining()
    lora: ClassifierLora = ClassifierLora()
    seed: int = 0

    @field_validator("name")
    @classmethod
    def _can_be_a_name(cls, name: str) -> str:
        try:
            return check_classifier_name(name)
        except UsageError as error:
            raise ValueError(str(error)) from None

    @field_validator("ways", "strengths")
    @classmethod
    def _some(cls, values: tuple[object, ...]) -> tuple[object, ...]:
        if not values:
            raise ValueError("give at least one")
        if len(set(values)) < len(values):
            raise ValueError("each is given once")
        return values

    @field_validator("strengths", "curve")
    @classmethod
    def _positive(cls, values: tuple[float, ...]) -> tuple[float, ...]:
        if any(value <= 0 for value in values):
            raise ValueError("each is a number above 0")
        return values

    def backbone_name(self) -> str:
        """The backbone; a folder's path as absolute."""
        if self.backbone.startswith("local:"):
            return f"local:{self.path(self.backbone.removeprefix('local:'))}"
        return self.backbone

    def run_key(self, data: str) -> str:
        """As `key`, over the examples too: `data` is a digest of them."""
        return hashlib.sha256(f"{self.key()} {data}".encode()).hexdigest()[:12]
