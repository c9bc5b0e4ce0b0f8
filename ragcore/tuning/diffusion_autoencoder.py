"""The first stage of `ragcore tune diffusion`: pixels to latents and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ragcore.tuning.diffusion_stage import Work

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image
    from torch import Generator, Tensor

    from ragcore.diffusion.networks import PixelAutoencoder
    from ragcore.tuning.diffusion_recipe import AutoencoderStage

_BATCH = 128
_SHOWN = 12


def strip(*rows: NDArray[np.uint8]) -> Image:
    """Pictures uint8 [n, h, w, 3] side by side, one line for each argument."""
    import numpy as np
    from PIL import Image

    lines = [np.concatenate(list(np.pad(row, ((0, 0), (1, 1), (1, 1), (0, 0)))), 1) for row in rows]
    return Image.fromarray(np.concatenate(lines, 0))


def autoencoder_work(
    network: PixelAutoencoder,
    plan: AutoencoderStage,
    train: NDArray[np.uint8],
    held_out: NDArray[np.uint8],
) -> Work:
    """L1 on pixels and on differences of neighbours, and a faint Kullback-Leibler term.

    Edges are what icons are made of: a plain L1 leaves them soft.
    """
    import torch

    from ragcore.diffusion.networks import as_pixels, as_tensor

    def loss(dice: Generator) -> tuple[Tensor, Mapping[str, float]]:
        rows = torch.randint(len(train), (plan.batch_size,), generator=dice).numpy()
        pixels = as_tensor(train[rows]).to(memory_format=torch.channels_last)
        posterior = network.posterior(pixels)
        noise = torch.randn(posterior.mean.shape, generator=dice)
        decoded = network.raw_decode(posterior.mean + posterior.std * noise)
        error = decoded - pixels
        plain = error.abs().mean()
        edges = error.diff(dim=-1).abs().mean() + error.diff(dim=-2).abs().mean()
        divergence = posterior.kl().mean() / posterior.mean[0].numel()
        total = plain + plan.edge_weight * edges + plan.kl_weight * divergence
        return total, {"l1": float(plain.detach()), "kl": float(divergence.detach())}

    def evaluate() -> Mapping[str, float]:
        errors = []
        for start in range(0, len(held_out), _BATCH):
            pixels = as_tensor(held_out[start : start + _BATCH])
            decoded = network.raw_decode(network.posterior(pixels).mode()).clamp(-1, 1)
            errors.append(((decoded - pixels) / 2).square().mean(dim=(1, 2, 3)))
        psnr = -10 * torch.cat(errors).clamp_min(1e-10).log10()
        return {"psnr": round(float(psnr.mean()), 3)}

    def picture() -> Image:
        chosen = held_out[:: max(1, len(held_out) // _SHOWN)][:_SHOWN]
        decoded = network.raw_decode(network.posterior(as_tensor(chosen)).mode())
        return strip(chosen, as_pixels(decoded))

    return Work(name="autoencoder", network=network, loss=loss, evaluate=evaluate, picture=picture)


def encode_all(network: PixelAutoencoder, pixels: NDArray[np.uint8]) -> Tensor:
    """Raw latents [n, c, h, w] of all pictures: their posteriors' modes."""
    import torch

    from ragcore.diffusion.networks import as_tensor

    parts = []
    with torch.no_grad():
        for start in range(0, len(pixels), _BATCH):
            parts.append(network.posterior(as_tensor(pixels[start : start + _BATCH])).mode())
    return torch.cat(parts)
