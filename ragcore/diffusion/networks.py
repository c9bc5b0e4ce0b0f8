"""The networks of a latent diffusion model on diffusers' blocks. Imports torch and diffusers.

A model is a folder: `autoencoder/`, `denoiser/` and `classifier/`, each with config.json and
safetensors, `controlnets/KIND/`, and `model.json` for what belongs to all of them.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL, ControlNetModel, UNet2DConditionModel
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from ragcore.errors import ModelUnavailable

AUTOENCODER, DENOISER, CONTROLNETS = "autoencoder", "denoiser", "controlnets"


class PixelAutoencoder(nn.Module):
    """diffusers' AutoencoderKL behind a space-to-depth stem.

    A block of `stem` x `stem` pixels becomes one position with 3 x stem x stem channels, so that
    no convolution runs at full resolution (Shi et al. 2016, arXiv:1609.05158, turned round).
    Latents are standardised by channel: mean 0, standard deviation 1 over the training images.
    """

    def __init__(self, vae: Any) -> None:
        super().__init__()
        self.vae = vae
        self.stem = math.isqrt(vae.config.in_channels // 3)

    @property
    def channels(self) -> int:
        return int(self.vae.config.latent_channels)

    @property
    def factor(self) -> int:
        """Pixels a side that one latent position stands for."""
        return self.stem * int(2 ** (len(self.vae.config.block_out_channels) - 1))

    def posterior(self, pixels: Tensor) -> Any:
        """The diagonal Gaussian over raw latents of images [n, 3, h, w] in [-1, 1]."""
        return self.vae.encode(functional.pixel_unshuffle(pixels, self.stem)).latent_dist

    def encode(self, pixels: Tensor) -> Tensor:
        """Standardised latents [n, c, h / factor, w / factor] of images in [-1, 1]."""
        mean, deviation = self._statistics(pixels)
        latents: Tensor = (self.posterior(pixels).mode() - mean) / deviation
        return latents

    def decode(self, latents: Tensor) -> Tensor:
        """Images [n, 3, h, w], about [-1, 1], of standardised latents."""
        mean, deviation = self._statistics(latents)
        return self.raw_decode(latents * deviation + mean)

    def raw_decode(self, latents: Tensor) -> Tensor:
        decoded: Tensor = self.vae.decode(latents).sample
        return functional.pixel_shuffle(decoded, self.stem)

    def forward(self, pixels: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """What training needs: (images decoded from a sample, mean divergence of a number).

        `noise` is standard normal, of the latents' shape.
        """
        posterior = self.posterior(pixels)
        decoded = self.raw_decode(posterior.mean + posterior.std * noise)
        divergence: Tensor = posterior.kl().mean() / posterior.mean[0].numel()
        return decoded, divergence

    def set_statistics(self, raw_latents: Tensor) -> None:
        """Take mean and deviation of each channel from raw latents [n, c, h, w]."""
        mean = raw_latents.mean(dim=(0, 2, 3)).tolist()
        deviation = raw_latents.std(dim=(0, 2, 3)).clamp_min(1e-3).tolist()
        self.vae.register_to_config(latents_mean=mean, latents_std=deviation)

    def _statistics(self, like: Tensor) -> tuple[Tensor | float, Tensor | float]:
        config = self.vae.config
        if config.latents_mean is None:
            return 0.0, 1.0
        shape = (1, -1, 1, 1)
        return (
            torch.tensor(config.latents_mean, dtype=like.dtype, device=like.device).view(shape),
            torch.tensor(config.latents_std, dtype=like.dtype, device=like.device).view(shape),
        )


def new_autoencoder(
    *, stem: int, channels: Sequence[int], layers: int, latent_channels: int
) -> PixelAutoencoder:
    """An untrained autoencoder; each further entry of `channels` halves the resolution."""
    groups = math.gcd(16, *channels)
    vae = AutoencoderKL(
        in_channels=3 * stem * stem,
        out_channels=3 * stem * stem,
        down_block_types=("DownEncoderBlock2D",) * len(channels),
        up_block_types=("UpDecoderBlock2D",) * len(channels),
        block_out_channels=tuple(channels),
        layers_per_block=layers,
        latent_channels=latent_channels,
        norm_num_groups=groups,
    )
    return PixelAutoencoder(vae)


def new_denoiser(
    *,
    size: int,
    latent_channels: int,
    channels: Sequence[int],
    layers: int,
    text_width: int,
    decoder_depth: int = 1,
) -> Any:
    """An untrained UNet2DConditionModel on latents `size` positions a side.

    Text reaches it twice: its token states by cross-attention at every resolution, and their
    mean through the time embedding (`class_labels`). `decoder_depth` transformer layers stand in
    each block of the way up, one on the way down: a ControlNet is a copy of the way down.
    """
    levels = len(channels)
    return UNet2DConditionModel(
        sample_size=size,
        in_channels=latent_channels,
        out_channels=latent_channels,
        down_block_types=("CrossAttnDownBlock2D",) * levels,
        up_block_types=("CrossAttnUpBlock2D",) * levels,
        reverse_transformer_layers_per_block=[decoder_depth] * levels,
        mid_block_type="UNetMidBlock2D",
        block_out_channels=tuple(channels),
        layers_per_block=layers,
        cross_attention_dim=text_width,
        attention_head_dim=[max(1, width // 32) for width in channels],  # diffusers: heads
        class_embed_type="projection",
        projection_class_embeddings_input_dim=text_width,
        norm_num_groups=math.gcd(16, *channels),
        use_linear_projection=True,
    )


def as_tensor(pixels: NDArray[np.uint8]) -> Tensor:
    """uint8 [n, h, w, 3] to float32 [n, 3, h, w] in [-1, 1]."""
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 127.5 - 1


def as_pixels(images: Tensor) -> NDArray[np.uint8]:
    """The way back, values outside [-1, 1] clipped."""
    scaled = ((images.float().clamp(-1, 1) + 1) * 127.5).round()
    array: NDArray[np.uint8] = scaled.byte().permute(0, 2, 3, 1).contiguous().cpu().numpy()
    return array


def save_half(network: Any, folder: Path) -> None:
    """Write config.json and float16 safetensors into `folder`."""
    clone = nn.Module.to(copy.deepcopy(network), torch.float16)  # diffusers' own warns of nothing
    clone.save_pretrained(folder, safe_serialization=True)


def load_autoencoder(model: Path, device: str = "cpu") -> PixelAutoencoder:
    """Raises ModelUnavailable if the model folder has none that can be loaded."""
    network = PixelAutoencoder(load_network(AutoencoderKL, model / AUTOENCODER))
    return network.to(device).eval().requires_grad_(False)


def load_denoiser(model: Path, device: str = "cpu") -> Any:
    """As `load_autoencoder`."""
    return (
        load_network(UNet2DConditionModel, model / DENOISER).to(device).eval().requires_grad_(False)
    )


def load_controlnet(model: Path, kind: str, device: str = "cpu") -> Any:
    """As `load_autoencoder`."""
    network = load_network(ControlNetModel, model / CONTROLNETS / kind)
    return network.to(device).eval().requires_grad_(False)


def load_network(kind: Any, folder: Path) -> Any:
    """A diffusers network of a folder, float32. Raises ModelUnavailable."""
    if not (folder / "config.json").is_file():
        raise ModelUnavailable(f"{folder} holds no {kind.__name__}: train one, or give its folder")
    try:
        return kind.from_pretrained(
            folder,
            torch_dtype=torch.float32,
            local_files_only=True,
            trust_remote_code=False,
            low_cpu_mem_usage=False,
        )
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ModelUnavailable(
            f"{folder} cannot be loaded as a {kind.__name__}: {reason}"
        ) from error
