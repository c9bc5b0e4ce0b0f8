"""The denoising loop: schedulers, classifier-free guidance, guidance and controls. Imports torch.

All formulas are in variance-preserving terms: a noisy latent is z = a x + s e with a² + s² = 1,
a² being `alphas_cumprod` of the schedule. The networks predict e, or v = a e - s x (Salimans and
Ho 2022, arXiv:2202.00512).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import torch
from diffusers import DDIMScheduler, DPMSolverMultistepScheduler, EulerDiscreteScheduler
from torch import Tensor

from ragcore.diffusion.prompt_embeddings import PromptEmbeddings, joined
from ragcore.diffusion.request import SAMPLERS
from ragcore.errors import Cancelled, UsageError

if TYPE_CHECKING:
    from ragcore.types import CancelToken

TRAIN_STEPS = 1000
# The farthest that all guidance together moves the predicted clean latent in one step, as a root
# mean square. Standardised latents have 1, so that a larger push only leaves what was learned.
MOST_PUSH = 1.0


def new_scheduler(sampler: str, *, prediction: str, schedule: str) -> Any:
    """One of `SAMPLERS` for a network's kind of prediction and noise schedule.

    Timesteps are spaced so that sampling starts at pure noise ("trailing", Lin et al. 2023,
    arXiv:2305.08891). Raises UsageError for another sampler.
    """
    common: dict[str, Any] = {
        "num_train_timesteps": TRAIN_STEPS,
        "beta_schedule": schedule,
        "prediction_type": prediction,
        "timestep_spacing": "trailing",
    }
    if schedule != "squaredcos_cap_v2":
        common |= {"beta_start": 0.00085, "beta_end": 0.012}
    if sampler == "ddim":
        return DDIMScheduler(**common, clip_sample=False, set_alpha_to_one=True)
    if sampler == "dpm++":
        # the cosine schedule's first steps have no finite log-SNR worth integrating over
        return DPMSolverMultistepScheduler(**common, lambda_min_clipped=-5.1)
    if sampler == "euler":
        return EulerDiscreteScheduler(**common)
    raise UsageError(f"unknown sampler {sampler!r}: use {', '.join(SAMPLERS)}")


class Guidance(Protocol):
    """Anything that gives a gradient at a noisy latent."""

    def gradient(self, latents: Tensor, clean: Tensor, timestep: Tensor) -> Tensor:
        """The gradient [n, c, h, w] of log p(what is wanted | latents), times its scale.

        `latents` is z in variance-preserving terms, `clean` the clean latent predicted from it.
        """


@dataclass(frozen=True, slots=True)
class ControlInput:
    """A ControlNet with its condition [n, 3, h, w] in [0, 1], and when and how much it counts.

    `start` and `end` are fractions of the sampling steps.
    """

    network: Any
    condition: Tensor
    weight: float = 1.0
    start: float = 0.0
    end: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class DenoisingPlan:
    """What one run of the loop does. `prompt` and `empty` have one row for each image.

    `scale` is that of classifier-free guidance (Ho and Salimans 2022, arXiv:2207.12598): 1 takes
    the prompt as it is, 0 ignores it. With `guess` the controls work on the prompted half alone
    and their deeper outputs count more (Zhang et al. 2023, arXiv:2302.05543).
    """

    prompt: PromptEmbeddings
    empty: PromptEmbeddings
    scale: float = 1.0
    guidance: Sequence[Guidance] = ()
    controls: Sequence[ControlInput] = ()
    guess: bool = False
    cancel: CancelToken | None = None


@dataclass(frozen=True, slots=True)
class Denoised:
    """After one step: its number from 1, the latents and the clean latents predicted."""

    number: int
    total: int
    latents: Tensor = field(repr=False)
    clean: Tensor = field(repr=False)


def denoise(
    denoiser: Any, scheduler: Any, latents: Tensor, timesteps: Sequence[Any], plan: DenoisingPlan
) -> Iterator[Denoised]:
    """Go from `latents` (as the scheduler wants them) through `timesteps`, yielding each step.

    Raises Cancelled between two steps if the plan's token was set.
    """
    predict = _Predictor(denoiser, scheduler, plan, len(timesteps))
    for number, timestep in enumerate(timesteps, 1):
        if plan.cancel is not None and plan.cancel.cancelled:
            raise Cancelled(f"cancelled after {number - 1} of {len(timesteps)} steps")
        with torch.no_grad():
            output, clean = predict(latents, timestep, number)
            latents = scheduler.step(output, timestep, latents).prev_sample
        yield Denoised(number, len(timesteps), latents, clean)


class _Predictor:
    """One network output per step: prompt, no prompt, controls and guidance put together."""

    def __init__(self, denoiser: Any, scheduler: Any, plan: DenoisingPlan, total: int) -> None:
        self.denoiser, self.scheduler, self.plan, self.total = denoiser, scheduler, plan, total
        self.double = plan.scale not in (0.0, 1.0)
        # both halves in one call: twice the batch costs less than two calls
        self.embeddings = joined(plan.empty, plan.prompt) if self.double else plan.prompt
        if plan.scale == 0.0:
            self.embeddings = plan.empty

    def __call__(self, latents: Tensor, timestep: Any, number: int) -> tuple[Tensor, Tensor]:
        """(what the scheduler's step takes, the clean latents it means)."""
        model_input = self.scheduler.scale_model_input(latents, timestep)
        batch = torch.cat([model_input, model_input]) if self.double else model_input
        output = self._network(batch, timestep, (number - 1) / max(1, self.total - 1))
        if self.double:
            without, with_prompt = output.chunk(2)
            output = without + self.plan.scale * (with_prompt - without)
        signal, noise = self._levels(timestep, latents)
        clean = self._clean(output, model_input, signal, noise)
        if self.plan.guidance and float(signal) > 1e-3:
            clean = clean + self._push(model_input, clean, timestep, signal, noise)
            output = self._output(clean, model_input, signal, noise)
        return output, clean

    def _network(self, batch: Tensor, timestep: Any, progress: float) -> Tensor:
        embeddings = self.embeddings
        extra = self._controls(batch, timestep, progress)
        predicted: Tensor = self.denoiser(
            batch,
            timestep,
            **embeddings.inputs(),
            **extra,
        ).sample
        return predicted

    def _controls(self, batch: Tensor, timestep: Any, progress: float) -> dict[str, Any]:
        """Added outputs of all ControlNets that are on at this step."""
        plan, embeddings = self.plan, self.embeddings
        on = [c for c in plan.controls if c.start <= progress <= c.end and c.weight]
        if not on:
            return {}
        half = plan.guess and self.double
        if half:
            batch, embeddings = batch.chunk(2)[1], plan.prompt
        down: list[Tensor] = []
        middle: Tensor | None = None
        for control in on:
            condition = control.condition
            if len(condition) != len(batch):
                condition = torch.cat([condition, condition])
            more, more_middle = control.network(
                batch,
                timestep,
                **embeddings.inputs(),
                controlnet_cond=condition,
                conditioning_scale=control.weight,
                guess_mode=plan.guess,
                return_dict=False,
            )
            down = [a + b for a, b in zip(down, more, strict=True)] if down else list(more)
            middle = more_middle if middle is None else middle + more_middle
        assert middle is not None
        if half:
            down = [torch.cat([torch.zeros_like(d), d]) for d in down]
            middle = torch.cat([torch.zeros_like(middle), middle])
        return {"down_block_additional_residuals": down, "mid_block_additional_residual": middle}

    def _levels(self, timestep: Any, like: Tensor) -> tuple[Tensor, Tensor]:
        """(a, s) of the module's formulas."""
        alpha = self.scheduler.alphas_cumprod[int(timestep)].to(like)
        return alpha.sqrt(), (1 - alpha).sqrt()

    def _clean(self, output: Tensor, z: Tensor, signal: Tensor, noise: Tensor) -> Tensor:
        if self.scheduler.config.prediction_type == "v_prediction":
            return signal * z - noise * output
        return (z - noise * output) / signal.clamp_min(1e-3)

    def _output(self, clean: Tensor, z: Tensor, signal: Tensor, noise: Tensor) -> Tensor:
        epsilon = (z - signal * clean) / noise.clamp_min(1e-3)
        if self.scheduler.config.prediction_type == "v_prediction":
            return signal * epsilon - noise * clean
        return epsilon

    def _push(
        self, z: Tensor, clean: Tensor, timestep: Any, signal: Tensor, noise: Tensor
    ) -> Tensor:
        """How far the guidance moves the clean latent: s² / a times their gradients.

        The same as adding -s g to the predicted noise (Dhariwal and Nichol 2021,
        arXiv:2105.05233, algorithm 2), with a limit.
        """
        steps = torch.full((len(z),), int(timestep), device=z.device)
        total = sum(one.gradient(z, clean, steps) for one in self.plan.guidance)
        push = torch.nan_to_num(noise**2 / signal * total, posinf=0.0, neginf=0.0)
        size = push.square().mean(dim=(1, 2, 3), keepdim=True).sqrt()
        return push * (MOST_PUSH / size.clamp_min(MOST_PUSH))
