"""The recipe of `ragcore tune reader`."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from ragcore.tuning.recipe import Recipe


class ReaderData(BaseModel):
    """Questions as JSONL[.gz] of question, context, title and answers (none: unanswerable)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    train: str = ""
    exclude: str = Field(default="", description="The same; its contexts are left out of train.")
    calibration_contexts: int = Field(
        default=0, ge=0, description="Contexts left out for calibration, as in a LoRA recipe."
    )
    held_out_articles: float = Field(
        default=0.06, gt=0, lt=0.5, description="Share of the titles that scores are taken on."
    )
    overlap: float = Field(
        default=0.6, gt=0, le=1, description="Least token F1 of a span and an answer in free text."
    )
    missing: float = Field(
        default=0.06, ge=0, le=1, description="Share of the questions asked without their passage."
    )
    candidates: int = Field(
        default=4, ge=1, description="Nearest wrong windows that a distractor is drawn from."
    )
    distractors: int = Field(default=1, ge=0, description="Wrong windows beside the right one.")


class ExtractiveRecipe(Recipe):
    """An extractive reader: a BERT, best a cross-encoder, that learns to point to answers."""

    base: str = Field(
        default="ms-marco-minilm-l12", description="registry name or folder of a BERT"
    )
    output: str = "runs/extractive-reader"
    data: ReaderData = ReaderData()

    frozen_layers: int = Field(default=4, ge=0, description="Lower layers that stay as they are.")
    window: int = Field(default=160, ge=64, le=512, description="Tokens that are read at once.")

    epochs: float = Field(default=1.5, gt=0)
    max_minutes: float | None = Field(
        default=None, gt=0, description="Of training; the learning rate then ends with it."
    )
    batch_size: int = Field(default=16, ge=1, description="Questions of a step.")
    learning_rate: float = Field(default=1e-4, gt=0)
    head_learning_rate: float = Field(default=1e-3, gt=0, description="Of the outputs.")
    warmup_steps: int = Field(default=40, ge=0)
    weight_decay: float = Field(default=0.01, ge=0)
    clip_norm: float = Field(default=1.0, gt=0)
    average: float = Field(
        default=0.99, ge=0, lt=1, description="Decay of the weights' moving average: the model."
    )
    passage_weight: float = Field(default=1.0, ge=0, description="Of the passage logits' loss.")
    checkpoint_minutes: float = Field(default=4.0, gt=0)
    log_every: int = Field(default=10, ge=1)
    score_minutes: float = Field(default=20.0, gt=0, description="Between scores.")
    score_limit: int = Field(default=200, ge=1, description="Held-out questions scored.")
    seed: int = 0
