"""`ragcore tune diffusion`: an autoencoder, a denoiser and a noise-aware classifier of icons."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from ragcore.datasets import IconSet, Part, read_icons, split_icons, style_words
from ragcore.errors import ModelUnavailable, UsageError
from ragcore.extras import require_extra
from ragcore.tuning.diffusion.autoencoder import autoencoder_task
from ragcore.tuning.diffusion.classifier import classifier_task
from ragcore.tuning.diffusion.denoiser import denoiser_task
from ragcore.tuning.diffusion.hardware import hardware
from ragcore.tuning.diffusion.noise import Latents, Texts, encode_all, latents_of
from ragcore.tuning.diffusion.recipe import DiffusionRecipe, Stage, fingerprint, stage_key
from ragcore.tuning.diffusion.stage import StageReport, StageRun, StageTask
from ragcore.tuning.recipe import read_recipe
from ragcore.tuning.run_folder import RunFolder
from ragcore.types import CancelToken, ProgressCallback
from ragcore.weights import WeightStore

if TYPE_CHECKING:
    from pydantic import BaseModel

    from ragcore.diffusion.networks import PixelAutoencoder
    from ragcore.settings import Settings

StageName = Literal["autoencoder", "denoiser", "classifier"]
STAGES: tuple[StageName, ...] = get_args(StageName)


@dataclass(frozen=True, slots=True)
class DiffusionReport:
    """What a run did, stage by stage. `images` counts icons by part of the data."""

    name: str
    output: str
    images: dict[str, int]
    autoencoder: StageReport | None
    denoiser: StageReport | None
    classifier: StageReport | None
    seconds: float


def tune_diffusion(
    recipe: str | Path | DiffusionRecipe,
    *,
    settings: Settings,
    stages: Sequence[StageName] = STAGES,
    max_minutes: float | None = None,
    progress: ProgressCallback | None = None,
    cancel: CancelToken | None = None,
    resume: bool = True,
) -> DiffusionReport:
    """Train as the recipe says, stage by stage, each with log, curves, strips and checkpoint.

    The model's folder is `output`/model. `stages` are those that are trained now; denoiser and
    classifier need an autoencoder that is there already, and nothing of each other, so that two
    processes may train them side by side. `max_minutes` takes the place of each stage's own. A
    run that was stopped goes on where it was unless `resume` is False. Raises UsageError for a
    wrong recipe or data, or a checkpoint of another recipe; Cancelled if `cancel` was set (what
    was done is kept).
    """
    require_extra("diffusion", "image generators")
    if unknown := [name for name in stages if name not in STAGES]:
        raise UsageError(f"unknown stage {unknown[0]!r}: use {', '.join(STAGES)}")
    read = read_recipe(recipe, DiffusionRecipe)
    run = _DiffusionRun(read, settings, max_minutes, progress, cancel, resume)
    return run.train(stages)


class _DiffusionRun:
    def __init__(
        self,
        recipe: DiffusionRecipe,
        settings: Settings,
        max_minutes: float | None,
        progress: ProgressCallback | None,
        cancel: CancelToken | None,
        resume: bool,
    ) -> None:
        self.hardware = hardware(settings)
        self.settings = settings
        self.progress, self.cancel, self.resume = progress, cancel, resume
        plans: dict[str, Any] = {
            name: getattr(recipe, name).on(self.hardware.device, max_minutes) for name in STAGES
        }
        self.recipe = recipe.model_copy(update=plans)
        self.output = recipe.path(recipe.output)
        self.model = self.output / "model"
        data = recipe.data
        self.icons = read_icons(recipe.path(data.folder), data.styles, leave_out=data.leave_out)
        self.parts: dict[Part, list[int]] = split_icons(
            self.icons.icons, seed=recipe.seed, names=data.unseen_names, pairs=data.unseen_pairs
        )

    @cached_property
    def train_set(self) -> IconSet:
        return self.icons.chosen(self.parts["train"])

    @cached_property
    def held_out(self) -> IconSet:
        rows = [*self.parts["unseen_names"], *self.parts["unseen_pairs"]]
        return self.icons.chosen(rows or self.parts["train"][:64])

    def train(self, stages: Sequence[StageName]) -> DiffusionReport:
        from ragcore.diffusion.model import ModelCard, write_card

        reports: dict[StageName, StageReport] = {}
        if "autoencoder" in stages:
            reports["autoencoder"] = self._train_autoencoder()
        autoencoder = self._autoencoder()
        sets = (
            self._latents(autoencoder, self.train_set),
            self._latents(autoencoder, self.held_out),
        )
        if "denoiser" in stages:
            reports["denoiser"] = self._train_denoiser(autoencoder, sets)
        if "classifier" in stages:
            reports["classifier"] = self._train_classifier(*sets)
        recipe = self.recipe
        card = ModelCard(
            name=recipe.name,
            size=int(self.icons.pixels.shape[1]),
            styles=tuple(style_words(style) for style in self.icons.styles),
            text_encoder=recipe.text_encoder,
            data={**recipe.data.model_dump(mode="json", exclude={"folder"}), "seed": recipe.seed},
        )
        write_card(card, self.model)
        return DiffusionReport(
            name=recipe.name,
            output=str(self.model),
            images={part: len(rows) for part, rows in self.parts.items()},
            autoencoder=reports.get("autoencoder"),
            denoiser=reports.get("denoiser"),
            classifier=reports.get("classifier"),
            seconds=round(sum(report.seconds for report in reports.values()), 1),
        )

    def _stage(self, work: StageTask, plan: Stage, key: str) -> StageReport:
        run = StageRun(
            work,
            plan,
            RunFolder(self.output / work.name),
            key=key,
            seed=self.recipe.seed,
            hardware=self.hardware,
            progress=self.progress,
            cancel=self.cancel,
        )
        return run.train(self.resume)

    def _train_autoencoder(self) -> StageReport:
        import torch

        from ragcore.diffusion import networks

        plan = self.recipe.autoencoder
        torch.manual_seed(self.recipe.seed)
        network = networks.new_autoencoder(
            stem=plan.stem,
            channels=plan.channels,
            layers=plan.layers,
            latent_channels=plan.latent_channels,
        )
        network = network.to(self.hardware.device).to(memory_format=torch.channels_last)
        pixels = (self.train_set.pixels, self.held_out.pixels)
        work = autoencoder_task(network, plan, *pixels, self.hardware)
        report = self._stage(work, plan, stage_key(self.recipe.data, plan, self.recipe.seed))
        network.set_statistics(encode_all(network, self.hardware.pixels(self.train_set.pixels)))
        networks.save_half(network.vae, self.model / networks.AUTOENCODER)
        return report

    def _autoencoder(self) -> PixelAutoencoder:
        """As it is saved: what comes after it learns the latents that there will be."""
        import torch

        from ragcore.diffusion import networks

        try:
            network = networks.load_autoencoder(self.model, self.hardware.device)
        except ModelUnavailable as error:
            raise UsageError(f"{error}: train the stage autoencoder first") from error
        return network.to(memory_format=torch.channels_last)

    def _latents(self, autoencoder: PixelAutoencoder, icons: IconSet) -> Latents:
        return latents_of(autoencoder, icons, self.hardware, self.recipe.seed)

    def _train_denoiser(
        self, autoencoder: PixelAutoencoder, sets: tuple[Latents, Latents]
    ) -> StageReport:
        import torch

        from ragcore.diffusion import networks
        from ragcore.diffusion.prompt_embeddings import TokenStates
        from ragcore.diffusion.sampling import new_scheduler

        device = self.hardware.device
        folder = WeightStore(self.settings).ensure(self.recipe.text_encoder)
        encoder = TokenStates(folder, device=device)
        texts = Texts(["", *sets[0].all_texts(), *sets[1].all_texts()], encoder)
        plan, shape = self.recipe.denoiser, sets[0].latents.shape
        torch.manual_seed(self.recipe.seed)
        network = networks.new_denoiser(
            size=shape[-1],
            latent_channels=shape[1],
            channels=plan.channels,
            layers=plan.layers,
            text_width=encoder.width,
            decoder_depth=plan.decoder_depth,
        ).to(device, memory_format=torch.channels_last)
        work = denoiser_task(network, plan, sets, texts, autoencoder, self.hardware)
        report = self._stage(work, plan, self._key(self.recipe.text_encoder, plan))
        networks.save_half(network, self.model / networks.DENOISER)
        scheduler = new_scheduler("ddim", prediction=plan.prediction, schedule=plan.schedule)
        scheduler.save_pretrained(self.model / "scheduler")
        return report

    def _train_classifier(self, train: Latents, held_out: Latents) -> StageReport:
        import torch

        from ragcore.diffusion import classifier, networks

        plan = self.recipe.classifier
        every = [(icon.group, icon.subgroup) for icon in (*train.icons, *held_out.icons)]
        leaves, groups, labels = classifier.leaves_of(every, plan.smallest_class)
        first = len(train.icons)
        learnt = (train, labels[:first])
        if plan.mirror:
            learnt = (self._with_mirrored(train), 2 * labels[:first])
        torch.manual_seed(self.recipe.seed)
        network = classifier.NoisyClassifier(
            leaves=leaves,
            groups=groups,
            latent_channels=train.latents.shape[1],
            channels=plan.channels,
            dropout=plan.dropout,
        ).to(self.hardware.device, memory_format=torch.channels_last)
        noise = self.recipe.denoiser
        work = classifier_task(
            network, plan, noise, learnt, (held_out, labels[first:]), self.hardware
        )
        report = self._stage(work, plan, self._key(noise.schedule, plan))
        networks.save_half(network, self.model / classifier.CLASSIFIER)
        return report

    def _with_mirrored(self, train: Latents) -> Latents:
        """The training set and its mirror images: a class is the same from both sides."""
        import numpy as np
        import torch

        mirrored = IconSet(train.icons, np.ascontiguousarray(self.train_set.pixels[:, :, ::-1]))
        more = self._latents(self._autoencoder(), mirrored)
        both = torch.cat([train.latents, more.latents])
        return Latents((*train.icons, *train.icons), both, train.seed)

    def _key(self, *parts: BaseModel | str | int) -> str:
        """As `stage_key`, over what latents depend on too: data and autoencoder."""
        from ragcore.diffusion.networks import AUTOENCODER

        weights = fingerprint(self.model / AUTOENCODER)
        return stage_key(self.recipe.data, weights, self.recipe.seed, *parts)
