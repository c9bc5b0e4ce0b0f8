"""Many images of different prompts at once, as the image maker would make each alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ragcore.diffusion.model import LatentModel

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Pixels = NDArray[np.uint8]


def sample_batch(
    model: LatentModel,
    prompts: Sequence[str],
    *,
    seed: int,
    steps: int,
    scale: float,
    classes: tuple[Sequence[str], float] | None = None,
    conditions: Mapping[str, Pixels] | None = None,
) -> Pixels:
    """RGB uint8 [n, h, w, 3] of different prompts at once; number i has the seed `seed + i`.

    `classes` are a class for each image with the guidance scale, `conditions` by kind.
    """
    import torch

    from ragcore.diffusion.guidance import ClassifierGuidance
    from ragcore.diffusion.networks import as_pixels
    from ragcore.diffusion.sampling import ControlInput, DenoisingPlan, denoise

    scheduler = model.scheduler("dpm++")
    scheduler.set_timesteps(steps)
    guidance = []
    if classes is not None and classes[1]:
        rows = [model.classifier.class_rows(name) for name in classes[0]]
        guidance.append(ClassifierGuidance(model.classifier, rows, classes[1]))
    controls = []
    for kind, images in (conditions or {}).items():
        condition = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
        controls.append(ControlInput(model.controlnet(kind), condition.to(model.device)))
    plan = DenoisingPlan(
        prompt=model.embed_prompts(prompts),
        empty=model.embed_prompts([""] * len(prompts)),
        scale=scale,
        guidance=guidance,
        controls=controls,
    )
    shape = latent_shape(model)
    rng = [torch.Generator().manual_seed(seed + number) for number in range(len(prompts))]
    latents = torch.stack([torch.randn(shape, generator=one) for one in rng]).to(model.device)
    for step in denoise(model.denoiser, scheduler, latents, scheduler.timesteps, plan):
        latents = step.latents
    with torch.no_grad():
        return as_pixels(model.autoencoder.decode(latents))


def latent_shape(model: LatentModel) -> tuple[int, int, int]:
    """Channels, height and width of the latents of one image."""
    side = model.card.size // model.autoencoder.factor
    return model.autoencoder.channels, side, side


def rebuilt(model: LatentModel, images: Pixels) -> Pixels:
    """Images through the autoencoder and back: the best that its latents can show."""
    import torch

    from ragcore.diffusion.networks import as_pixels, as_tensor

    with torch.no_grad():
        latents = model.autoencoder.encode(as_tensor(images).to(model.device))
        return as_pixels(model.autoencoder.decode(latents))


def save_sheet(path: Path, images: Pixels, columns: int) -> None:
    """A sheet of images [n, h, w, 3], `columns` in a line."""
    import numpy as np
    from PIL import Image

    count = -len(images) % columns
    blank = np.full((count, *images.shape[1:]), 255, np.uint8)
    cells = np.pad(np.concatenate([images, blank]), ((0, 0), (1, 1), (1, 1), (0, 0)))
    lines = [
        np.concatenate(list(cells[at : at + columns]), 1) for at in range(0, len(cells), columns)
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.concatenate(lines, 0)).save(path)
