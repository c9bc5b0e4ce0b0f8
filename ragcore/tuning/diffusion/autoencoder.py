"""The first stage of `ragcore tune diffusion`: pixels to latents and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ragcore.tuning.diffusion.noise import as_input
from ragcore.tuning.diffusion.stage import StageTask

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image
    from torch import Generator, Tensor

    from ragcore.diffusion.networks import PixelAutoencoder
    from ragcore.tuning.diffusion.hardware import Hardware
    from ragcore.tuning.diffusion.recipe import AutoencoderStage

_BATCH = 128
_SHOWN = 12


def strip(*rows: NDArray[np.uint8]) -> Image:
    """Images uint8 [n, h, w, 3] side by side, one line for each argument."""
    import numpy as np
    from PIL import Image

    lines = [np.concatenate(list(np.pad(row, ((0, 0), (1, 1), (1, 1), (0, 0)))), 1) for row in rows]
    return Image.fromarray(np.concatenate(lines, 0))


def autoencoder_task(
    network: PixelAutoencoder,
    plan: AutoencoderStage,
    train: NDArray[np.uint8],
    held_out: NDArray[np.uint8],
    hardware: Hardware,
) -> StageTask:
    """L1 on pixels and on differences of neighbours, and a faint Kullback-Leibler term.

    Edges are what icons are made of: a plain L1 leaves them soft.
    """
    import torch

    from ragcore.diffusion.networks import as_pixels

    pixels, tests = hardware.pixels(train), hardware.pixels(held_out)
    side = train.shape[1] // network.factor
    noise_shape = (plan.batch_size, network.channels, side, side)

    def loss(forward: Any, rng: Generator) -> tuple[Tensor, Mapping[str, Tensor]]:
        rows = torch.randint(len(pixels), (plan.batch_size,), generator=rng, device=pixels.device)
        wanted = as_input(pixels[rows])
        noise = torch.randn(noise_shape, generator=rng, device=pixels.device)
        decoded, divergence = forward(wanted, noise)
        error = decoded.float() - wanted
        plain = error.abs().mean()
        edges = error.diff(dim=-1).abs().mean() + error.diff(dim=-2).abs().mean()
        total = plain + plan.edge_weight * edges + plan.kl_weight * divergence
        return total, {"l1": plain.detach(), "kl": divergence.detach()}

    def rebuilt(wanted: Tensor) -> Tensor:
        return network.raw_decode(network.posterior(wanted).mode()).float().clamp(-1, 1)

    def evaluate() -> Mapping[str, float]:
        errors = []
        for part in torch.split(tests, _BATCH):
            wanted = as_input(part)
            errors.append(((rebuilt(wanted) - wanted) / 2).square().mean(dim=(1, 2, 3)))
        psnr = -10 * torch.cat(errors).clamp_min(1e-10).log10()
        return {"psnr": round(float(psnr.mean()), 3)}

    def image() -> Image:
        every = max(1, len(held_out) // _SHOWN)
        chosen = tests[::every][:_SHOWN]
        return strip(held_out[::every][:_SHOWN], as_pixels(rebuilt(as_input(chosen))))

    return StageTask(name="autoencoder", network=network, loss=loss, evaluate=evaluate, image=image)
