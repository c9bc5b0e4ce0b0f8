"""The recipe of `ragcore tune projector`."""

from __future__ import annotations

import hashlib

from pydantic import BaseModel, ConfigDict, Field

from ragcore.llm import CAPTION_QUESTION
from ragcore.tuning.recipe import Recipe


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ProjectorData(_Part):
    """Captioned images: files, or collection:NAME for a collection's captioned images.

    Files as `ragcore.datasets.image_sets.read_captioned` takes them.
    """

    train: str = ""
    dev: str = Field(default="", description="empty: a part of train is held out")
    dev_fraction: float = Field(default=0.05, gt=0, lt=0.5)


class CaptionStage(_Part):
    """Stage 1: captions; only the projector learns."""

    steps: int = Field(default=100, ge=0)
    learning_rate: float = Field(default=1e-3, gt=0)


class QuestionStage(_Part):
    """Stage 2: captions and questions; the projector and a low-rank adapter learn."""

    steps: int = Field(default=1000, ge=0)
    learning_rate: float = Field(default=1e-3, gt=0, description="of the adapter")
    projector_rate: float = Field(default=5e-4, gt=0)
    rank: int = Field(default=8, ge=1)
    alpha: float = Field(default=16, gt=0)
    dropout: float = Field(default=0.0, ge=0, lt=1)
    targets: str | list[str] = Field(
        default="all-linear", description="Layers of the language model that are adapted."
    )
    questions: int = Field(default=2, ge=0, description="made from captions, each image's turn")


class ProjectorRecipe(Recipe):
    """A projector from an image tower's cells into a frozen language model's embeddings."""

    base: str = Field(default="smollm2-135m-instruct", description="registry name or model folder")
    output: str = "runs/projector"
    data: ProjectorData = ProjectorData()
    captions: CaptionStage = CaptionStage()
    questions: QuestionStage = QuestionStage()

    side: int = Field(default=4, ge=1, le=7, description="cells a side that are read of an image")
    hidden: int = Field(default=768, ge=8, description="of the projector; words it starts from")
    caption_question: str = Field(default=CAPTION_QUESTION, min_length=1)
    mirror: bool = Field(default=True, description="half of the turns see the mirror image")
    captions_per_turn: int = Field(default=5, ge=1)
    batch_size: int = Field(default=8, ge=1, description="images")
    max_minutes: float | None = Field(
        default=None, gt=0, description="Of training; the learning rate then ends with it."
    )
    warmup_steps: int = Field(default=20, ge=0)
    decay: float = Field(
        default=0.5, ge=0, le=1, description="Last part of the run, in which the rate falls to 0."
    )
    weight_decay: float = Field(default=0.01, ge=0)
    clip_norm: float = Field(default=1.0, gt=0)
    checkpoint_minutes: float = Field(default=4.0, gt=0)
    dev_every: int = Field(default=200, ge=1, description="Steps between dev scores.")
    dev_limit: int = Field(default=60, ge=1, description="Dev images scored each time.")
    log_every: int = Field(default=10, ge=1)
    seed: int = 0

    def features_key(self) -> str:
        """As `key`, over what cached features depend on."""
        parts = (self.data, self.seed, self.side)
        return hashlib.sha256(repr(parts).encode()).hexdigest()[:12]

    def model_post_init(self, context: object, /) -> None:
        if self.captions.steps + self.questions.steps == 0:
            raise ValueError("captions.steps and questions.steps are both 0: nothing to train")
