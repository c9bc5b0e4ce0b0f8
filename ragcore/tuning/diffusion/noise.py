"""Training batches of a denoiser: latents, noise, what to predict, and what it counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ragcore.datasets import Icon, icon_captions

if TYPE_CHECKING:
    from torch import Generator, Tensor

    from ragcore.datasets import IconSet
    from ragcore.diffusion.networks import PixelAutoencoder
    from ragcore.diffusion.prompt_embeddings import PromptEmbeddings, TokenStates
    from ragcore.tuning.diffusion.hardware import Hardware
    from ragcore.tuning.diffusion.recipe import DenoiserStage

_TEXT_BATCH = 256
_IMAGE_BATCH = 256


@dataclass(frozen=True, slots=True)
class Latents:
    """Standardised latents [n, c, h, w] with what their icons are called."""

    icons: tuple[Icon, ...]
    latents: Tensor
    seed: int

    def all_texts(self) -> list[str]:
        return [text for icon in self.icons for _, text in icon_captions(icon, self.seed)]

    def full_texts(self) -> list[str]:
        """Name and style of each row, as a person would ask for it."""
        return [icon_captions(icon, self.seed)[0][1] for icon in self.icons]


def encode_all(autoencoder: PixelAutoencoder, pixels: Tensor) -> Tensor:
    """Raw latents [n, c, h, w] of images uint8 [n, 3, h, w]: their posteriors' modes."""
    import torch

    with torch.no_grad():
        parts = [
            autoencoder.posterior(as_input(part)).mode()
            for part in torch.split(pixels, _IMAGE_BATCH)
        ]
    return torch.cat(parts)


def as_input(pixels: Tensor) -> Tensor:
    """uint8 [n, 3, h, w] to float32 in [-1, 1], channels last."""
    import torch

    return (pixels.float() / 127.5 - 1).to(memory_format=torch.channels_last)


def latents_of(
    autoencoder: PixelAutoencoder, icons: IconSet, hardware: Hardware, seed: int
) -> Latents:
    """Standardised latents of icons, on the device."""
    import torch

    raw = encode_all(autoencoder, hardware.pixels(icons.pixels))
    config = autoencoder.vae.config
    mean, deviation = (
        torch.tensor(values, device=raw.device).view(1, -1, 1, 1)
        for values in (config.latents_mean, config.latents_std)
    )
    return Latents(icons.icons, (raw - mean) / deviation, seed)


class Texts:
    """Token states of a fixed list of texts, float16 on the device, float32 when taken out."""

    def __init__(self, texts: Sequence[str], encoder: TokenStates) -> None:
        import torch

        self.number = {text: number for number, text in enumerate(dict.fromkeys(texts))}
        unique = list(self.number)
        parts = [
            encoder(unique[start : start + _TEXT_BATCH])
            for start in range(0, len(unique), _TEXT_BATCH)
        ]
        self._states = torch.cat([part.states.half() for part in parts])
        self._means = torch.cat([part.means for part in parts if part.means is not None])

    def take(self, texts: Sequence[str]) -> PromptEmbeddings:
        """Embeddings of these texts, in their order."""
        import torch

        rows = torch.tensor([self.number[text] for text in texts], device=self._means.device)
        return self.rows(rows)

    def rows(self, numbers: Tensor) -> PromptEmbeddings:
        """Embeddings of the texts with these numbers."""
        from ragcore.diffusion.prompt_embeddings import PromptEmbeddings

        return PromptEmbeddings(self._states[numbers].float(), self._means[numbers])


class DrawnPrompts:
    """Texts for rows of a set, drawn on the device by their probabilities or left out."""

    def __init__(self, data: Latents, texts: Texts, dropout: float) -> None:
        import torch

        device = data.latents.device
        described = [icon_captions(icon, data.seed) for icon in data.icons]
        numbers = [[texts.number[text] for _, text in one] for one in described]
        self._texts, self._dropout = texts, dropout
        self._numbers = torch.tensor(numbers, device=device)
        # the probabilities are the same for every icon
        borders = torch.tensor([probability for probability, _ in described[0]]).cumsum(0)
        self._borders = borders[:-1].contiguous().to(device)
        self._empty = texts.number[""]

    def embeddings(self, rows: Tensor, rng: Generator, *, full: bool = False) -> PromptEmbeddings:
        """One text for each row; `full` always takes name and style where it takes any."""
        import torch

        draws = torch.rand((2, len(rows)), generator=rng, device=rows.device)
        kinds = torch.bucketize(draws[1], self._borders)
        numbers = self._numbers[rows, torch.zeros_like(kinds) if full else kinds]
        return self._texts.rows(numbers.masked_fill(draws[0] < self._dropout, self._empty))


@dataclass(frozen=True, slots=True)
class NoisyBatch:
    """Noisy latents with what the network should say about them, and each row's weight."""

    noisy: Tensor
    target: Tensor
    weight: Tensor
    timesteps: Tensor
    rows: Tensor


class Noising:
    """Makes training batches: rows, timesteps and noise from a generator."""

    def __init__(self, plan: DenoiserStage, device: str = "cpu") -> None:
        from ragcore.diffusion.sampling import new_scheduler

        self.plan = plan
        scheduler = new_scheduler("ddim", prediction=plan.prediction, schedule=plan.schedule)
        self.alphas: Tensor = scheduler.alphas_cumprod.to(device)

    def batch(self, data: Latents, size: int, rng: Generator) -> NoisyBatch:
        import torch

        device = data.latents.device
        rows = torch.randint(len(data.latents), (size,), generator=rng, device=device)
        return self.noised(data.latents[rows], self.timesteps(size, rng), rng, rows)

    def timesteps(self, size: int, rng: Generator) -> Tensor:
        """Evenly spread from a random start: every batch sees all noise levels."""
        import torch

        device = self.alphas.device
        offset = torch.rand((), generator=rng, device=device)
        spread = (offset + torch.arange(size, device=device) / size) % 1
        return (spread * len(self.alphas)).long()

    def noised(self, clean: Tensor, timesteps: Tensor, rng: Generator, rows: Tensor) -> NoisyBatch:
        """Z = a x + s e, with v or e as target.

        What the predicted clean latent counts is limited as by min-SNR (arXiv:2303.09556). With
        v that is SNR + 1 up to the limit, so that the noisiest steps, where words and conditions
        say what there will be, count in full (arXiv:2202.00512).
        """
        import torch

        noise = torch.randn(clean.shape, generator=rng, device=clean.device)
        alphas = self.alphas[timesteps]
        a, s = (level.sqrt().view(-1, 1, 1, 1) for level in (alphas, 1 - alphas))
        ratio = alphas / (1 - alphas)
        if self.plan.prediction == "v_prediction":
            target, natural = a * noise - s * clean, ratio + 1
        else:
            target, natural = noise, ratio
        most = self.plan.min_snr
        weight = natural.clamp(max=most) / natural if most else torch.ones_like(alphas)
        return NoisyBatch(a * clean + s * noise, target, weight, timesteps, rows)
