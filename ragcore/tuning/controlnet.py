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

from ragcore.diffusion import CONDITIONS, condition_error, extract
from ragcore.errors import UsageError
from ragcore.tuning.diffusion_autoencoder import encode_all, strip
from ragcore.tuning.diffusion_data import IconSet, read_icons, split
from ragcore.tuning.diffusion_denoiser import Batch, Latents, Noising, Texts
from ragcore.tuning.diffusion_recipe import (
    ControlNetRecipe,
    ControlNetStage,
    DenoiserStage,
    stage_key,
)
from ragcore.tuning.diffusion_stage import StageReport, StageRun, Work
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
    from ragcore.diffusion.words import Words
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
    progress: ProgressCallback | None = None,
    cancel: CancelToken | None = None,
    resume: bool = True,
) -> ControlNetReport:
    """Train as the recipe says; the ControlNet goes into `output`/model, in diffusers' layout.

    Errors and resuming as for `tune_diffusion`.
    """
    read = read_recipe(recipe, ControlNetRecipe)
    if read.kind not in CONDITIONS or CONDITIONS[read.kind].source != "here":
        known = ", ".join(kind for kind, about in CONDITIONS.items() if about.source == "here")
        raise UsageError(f"no condition {read.kind!r} can be taken from pictures: use {known}")
    if not read.data.folder:
        raise UsageError("recipe: data.folder must name the folder of the icons")
    from ragcore.diffusion import networks
    from ragcore.encoders.device import set_threads

    set_threads(settings.threads)
    base = _base(read, settings)
    work, network = _work(read, base)
    output = read.path(read.output)
    folder = RunFolder(output)
    plan = read.training
    key = stage_key(read.data, plan, read.kind, _fingerprint(base), read.seed)
    run = StageRun(work, plan, folder, key=key, seed=read.seed, progress=progress, cancel=cancel)
    report = run.train(resume)
    networks.save_half(network, output / "model")
    if read.install:
        networks.save_half(network, base.folder / networks.CONTROLNETS / read.kind)
    return ControlNetReport(read.kind, str(output / "model"), report, converged_at(folder.rows()))


def converged_at(rows: Sequence[Mapping[str, Any]]) -> int | None:
    """The first logged step at which half of the whole fall of the control error was done."""
    points = [(row["step"], row["control_error"]) for row in rows if "control_error" in row]
    if len(points) < 2:
        return None
    first, least = points[0][1], min(error for _, error in points)
    border = first - _SUDDEN * (first - least)
    return next((step for step, error in points if error <= border), None)


def _base(recipe: ControlNetRecipe, settings: Settings) -> LatentModel:
    from ragcore.diffusion.model import LatentModel, read_card

    store = WeightStore(settings)
    folder = recipe.path(recipe.model)
    if not folder.is_dir():
        folder = store.ensure(recipe.model)
    return LatentModel(folder, store.ensure(read_card(folder).text_encoder))


