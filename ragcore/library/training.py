"""Training from recipes: TOML files, or the recipe's own class."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ragcore.catalog import Permit
from ragcore.library.core import Core
from ragcore.library.scopes import scoped
from ragcore.types import CancelToken, ProgressCallback

if TYPE_CHECKING:
    from ragcore.answers import ConfidenceCalibration
    from ragcore.tuning import (
        ClassifierRecipe,
        ClassifierReport,
        ClipReport,
        ControlNetReport,
        DiffusionReport,
        LoraReport,
        ProjectorReport,
        ReaderReport,
        StageName,
    )


@scoped
class Training:
    """Each method trains as a recipe says and writes into its `output`.

    With `resume` a run that was stopped continues from its last checkpoint.

    A recipe reads folders of the server, so all of this is an administrator's;
    `Jobs.start_training` trains a classifier on what is labeled in a collection. Raises
    UsageError for a wrong recipe, Cancelled.
    """

    def __init__(self, core: Core, permit: Permit | None = None) -> None:
        self._core, self._permit = core, permit

    def clip(
        self,
        recipe: str | Path,
        *,
        progress: ProgressCallback | None = None,
        cancel: CancelToken | None = None,
        resume: bool = True,
    ) -> ClipReport:
        """Tune an image-text model on images with captions."""
        from ragcore.tuning import tune_clip

        return tune_clip(
            recipe,
            settings=self._core.settings,
            progress=progress,
            cancel=cancel,
            resume=resume,
        )

    def lora(
        self,
        recipe: Path,
        *,
        progress: ProgressCallback | None = None,
        cancel: CancelToken | None = None,
        resume: bool = True,
    ) -> LoraReport:
        """Train a low-rank adapter of a language model."""
        from ragcore.tuning import tune_lora

        return tune_lora(
            recipe,
            settings=self._core.settings,
            progress=progress,
            cancel=cancel,
            resume=resume,
        )

    def calibration(
        self,
        questions: Path,
        *,
        adapter: str | None = None,
        limit: int | None = None,
        progress: ProgressCallback | None = None,
        cancel: CancelToken | None = None,
    ) -> tuple[Path, ConfidenceCalibration, dict[str, dict[str, float]]]:
        """Fit how sure the LLM's answers are: `ragcore.tuning.lora.calibration`."""
        from ragcore.tuning import calibrate_model

        return calibrate_model(
            questions,
            settings=self._core.settings,
            models=self._core.models,
            adapter=adapter,
            limit=limit,
            progress=progress,
            cancel=cancel,
        )

    def diffusion(
        self,
        recipe: str | Path,
        *,
        stages: Sequence[StageName] = (),
        max_minutes: float | None = None,
        progress: ProgressCallback | None = None,
        cancel: CancelToken | None = None,
        resume: bool = True,
    ) -> DiffusionReport:
        """Train a latent diffusion model of small images from scratch.

        All `stages` if none are named, each for `max_minutes` at most.
        """
        from ragcore.tuning import STAGES, tune_diffusion

        return tune_diffusion(
            recipe,
            settings=self._core.settings,
            stages=stages or STAGES,
            max_minutes=max_minutes,
            progress=progress,
            cancel=cancel,
            resume=resume,
        )

    def controlnet(
        self,
        recipe: str | Path,
        *,
        max_minutes: float | None = None,
        progress: ProgressCallback | None = None,
        cancel: CancelToken | None = None,
        resume: bool = True,
    ) -> ControlNetReport:
        """Train a ControlNet over a frozen diffusion model."""
        from ragcore.tuning import tune_controlnet

        return tune_controlnet(
            recipe,
            settings=self._core.settings,
            max_minutes=max_minutes,
            progress=progress,
            cancel=cancel,
            resume=resume,
        )

    def classifier(
        self,
        recipe: str | Path | ClassifierRecipe,
        *,
        ways: Sequence[str] = (),
        progress: ProgressCallback | None = None,
        cancel: CancelToken | None = None,
        resume: bool = True,
    ) -> ClassifierReport:
        """Train a classifier; `ways` replace the recipe's.

        See `ragcore.tuning.classifier.train.tune_classifier`.
        """
        from ragcore.tuning import ClassifierRecipe, read_recipe, tune_classifier

        if ways and not isinstance(recipe, ClassifierRecipe):
            read = read_recipe(Path(recipe), ClassifierRecipe)
            chosen = tuple(dict.fromkeys(ways))
            curve_ways = tuple(way for way in read.curve_ways if way in chosen)
            changed = read.model_copy(update={"ways": chosen, "curve_ways": curve_ways})
            recipe = changed.within(Path(recipe).absolute().parent)
        return tune_classifier(
            recipe,
            settings=self._core.settings,
            models=self._core.models,
            progress=progress,
            cancel=cancel,
            resume=resume,
        )

    def projector(
        self,
        recipe: str | Path,
        *,
        progress: ProgressCallback | None = None,
        cancel: CancelToken | None = None,
        resume: bool = True,
    ) -> ProjectorReport:
        """Train a language model to answer about images."""
        from ragcore.tuning import tune_projector

        return tune_projector(
            recipe,
            settings=self._core.settings,
            progress=progress,
            cancel=cancel,
            resume=resume,
        )

    def reader(
        self,
        recipe: str | Path,
        *,
        progress: ProgressCallback | None = None,
        cancel: CancelToken | None = None,
        resume: bool = True,
    ) -> ReaderReport:
        """Train an extractive reader: answer spans, and questions without an answer."""
        from ragcore.tuning import tune_reader

        return tune_reader(
            recipe,
            settings=self._core.settings,
            progress=progress,
            cancel=cancel,
            resume=resume,
        )
