"""`ragcore tune controlnet`: a ControlNet over a frozen diffusion model (arXiv:2302.05543).

A trainable copy of the denoiser's encoder reads the condition beside the noisy latent; its
outputs go through convolutions that start at zero into the frozen decoder's skip connections,
so that training begins with the model as it was.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ragcore.datasets import IconSet, read_icons, split_icons
from ragcore.diffusion import CONDITIONS, condition_error
from ragcore.errors import UsageError
from ragcore.tuning.diffusion.autoencoder import strip
from ragcore.tuning.diffusion.hardware import Hardware, conditions_of, hardware
from ragcore.tuning.diffusion.noise import DrawnPrompts, Latents, Noising, Texts, latents_of
from ragcore.tuning.diffusion.recipe import (
    ControlNetRecipe,
    ControlNetStage,
    DenoiserStage,
    fingerprint,
    stage_key,
)
from ragcore.tuning.diffusion.stage import Loss, StageReport, StageRun, StageTask
from ragcore.tuning.recipe import read_recipe
from ragcore.tuning.run_folder import RunFolder
from ragcore.types import CancelToken, ProgressCallback
from ragcore.weights import WeightStore

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image
    from torch import Generator, Tensor

    from ragcore.diffusion.model import LatentModel
    from ragcore.settings import Settings

    Pixels = NDArray[np.uint8]

_SHOWN, _SHOWN_STEPS = 12, 12
_SUDDEN = 0.5  # of the whole fall of the control error: where it is called converged


@dataclass(frozen=True, slots=True)
class ControlNetReport:
    """What a run did. `converged_at` is the step at which half of the control error was gone."""

    kind: str
    output: str
    training: StageReport
    converged_at: int | None


def tune_controlnet(
    recipe: str | Path | ControlNetRecipe,
    *,
    settings: Settings,
    max_minutes: float | None = None,
    progress: ProgressCallback | None = None,
    cancel: CancelToken | None = None,
    resume: bool = True,
) -> ControlNetReport:
    """Train as the recipe says; the ControlNet goes into `output`/model, in diffusers' layout.

    `max_minutes` takes the place of the recipe's. Errors and resuming as for `tune_diffusion`.
    """
    read = read_recipe(recipe, ControlNetRecipe)
    if read.kind not in CONDITIONS or CONDITIONS[read.kind].source != "here":
        known = ", ".join(kind for kind, about in CONDITIONS.items() if about.source == "here")
        raise UsageError(f"no condition {read.kind!r} can be taken from images: use {known}")
    if not read.data.folder:
        raise UsageError("recipe: data.folder must name the folder of the icons")
    from ragcore.diffusion import networks

    where = hardware(settings)
    plan = read.training.on(where.device, max_minutes)
    base = _base(read, settings, where)
    work = _Training(read, plan, base, where, settings.threads).work()
    output = read.path(read.output)
    folder = RunFolder(output)
    weights = fingerprint(base.folder / networks.DENOISER)
    run = StageRun(
        work,
        plan,
        folder,
        key=stage_key(read.data, plan, read.kind, weights, read.seed),
        seed=read.seed,
        hardware=where,
        progress=progress,
        cancel=cancel,
    )
    report = run.train(resume)
    networks.save_half(work.network, output / "model")
    if read.install:
        networks.save_half(work.network, base.folder / networks.CONTROLNETS / read.kind)
    converged = converged_at(folder.rows())
    folder.draw_curves(
        {"control error": ["control_error", "control_error_prompted"], "loss": ["loss"]},
        marks={} if converged is None else {"converged at": converged},
    )
    return ControlNetReport(read.kind, str(output / "model"), report, converged)


def converged_at(rows: Sequence[Mapping[str, Any]]) -> int | None:
    """The first logged step at which half of the whole fall of the control error was done."""
    points = [(row["step"], row["control_error"]) for row in rows if "control_error" in row]
    if len(points) < 2:
        return None
    first, least = points[0][1], min(error for _, error in points)
    border = first - _SUDDEN * (first - least)
    return next((step for step, error in points if error <= border), None)


def _base(recipe: ControlNetRecipe, settings: Settings, where: Hardware) -> LatentModel:
    import torch

    from ragcore.diffusion.model import LatentModel, read_card

    store = WeightStore(settings)
    folder = recipe.path(recipe.model)
    if not folder.is_dir():
        folder = store.ensure(recipe.model)
    text_folder = store.ensure(read_card(folder).text_encoder)
    base = LatentModel(folder, text_folder, device=where.device)
    for network in (base.denoiser, base.autoencoder):
        network.to(memory_format=torch.channels_last)
    return base


@dataclass(frozen=True, slots=True)
class _Controlled:
    """Latents with their conditions, uint8 [n, h, w, 3] and on the device [n, 3, h, w]."""

    latents: Latents
    images: Pixels
    conditions: Tensor

    def condition(self, rows: Tensor) -> Tensor:
        """float32 [n, 3, h, w] in [0, 1]."""
        return self.conditions[rows].float() / 255


class _Training:
    """Data, networks and losses of one ControlNet."""

    def __init__(
        self,
        recipe: ControlNetRecipe,
        plan: ControlNetStage,
        base: LatentModel,
        where: Hardware,
        threads: int,
    ) -> None:
        self.recipe, self.plan, self.base, self.where = recipe, plan, base, where
        self.threads = threads
        data = recipe.data
        icons = read_icons(recipe.path(data.folder), data.styles, leave_out=data.leave_out)
        parts = split_icons(
            icons.icons, seed=recipe.seed, names=data.unseen_names, pairs=data.unseen_pairs
        )
        others = [*parts["unseen_names"], *parts["unseen_pairs"]] or parts["train"][:64]
        self.train = self._controlled(icons.chosen(parts["train"]))
        self.shown = self._controlled(icons.chosen(others[:: len(others) // _SHOWN or 1][:_SHOWN]))
        names = [*self.train.latents.all_texts(), *self.shown.latents.all_texts()]
        self.texts = Texts(["", *names], base.token_states)
        noise = DenoiserStage(**base.noise, min_snr=plan.min_snr)
        self.noising = Noising(noise, where.device)
        self.network = self._new_network()
        self._made: dict[str, Pixels] = {}

    def _controlled(self, icons: IconSet) -> _Controlled:
        latents = latents_of(self.base.autoencoder, icons, self.where, self.recipe.seed)
        images = conditions_of(self.recipe.kind, icons.pixels, self.threads)
        return _Controlled(latents, images, self.where.pixels(images))

    def _new_network(self) -> Any:
        import torch
        from diffusers import ControlNetModel

        torch.manual_seed(self.recipe.seed)
        network: Any = ControlNetModel.from_unet(
            self.base.denoiser, conditioning_embedding_out_channels=self.plan.embedding_channels
        )
        network.requires_grad_(True)
        if not self.plan.zero_convolutions:
            _forget_zeros(network)
        return network.to(self.where.device, memory_format=torch.channels_last)

    def work(self) -> StageTask:
        return StageTask(
            name=f"controlnet {self.recipe.kind}",
            network=self.network,
            loss=self._loss_of(),
            evaluate=self.evaluate,
            image=self.image,
            forward=_joined(self.network, self.base.denoiser),
        )

    def _loss_of(self) -> Loss:
        import torch

        train, plan = self.train, self.plan
        drawn = DrawnPrompts(train.latents, self.texts, plan.text_dropout)

        def loss(forward: Any, rng: Generator) -> tuple[Tensor, Mapping[str, Tensor]]:
            batch = self.noising.batch(train.latents, plan.batch_size, rng)
            embeddings = drawn.embeddings(batch.rows, rng, full=True)
            predicted = forward(
                batch.noisy.to(memory_format=torch.channels_last),
                batch.timesteps,
                train.condition(batch.rows),
                embeddings.inputs(),
            )
            error = (predicted.float() - batch.target).square().mean(dim=(1, 2, 3))
            return (error * batch.weight).mean(), {}

        return loss

    def evaluate(self) -> Mapping[str, float]:
        """Control errors on held-out icons, without words and with their own names."""
        errors = {}
        for name, prompted in (("control_error", False), ("control_error_prompted", True)):
            made = self._made[name] = self._sample(prompted)
            pairs = zip(self.shown.images, made, strict=True)
            found = [condition_error(self.recipe.kind, a, b) for a, b in pairs]
            errors[name] = round(sum(found) / len(found), 4)
        return errors

    def image(self) -> Image:
        """The icons, their conditions, and what the last evaluation made of them."""
        from ragcore.diffusion.networks import as_pixels

        real = as_pixels(self.base.autoencoder.decode(self.shown.latents.latents))
        return strip(real, self.shown.images, *self._made.values())

    def _sample(self, prompted: bool) -> Pixels:
        import torch

        from ragcore.diffusion.networks import as_pixels
        from ragcore.diffusion.sampling import ControlInput, DenoisingPlan, denoise

        latents = self.shown.latents
        count, device = len(latents.icons), self.where.device
        empty = [""] * count
        scheduler = self.base.scheduler("dpm++")
        scheduler.set_timesteps(_SHOWN_STEPS)
        condition = self.shown.condition(torch.arange(count, device=device))
        plan = DenoisingPlan(
            prompt=self.texts.take(latents.full_texts() if prompted else empty),
            empty=self.texts.take(empty),
            scale=2.0 if prompted else 1.0,
            controls=[ControlInput(self.network, condition)],
        )
        rng = torch.Generator().manual_seed(0)
        made = torch.randn(latents.latents.shape, generator=rng).to(device)
        for step in denoise(self.base.denoiser, scheduler, made, scheduler.timesteps, plan):
            made = step.latents
        with torch.no_grad():
            return as_pixels(self.base.autoencoder.decode(made))


def _forget_zeros(network: Any) -> None:
    """Give the output convolutions an ordinary random start, for the comparison without zeros."""
    import torch

    for layer in (*network.controlnet_down_blocks, network.controlnet_mid_block):
        torch.nn.init.kaiming_uniform_(layer.weight, a=5**0.5)


def _joined(network: Any, denoiser: Any) -> Any:
    """ControlNet and denoiser as one module, so that both are compiled together."""
    import torch

    class Joined(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network, self.denoiser = network, denoiser

        def forward(
            self, noisy: Tensor, timesteps: Tensor, condition: Tensor, embeddings: dict[str, Any]
        ) -> Tensor:
            down, middle = self.network(
                noisy, timesteps, **embeddings, controlnet_cond=condition, return_dict=False
            )
            predicted: Tensor = self.denoiser(
                noisy,
                timesteps,
                **embeddings,
                down_block_additional_residuals=down,
                mid_block_additional_residual=middle,
            ).sample
            return predicted

    return Joined()
