"""What a LoRA training run is made of: one TOML file, checked as a whole before anything runs."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import Field

from ragcore.tuning.recipe import Recipe


class LoraRecipe(Recipe):
    """Settings of one run. Relative paths are relative to the recipe's folder."""

    name: str = Field(min_length=1, pattern=r"^[A-Za-z0-9._-]+$", description="Adapter's name.")
    base: str = Field(description="Registry name, hub id or folder of the frozen causal LM.")
    train: Path = Field(description="JSONL[.gz] of question, passages, answer.")
    dev: Path | None = Field(default=None, description="JSONL[.gz] scored during training.")
    output: Path = Field(description="Run folder: checkpoints, log, curves, adapter.")
    start: Path | None = Field(
        default=None, description="Adapter folder of the same shape whose weights to begin with."
    )

    rank: int = Field(default=16, ge=1, le=512)
    alpha: float = Field(default=32.0, gt=0)
    dropout: float = Field(default=0.0, ge=0, lt=1)
    targets: list[str] | Literal["all-linear"] = "all-linear"
    first_layer: int = Field(
        default=0, ge=0, description="Layers below it stay as they are: quicker, less memory."
    )
    rslora: bool = False
    dora: bool = False

    steps: int = Field(default=1000, ge=1, description="Optimizer steps.")
    max_minutes: float | None = Field(
        default=None, gt=0, description="Wall-clock limit; the decay then ends with it."
    )
    packs_per_step: int = Field(default=1, ge=1, description="Prompts whose gradients are summed.")
    learning_rate: float = Field(default=1e-3, gt=0)
    warmup_steps: int = Field(default=20, ge=0)
    decay: float = Field(
        default=0.3, ge=0, le=1, description="Last part of the run over which the rate falls to 0."
    )
    weight_decay: float = Field(default=0.0, ge=0)
    clip_norm: float = Field(default=1.0, gt=0)
    seed: int = 0

    packing: Literal["shared-prefix", "none"] = "shared-prefix"
    max_tokens: int = Field(default=1536, ge=64, description="Longer packs lose branches.")
    batch_tokens: int = Field(
        default=16384, ge=0, description="Tokens that a GPU takes at once; a CPU: one prompt."
    )
    gradient_checkpointing: bool = False
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        default="auto",
        description="Of the base; auto: bfloat16 on a GPU, float32 on a CPU.",
    )
    four_bit: bool = Field(default=False, description="Load the base in 4 bits (CUDA only).")

    checkpoint_minutes: float = Field(default=4.0, gt=0)
    dev_every: int = Field(default=0, ge=0, description="Steps between dev scores; 0: at the end.")
    dev_limit: int = Field(default=100, ge=1, description="Dev questions scored each time.")

    def within(self, folder: Path) -> Self:
        """The same recipe with paths relative to `folder` made absolute."""
        return self.model_copy(
            update={
                name: (folder / value.expanduser()).resolve()
                for name in ("train", "dev", "output", "start")
                if (value := getattr(self, name)) is not None
            }
        )
