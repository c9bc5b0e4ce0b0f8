"""`ragcore tune diffusion`: an autoencoder, a denoiser and a noise-aware classifier of icons."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from ragcore.tuning.diffusion_autoencoder import autoencoder_work, encode_all
from ragcore.tuning.diffusion_classifier import classifier_work
from ragcore.tuning.diffusion_data import IconSet, Part, read_icons, split, style_words
from ragcore.tuning.diffusion_denoiser import Latents, Texts, denoiser_work
from ragcore.tuning.diffusion_recipe import DiffusionRecipe, Stage, stage_key
from ragcore.tuning.diffusion_stage import StageReport, StageRun, Work
from ragcore.tuning.recipe import read_recipe
from ragcore.tuning.run_folder import RunFolder
from ragcore.types import CancelToken, ProgressCallback
from ragcore.weights import WeightStore

if TYPE_CHECKING:
    from pydantic import BaseModel

    from ragcore.diffusion.networks import PixelAutoencoder
    from ragcore.settings import Settings


@dataclass(frozen=True, slots=True)
class DiffusionReport:
    """What a run did, stage by stage. `pictures` counts icons by part of the data."""

    name: str
    output: str
    pictures: dict[str, int]
    autoencoder: StageReport
    denoiser: StageReport
    classifier: StageReport
    seconds: float


def tune_diffusion(
    recipe: str | Path | DiffusionRecipe,
    *,
    settings: Settings,
    progress: ProgressCallback | None = None,
    cancel: CancelToken | None = None,
    resume: bool = True,
) -> DiffusionReport:
    """Train as the recipe says, stage by stage, each with log, curves, strips and checkpoint.

    The model's folder is `output`/model. A run that was stopped goes on where it was unless
    `resume` is False. Raises UsageError for a wrong recipe or data, or a checkpoint of another
    recipe; Cancelled if `cancel` was set (what was done is kept).
    """
    run = _Run(read_recipe(recipe, DiffusionRecipe), settings, progress, cancel, resume)
    return run.train()


class _Run:
    def __init__(
        self,
        recipe: DiffusionRecipe,
        settings: Settings,
        progress: ProgressCallback | None,
        cancel: CancelToken | None,
        resume: bool,
    ) -> None:
        from ragcore.encoders.device import set_threads

        set_threads(settings.threads)
        self.recipe, self.settings = recipe, settings
        self.progress, self.cancel, self.resume = progress, cancel, resume
        self.output = recipe.path(recipe.output)
        data = recipe.data
        self.icons = read_icons(recipe.path(data.folder), data.styles, leave_out=data.leave_out)
        self.parts: dict[Part, list[int]] = split(
            self.icons.icons, seed=recipe.seed, names=data.unseen_names, pairs=data.unseen_pairs
        )

    @cached_property
    def train_set(self) -> IconSet:
        return self.icons.chosen(self.parts["train"])

    @cached_property
    def held_out(self) -> IconSet:
        rows = [*self.parts["unseen_names"], *self.parts["unseen_pairs"]]
        return self.icons.chosen(rows or self.parts["train"][:64])

    def train(self) -> DiffusionReport:
        from ragcore.diffusion.model import ModelCard, write_card

        autoencoder, first = self._autoencoder()
        latents = [self._latents(autoencoder, part) for part in (self.train_set, self.held_out)]
        second = self._denoiser(autoencoder, *latents)
        third = self._classifier(*latents)
        recipe = self.recipe
        card = ModelCard(
            name=recipe.name,
            size=int(self.icons.pixels.shape[1]),
            styles=tuple(style_words(style) for style in self.icons.styles),
            text_encoder=recipe.text_encoder,
            data={**recipe.data.model_dump(mode="json", exclude={"folder"}), "seed": recipe.seed},
        )
        write_card(card, self.output / "model")
        return DiffusionReport(
            name=recipe.name,
            output=str(self.output / "model"),
            pictures={part: len(rows) for part, rows in self.parts.items()},
            autoencoder=first,
            denoiser=second,
            classifier=third,
            seconds=round(first.seconds + second.seconds + third.seconds, 1),
        )

    def _stage(self, work: Work, plan: Stage, key: str) -> StageReport:
        run = StageRun(
            work,
            plan,
            RunFolder(self.output / work.name),
            key=key,
            seed=self.recipe.seed,
            progress=self.progress,
            cancel=self.cancel,
        )
        return run.train(self.resume)

    def _autoencoder(self) -> tuple[PixelAutoencoder, StageReport]:
        import torch

        from ragcore.diffusion import networks

        plan = self.recipe.autoencoder
        torch.manual_seed(self.recipe.seed)
        network = networks.new_autoencoder(
            stem=plan.stem,
            channels=plan.channels,
            layers=plan.layers,
            latent_channels=plan.latent_channels,
        ).to(memory_format=torch.channels_last)
        work = autoencoder_work(network, plan, self.train_set.pixels, self.held_out.pixels)
        report = self._stage(work, plan, stage_key(self.recipe.data, plan, self.recipe.seed))
        network.eval().requires_grad_(False)
        network.set_statistics(encode_all(network, self.train_set.pixels))
        networks.save_half(network.vae, self.output / "model" / networks.AUTOENCODER)
        return network, report

    def _latents(self, autoencoder: PixelAutoencoder, icons: IconSet) -> Latents:
        """Standardised latents of icons."""
        import torch

        raw = encode_all(autoencoder, icons.pixels)
        config = autoencoder.vae.config
        mean, deviation = (
            torch.tensor(values).view(1, -1, 1, 1)
            for values in (config.latents_mean, config.latents_std)
        )
        return Latents(icons.icons, (raw - mean) / deviation, self.recipe.seed)

    def _denoiser(
        self, autoencoder: PixelAutoencoder, train: Latents, held_out: Latents
    ) -> StageReport:
        import torch

        from ragcore.diffusion import networks
        from ragcore.diffusion.sampling import new_scheduler
        from ragcore.diffusion.words import TokenStates

        encoder = TokenStates(WeightStore(self.settings).ensure(self.recipe.text_encoder))
        texts = Texts(["", *train.all_texts(), *held_out.all_texts()], encoder)
        plan, channels = self.recipe.denoiser, train.latents.shape[1]
        torch.manual_seed(self.recipe.seed)
        network = networks.new_denoiser(
            size=train.latents.shape[-1],
            latent_channels=channels,
            channels=plan.channels,
            layers=plan.layers,
            text_width=encoder.width,
        ).to(memory_format=torch.channels_last)
        work = denoiser_work(network, plan, train, held_out, texts, autoencoder)
        report = self._stage(work, plan, self._key(plan))
        model = self.output / "model"
        networks.save_half(network, model / networks.DENOISER)
        scheduler = new_scheduler("ddim", prediction=plan.prediction, schedule=plan.schedule)
        scheduler.save_pretrained(model / "scheduler")
        return report

    def _classifier(self, train: Latents, held_out: Latents) -> StageReport:
        import torch

        from ragcore.diffusion import classifier, networks

        plan = self.recipe.classifier
        every = [(icon.group, icon.subgroup) for icon in (*train.icons, *held_out.icons)]
        leaves, groups, labels = classifier.leaves_of(every, plan.smallest_class)
        torch.manual_seed(self.recipe.seed)
        network = classifier.NoisyClassifier(
            leaves=leaves,
            groups=groups,
            latent_channels=train.latents.shape[1],
            channels=plan.channels,
        )
        first = len(train.icons)
        sets = ((train, labels[:first]), (held_out, labels[first:]))
        work = classifier_work(network, plan, self.recipe.denoiser, *sets)
        report = self._stage(work, plan, self._key(self.recipe.denoiser.schedule, plan))
        networks.save_half(network, self.output / "model" / classifier.CLASSIFIER)
        return report

    def _key(self, *parts: BaseModel | str | int) -> str:
        """As `stage_key`, over what latents depend on too: the autoencoder with its length."""
        recipe = self.recipe
        above = recipe.autoencoder.model_dump_json(exclude={"log_every", "save_every"})
        return stage_key(recipe.data, above, recipe.text_encoder, recipe.seed, *parts)
