"""The third stage of `ragcore tune diffusion`: classes of noisy latents."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ragcore.tuning.diffusion.noise import Latents, Noising
from ragcore.tuning.diffusion.stage import StageTask

if TYPE_CHECKING:
    from torch import Generator, Tensor

    from ragcore.tuning.diffusion.hardware import Hardware
    from ragcore.tuning.diffusion.recipe import ClassifierStage, DenoiserStage

_TESTED = {"clean": 0, "half": 500}
_BATCH = 512


def classifier_task(
    network: Any,
    plan: ClassifierStage,
    noise_plan: DenoiserStage,
    train: tuple[Latents, list[int]],
    held_out: tuple[Latents, list[int]],
    hardware: Hardware,
) -> StageTask:
    """Cross-entropy at every noise level; each set comes with the leaf of every row.

    A few thousand icons are soon known by heart: they are moved about, and the weights that do
    best on held-out icons are kept.
    """
    import torch
    from torch.nn import functional

    noising = Noising(noise_plan, hardware.device)
    data, labels = train[0], torch.tensor(train[1], device=hardware.device)
    wanted = torch.tensor(held_out[1], device=hardware.device)

    def loss(forward: Any, rng: Generator) -> tuple[Tensor, Mapping[str, Tensor]]:
        size = plan.batch_size
        rows = torch.randint(len(data.latents), (size,), generator=rng, device=labels.device)
        clean = moved(data.latents[rows], plan.shift, rng)
        batch = noising.noised(clean, noising.timesteps(size, rng), rng, rows)
        logits = forward(batch.noisy, batch.timesteps).float()
        right = (logits.argmax(dim=1) == labels[rows]).float().mean()
        return functional.cross_entropy(logits, labels[rows]), {"accuracy": right}

    def evaluate() -> Mapping[str, float]:
        group_of = _group_of(network, wanted)
        result = {}
        for name, timestep in _TESTED.items():
            found = _found(network, noising, held_out[0], timestep, hardware)
            right = (group_of[found] == group_of[wanted]).float().mean()
            result[f"leaf_accuracy_{name}"] = round(float((found == wanted).float().mean()), 4)
            result[f"group_accuracy_{name}"] = round(float(right), 4)
        result["accuracy_held_out"] = round(sum(result.values()) / len(result), 4)
        return result

    return StageTask(
        name="classifier",
        network=network,
        loss=loss,
        evaluate=evaluate,
        best="accuracy_held_out",
    )


def moved(latents: Tensor, most: int, rng: Generator) -> Tensor:
    """Latents [n, c, h, w], each moved by up to `most` positions; borders repeat themselves."""
    import torch
    from torch.nn import functional

    if not most:
        return latents
    count, channels, height, width = latents.shape
    device = latents.device
    padded = functional.pad(latents, (most,) * 4, mode="replicate")
    begin = torch.randint(2 * most + 1, (2, count, 1), generator=rng, device=device)
    down = (begin[0] + torch.arange(height, device=device)).view(count, 1, height, 1)
    across = (begin[1] + torch.arange(width, device=device)).view(count, 1, 1, width)
    taken = padded.gather(2, down.expand(count, channels, height, padded.shape[3]))
    return taken.gather(3, across.expand(count, channels, height, width))


def _group_of(network: Any, like: Tensor) -> Tensor:
    """The first leaf of each leaf's group, which stands for the group."""
    import torch

    groups = network.config.groups
    return torch.tensor([groups.index(group) for group in groups], device=like.device)


def _found(
    network: Any, noising: Noising, data: Latents, timestep: int, hardware: Hardware
) -> Tensor:
    """The leaf that each row is taken for at one noise level, always with the same noise."""
    import torch

    rng = hardware.rng(timestep)
    found = []
    for clean in torch.split(data.latents, _BATCH):
        steps = torch.full((len(clean),), timestep, device=clean.device)
        batch = noising.noised(clean, steps, rng, steps)
        found.append(network(batch.noisy, steps).argmax(dim=1))
    return torch.cat(found)
