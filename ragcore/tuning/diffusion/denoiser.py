"""The second stage of `ragcore tune diffusion`: noise and prompt embeddings to latents."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from ragcore.tuning.diffusion.autoencoder import strip
from ragcore.tuning.diffusion.noise import DrawnPrompts, Latents, Noising, NoisyBatch, Texts
from ragcore.tuning.diffusion.stage import StageTask

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Generator, Tensor

    from ragcore.diffusion.networks import PixelAutoencoder
    from ragcore.diffusion.prompt_embeddings import PromptEmbeddings
    from ragcore.tuning.diffusion.hardware import Hardware
    from ragcore.tuning.diffusion.recipe import DenoiserStage

_SHOWN, _SHOWN_STEPS, _SHOWN_SCALE = 12, 20, 3.0


def denoiser_task(
    network: Any,
    plan: DenoiserStage,
    sets: tuple[Latents, Latents],
    texts: Texts,
    autoencoder: PixelAutoencoder,
    hardware: Hardware,
) -> StageTask:
    """Predict v (or the noise) from a noisy latent and a prompt, which is dropped at random.

    `sets` are the latents of the training set and of the held-out icons.
    """
    import torch

    train, held_out = sets
    noising = Noising(plan, hardware.device)
    drawn = DrawnPrompts(train, texts, plan.text_dropout)

    def loss(forward: Any, rng: Generator) -> tuple[Tensor, Mapping[str, Tensor]]:
        batch = noising.batch(train, plan.batch_size, rng)
        return _loss(forward, batch, drawn.embeddings(batch.rows, rng)), {}

    fixed = hardware.rng(plan.batch_size)
    tests = [noising.batch(held_out, 128, fixed) for _ in range(2)]
    named = DrawnPrompts(held_out, texts, 0.0)

    def evaluate() -> Mapping[str, float]:
        losses = [_loss(network, b, named.embeddings(b.rows, fixed, full=True)) for b in tests]
        return {"held_out_loss": round(float(torch.stack(losses).mean()), 5)}

    return StageTask(
        name="denoiser",
        network=network,
        loss=loss,
        evaluate=evaluate,
        image=_images(network, plan, sets, texts, autoencoder),
    )


def _loss(network: Any, batch: NoisyBatch, embeddings: PromptEmbeddings) -> Tensor:
    import torch

    predicted = network(
        batch.noisy.to(memory_format=torch.channels_last),
        batch.timesteps,
        **embeddings.inputs(),
    ).sample
    error = (predicted.float() - batch.target).square().mean(dim=(1, 2, 3))
    loss: Tensor = (error * batch.weight).mean()
    return loss


def _images(
    network: Any,
    plan: DenoiserStage,
    sets: tuple[Latents, Latents],
    texts: Texts,
    autoencoder: PixelAutoencoder,
) -> Callable[[], Image]:
    """A strip: icons of the training set and held-out ones above, what their words give below."""
    import torch

    from ragcore.diffusion.networks import as_pixels
    from ragcore.diffusion.sampling import DenoisingPlan, denoise, new_scheduler

    half = _SHOWN // 2
    shown = [(data, row * (len(data.icons) // half)) for data in sets for row in range(half)]
    names = [full for data in sets for full in data.full_texts()[:: len(data.icons) // half][:half]]

    def image() -> Image:
        scheduler = new_scheduler("dpm++", prediction=plan.prediction, schedule=plan.schedule)
        scheduler.set_timesteps(_SHOWN_STEPS)
        real = torch.stack([data.latents[row] for data, row in shown])
        noise = torch.randn(real.shape, generator=torch.Generator().manual_seed(0))
        asked = DenoisingPlan(
            prompt=texts.take(names),
            empty=texts.take([""] * len(shown)),
            scale=_SHOWN_SCALE,
        )
        made = noise.to(real.device)
        for step in denoise(network, scheduler, made, scheduler.timesteps, asked):
            made = step.latents
        return strip(as_pixels(autoencoder.decode(real)), as_pixels(autoencoder.decode(made)))

    return image
