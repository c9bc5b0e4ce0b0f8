"""The second stage of `ragcore tune diffusion`: noise and words to latents."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ragcore.tuning.diffusion_autoencoder import strip
from ragcore.tuning.diffusion_data import Icon, captions
from ragcore.tuning.diffusion_stage import Work

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Generator, Tensor

    from ragcore.diffusion.networks import PixelAutoencoder
    from ragcore.diffusion.words import TokenStates, Words
    from ragcore.tuning.diffusion_recipe import DenoiserStage

_TEXT_BATCH = 256
_SHOWN, _SHOWN_STEPS, _SHOWN_SCALE = 12, 20, 3.0


class Texts:
    """Token states of a fixed list of texts, float16 in memory, float32 when taken out."""

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

    def take(self, texts: Sequence[str]) -> Words:
        """Words of these texts, in their order."""
        from ragcore.diffusion.words import Words

        rows = [self.number[text] for text in texts]
        return Words(self._states[rows].float(), self._means[rows])


@dataclass(frozen=True, slots=True)
class Latents:
    """Standardised latents [n, c, h, w] with what their icons are called."""

    icons: tuple[Icon, ...]
    latents: Tensor
    seed: int

    def all_texts(self) -> list[str]:
        return [text for icon in self.icons for _, text in captions(icon, self.seed)]

    def full_text(self, row: int) -> str:
        """Name and style, as a person would ask for it."""
        return captions(self.icons[row], self.seed)[0][1]

    def drawn_text(self, row: int, dice: float) -> str:
        """One of the texts of a row, by their probabilities; `dice` is in [0, 1)."""
        for probability, text in captions(self.icons[row], self.seed):
            if dice < probability:
                return text
            dice -= probability
        return self.full_text(row)


@dataclass(frozen=True, slots=True)
class Batch:
    """Noisy latents with what the network should say about them, and each row's weight."""

    noisy: Tensor
    target: Tensor
    weight: Tensor
    timesteps: Tensor
    rows: list[int]


class Noising:
    """Makes training batches: rows, timesteps and noise from a generator."""

    def __init__(self, plan: DenoiserStage) -> None:
        from ragcore.diffusion.sampling import new_scheduler

        self.plan = plan
        self.scheduler = new_scheduler("ddim", prediction=plan.prediction, schedule=plan.schedule)

    def batch(self, data: Latents, size: int, dice: Generator) -> Batch:
        import torch

        rows = torch.randint(len(data.latents), (size,), generator=dice)
        # evenly spread timesteps: every batch sees all noise levels
        offset = torch.rand((), generator=dice)
        spread = (offset + torch.arange(size) / size) % 1
        timesteps = (spread * len(self.scheduler.alphas_cumprod)).long()
        return self.noised(data.latents[rows], timesteps, dice, rows.tolist())

    def noised(self, clean: Tensor, timesteps: Tensor, dice: Generator, rows: list[int]) -> Batch:
        """z = a x + s e, and v or e as target, weighed by min-SNR (arXiv:2303.09556)."""
        import torch

        noise = torch.randn(clean.shape, generator=dice)
        kept = self.scheduler.alphas_cumprod[timesteps]
        noisy = self.scheduler.add_noise(clean, noise, timesteps)
        ratio = kept / (1 - kept)
        limited = ratio.clamp(max=self.plan.min_snr) if self.plan.min_snr else ratio
        if self.plan.prediction == "v_prediction":
            target = self.scheduler.get_velocity(clean, noise, timesteps)
            weight = limited / (ratio + 1) if self.plan.min_snr else torch.ones_like(kept)
        else:
            target = noise
            weight = limited / ratio if self.plan.min_snr else torch.ones_like(kept)
        return Batch(noisy, target, weight, timesteps, rows)


def denoiser_work(
    network: Any,
    plan: DenoiserStage,
    train: Latents,
    held_out: Latents,
    texts: Texts,
    autoencoder: PixelAutoencoder,
) -> Work:
    """Predict v (or the noise) from a noisy latent and words; words left out now and then."""
    import torch

    noising = Noising(plan)

    def loss(dice: Generator) -> tuple[Tensor, Mapping[str, float]]:
        batch = noising.batch(train, plan.batch_size, dice)
        draws = torch.rand((2, plan.batch_size), generator=dice).tolist()
        chosen = [
            "" if left_out < plan.text_dropout else train.drawn_text(row, draw)
            for row, left_out, draw in zip(batch.rows, *draws, strict=True)
        ]
        return _loss(network, batch, texts.take(chosen)), {}

    fixed = torch.Generator().manual_seed(plan.batch_size)
    tests = [noising.batch(held_out, 128, fixed) for _ in range(2)]

    def evaluate() -> Mapping[str, float]:
        values = [
            float(_loss(network, b, texts.take([held_out.full_text(r) for r in b.rows])))
            for b in tests
        ]
        return {"held_out_loss": round(sum(values) / len(values), 5)}

    return Work(
        name="denoiser",
        network=network,
        loss=loss,
        evaluate=evaluate,
        picture=_pictures(network, plan, train, held_out, texts, autoencoder),
    )


def _loss(network: Any, batch: Batch, words: Words) -> Tensor:
    import torch

    predicted = network(
        batch.noisy.to(memory_format=torch.channels_last),
        batch.timesteps,
        **words.inputs(),
    ).sample
    error = (predicted - batch.target).square().mean(dim=(1, 2, 3))
    loss: Tensor = (error * batch.weight).mean()
    return loss


def _pictures(
    network: Any,
    plan: DenoiserStage,
    train: Latents,
    held_out: Latents,
    texts: Texts,
    autoencoder: PixelAutoencoder,
) -> Callable[[], Image]:
    """A strip: icons of the training set and held-out ones above, what their words give below."""
    import torch

    from ragcore.diffusion.networks import as_pixels
    from ragcore.diffusion.sampling import Plan, denoise, new_scheduler

    half = _SHOWN // 2
    shown = [(train, row * (len(train.icons) // half)) for row in range(half)]
    shown += [(held_out, row * (len(held_out.icons) // half)) for row in range(half)]

    def picture() -> Image:
        scheduler = new_scheduler("dpm++", prediction=plan.prediction, schedule=plan.schedule)
        scheduler.set_timesteps(_SHOWN_STEPS)
        real = torch.stack([data.latents[row] for data, row in shown])
        noise = torch.randn(real.shape, generator=torch.Generator().manual_seed(0))
        asked = Plan(
            prompt=texts.take([data.full_text(row) for data, row in shown]),
            empty=texts.take([""] * len(shown)),
            scale=_SHOWN_SCALE,
        )
        made = noise
        for step in denoise(network, scheduler, noise, scheduler.timesteps, asked):
            made = step.latents
        return strip(as_pixels(autoencoder.decode(real)), as_pixels(autoencoder.decode(made)))

    return picture