def _fingerprint(base: LatentModel) -> str:
    """Sixteen hex digits over the denoiser's weights."""
    import hashlib

    from ragcore.diffusion.networks import DENOISER

    (file,) = (base.folder / DENOISER).glob("*.safetensors")
    return hashlib.sha256(file.read_bytes()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class _Controlled:
    """Latents with their conditions uint8 [n, h, w, 3]."""

    latents: Latents
    conditions: Pixels

    def condition(self, rows: Sequence[int]) -> Tensor:
        import torch

        chosen = torch.from_numpy(self.conditions[list(rows)])
        return chosen.permute(0, 3, 1, 2).float() / 255


def _work(recipe: ControlNetRecipe, base: LatentModel) -> tuple[Work, Any]:
    import torch
    from diffusers import ControlNetModel

    data, plan = recipe.data, recipe.training
    icons = read_icons(recipe.path(data.folder), data.styles, leave_out=data.leave_out)
    parts = split(icons.icons, seed=recipe.seed, names=data.unseen_names, pairs=data.unseen_pairs)
    held_out_rows = [*parts["unseen_names"], *parts["unseen_pairs"]] or parts["train"][:64]
    every = len(held_out_rows) // _SHOWN or 1
    sets = [
        _controlled(recipe, base, icons.chosen(rows))
        for rows in (parts["train"], held_out_rows[::every][:_SHOWN])
    ]
    names = [one.latents.full_text(row) for one in sets for row in range(len(one.latents.icons))]
    texts = Texts(["", *names], base.token_states)
    torch.manual_seed(recipe.seed)
    network: Any = ControlNetModel.from_unet(
        base.denoiser, conditioning_embedding_out_channels=plan.embedding_channels
    )
    network.requires_grad_(True)
    if not plan.zero_convolutions:
        _forget_zeros(network)
    return _controlnet_work(network, plan, recipe.kind, base, (sets[0], sets[1]), texts), network


def _controlled(recipe: ControlNetRecipe, base: LatentModel, icons: IconSet) -> _Controlled:
    import numpy as np
    import torch

    raw = encode_all(base.autoencoder, icons.pixels)
    config = base.autoencoder.vae.config
    mean, deviation = (
        torch.tensor(values).view(1, -1, 1, 1)
        for values in (config.latents_mean, config.latents_std)
    )
    conditions = np.stack([extract(recipe.kind, picture) for picture in icons.pixels])
    latents = Latents(icons.icons, (raw - mean) / deviation, recipe.seed)
    return _Controlled(latents, conditions)


def _forget_zeros(network: Any) -> None:
    """Give the output convolutions an ordinary random start, for the comparison without zeros."""
    import torch

    for layer in (*network.controlnet_down_blocks, network.controlnet_mid_block):
        torch.nn.init.kaiming_uniform_(layer.weight, a=5**0.5)


def _controlnet_work(
    network: Any,
    plan: ControlNetStage,
    kind: str,
    base: LatentModel,
    sets: tuple[_Controlled, _Controlled],
    texts: Texts,
) -> Work:
    import torch

    noising = Noising(DenoiserStage(**base.noise))
    train, held_out = sets

    def loss(dice: Generator) -> tuple[Tensor, Mapping[str, float]]:
        batch = noising.batch(train.latents, plan.batch_size, dice)
        left_out = torch.rand(plan.batch_size, generator=dice) < plan.text_dropout
        words = texts.take(
            [
                "" if out else train.latents.full_text(row)
                for row, out in zip(batch.rows, left_out.tolist(), strict=True)
            ]
        )
        predicted = _predict(network, base.denoiser, batch, words, train.condition(batch.rows))
        error = (predicted - batch.target).square().mean(dim=(1, 2, 3))
        return (error * batch.weight).mean(), {}

    def evaluate() -> Mapping[str, float]:
        wanted = held_out.conditions
        errors = {}
        for name, words in (("control_error", ""), ("control_error_prompted", None)):
            made = _sample(network, base, held_out, texts, words)
            found = [condition_error(kind, a, b) for a, b in zip(wanted, made, strict=True)]
            errors[name] = round(sum(found) / len(found), 4)
        return errors

    def picture() -> Image:
        import numpy as np

        from ragcore.diffusion.networks import as_pixels

        real = as_pixels(base.autoencoder.decode(held_out.latents.latents))
        rows = [real, held_out.conditions]
        rows += [_sample(network, base, held_out, texts, words) for words in ("", None)]
        return strip(*(np.asarray(row) for row in rows))

    return Work(
        name=f"controlnet {kind}", network=network, loss=loss, evaluate=evaluate, picture=picture
    )


def _predict(network: Any, denoiser: Any, batch: Batch, words: Words, condition: Tensor) -> Tensor:
    down, middle = network(
        batch.noisy,
        batch.timesteps,
        **words.inputs(),
        controlnet_cond=condition,
        return_dict=False,
    )
    predicted: Tensor = denoiser(
        batch.noisy,
        batch.timesteps,
        **words.inputs(),
        down_block_additional_residuals=down,
        mid_block_additional_residual=middle,
    ).sample
    return predicted


def _sample(
    network: Any, base: LatentModel, shown: _Controlled, texts: Texts, words: str | None
) -> Pixels:
    """Pictures of the held-out conditions, without a prompt or with their own names."""
    import torch

    from ragcore.diffusion.networks import as_pixels
    from ragcore.diffusion.sampling import ControlInput, Plan, denoise

    count = len(shown.latents.icons)
    scheduler = base.scheduler("dpm++")
    scheduler.set_timesteps(_SHOWN_STEPS)
    prompts = [shown.latents.full_text(r) if words is None else words for r in range(count)]
    plan = Plan(
        prompt=texts.take(prompts),
        empty=texts.take([""] * count),
        scale=2.0 if words is None else 1.0,
        controls=[ControlInput(network, shown.condition(range(count)))],
    )
    dice = torch.Generator().manual_seed(0)
    latents = torch.randn(shown.latents.latents.shape, generator=dice)
    for step in denoise(base.denoiser, scheduler, latents, scheduler.timesteps, plan):
        latents = step.latents
    with torch.no_grad():
        return as_pixels(base.autoencoder.decode(latents))
