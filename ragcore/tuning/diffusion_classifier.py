"""The third stage of `ragcore tune diffusion`: classes of noisy latents."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ragcore.tuning.diffusion_denoiser import Latents, Noising
from ragcore.tuning.diffusion_stage import Work

if TYPE_CHECKING:
    from torch import Generator, Tensor

    from ragcore.tuning.diffusion_recipe import ClassifierStage, DenoiserStage

_TESTED = {"clean": 0, "half": 500}


def classifier_work(
    network: Any,
    plan: ClassifierStage,
    noise_plan: DenoiserStage,
    train: tuple[Latents, list[int]],
    held_out: tuple[Latents, list[int]],
) -> Work:
    """Cross-entropy at every noise level; each set comes with the leaf of every row."""
    import torch
    from torch.nn import functional

    noising = Noising(noise_plan)
    data, labels = train[0], torch.tensor(train[1])

    def loss(dice: Generator) -> tuple[Tensor, Mapping[str, float]]:
        batch = noising.batch(data, plan.batch_size, dice)
        logits = network(batch.noisy, batch.timesteps)
        wanted = labels[batch.rows]
        right = (logits.argmax(dim=1) == wanted).float().mean()
        return functional.cross_entropy(logits, wanted), {"accuracy": float(right)}

    def evaluate() -> Mapping[str, float]:
        wanted = torch.tensor(held_out[1])
        groups = network.config.groups
        group_of = torch.tensor([groups.index(group) for group in groups])
        result = {}
        for name, timestep in _TESTED.items():
            clean, dice = held_out[0].latents, torch.Generator().manual_seed(timestep)
            steps = torch.full((len(clean),), timestep)
            batch = noising.noised(clean, steps, dice, [])
            found = network(batch.noisy, steps).argmax(dim=1)
            right = (group_of[found] == group_of[wanted]).float().mean()
            result[f"leaf_accuracy_{name}"] = round(float((found == wanted).float().mean()), 4)
            result[f"group_accuracy_{name}"] = round(float(right), 4)
        return result

    return Work(name="classifier", network=network, loss=loss, evaluate=evaluate)
