"""Latents of whole images: two can be interpolated, and one edited along a probe's direction.

A probe predicts an attribute from a latent by a linear function; moving a latent along the
direction in which latents differ when the attribute does edits the image (Haufe et al. 2014,
doi:10.1016/j.neuroimage.2013.10.067). `recipes/icon_probes.py` makes the probes of a model.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ragcore.diffusion.model import LatentModel
from ragcore.errors import ModelUnavailable, UsageError
from ragcore.files import atomic_write

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Pixels = NDArray[np.uint8]
    Latents = NDArray[np.float32]

PROBES = "probes.safetensors"
MOST = 10.0  # standard deviations that an attribute may be moved


@dataclass(frozen=True, slots=True)
class Probe:
    """One attribute: `latents @ weight + bias` reads it.

    `direction` is how latents change with one standard deviation `deviation` of it. `r2` was
    measured on images not fitted on.
    """

    name: str
    weight: Latents  # [d]
    direction: Latents  # [d]
    bias: float
    deviation: float
    r2: float

    def read(self, latents: Latents) -> Latents:
        """The attribute [n] of latents [n, d]."""
        values: Latents = latents @ self.weight + self.bias
        return values


def save_probes(probes: Mapping[str, Probe], path: Path) -> None:
    """Write weights in float16, the rest as metadata."""
    from safetensors.numpy import save_file

    tensors: dict[str, Any] = {}
    plain = {}
    for name, probe in probes.items():
        tensors[f"{name}.weight"] = probe.weight.astype("float16")
        tensors[f"{name}.direction"] = probe.direction.astype("float16")
        plain[name] = {"bias": probe.bias, "deviation": probe.deviation, "r2": probe.r2}
    with atomic_write(path) as part:
        save_file(tensors, part, metadata={"probes": json.dumps(plain)})


def load_probes(folder: Path) -> dict[str, Probe]:
    """Probes of a model's folder by attribute; none if it has none.

    Raises ModelUnavailable if their file is broken.
    """
    from safetensors import SafetensorError, safe_open

    path = folder / PROBES
    if not path.is_file():
        return {}
    try:
        with safe_open(path, "numpy") as file:
            plain = json.loads(file.metadata()["probes"])
            return {
                name: Probe(
                    name,
                    file.get_tensor(f"{name}.weight").astype("float32"),
                    file.get_tensor(f"{name}.direction").astype("float32"),
                    float(values["bias"]),
                    float(values["deviation"]),
                    float(values["r2"]),
                )
                for name, values in plain.items()
            }
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise ModelUnavailable(f"{path} holds no probes: {error}") from error


def encode(model: LatentModel, pixels: Pixels) -> Latents:
    """Latents float32 [n, d] of RGB uint8 [n, h, w, 3]."""
    import numpy as np
    import torch

    from ragcore.diffusion.networks import as_tensor

    parts = []
    with torch.inference_mode():
        for start in range(0, len(pixels), 64):
            batch = as_tensor(pixels[start : start + 64]).to(model.device)
            parts.append(model.autoencoder.encode(batch).flatten(1).float().cpu().numpy())
    latents: Latents = np.concatenate(parts)
    return latents


def decode(model: LatentModel, latents: Latents) -> Pixels:
    """Images RGB uint8 [n, s, s, 3] of latents [n, d], `s` being the model's size."""
    import torch

    from ragcore.diffusion.networks import as_pixels

    side = model.card.size // model.autoencoder.factor
    tensor = torch.from_numpy(latents).view(len(latents), -1, side, side).to(model.device)
    with torch.inference_mode():
        return as_pixels(model.autoencoder.decode(tensor).cpu())


def interpolate(model: LatentModel, first: Pixels, second: Pixels, steps: int) -> Pixels:
    """`steps` images [steps, s, s, 3] on the straight line between two latents, ends included.

    Raises UsageError outside 2 to 64 steps.
    """
    import numpy as np

    if not 2 <= steps <= 64:
        raise UsageError("between two latents there are 2 to 64 steps")
    one, other = encode(model, np.stack([first, second]))
    share = np.linspace(0, 1, steps, dtype=np.float32)[:, None]
    return decode(model, (1 - share) * one + share * other)


def edit(
    model: LatentModel, image: Pixels, changes: Mapping[str, float]
) -> tuple[Pixels, dict[str, float]]:
    """The image [s, s, 3] after moving attributes, and what the probes predicted before.

    Attributes are moved by so many standard deviations.

    Raises UsageError for an attribute without a probe, or a change beyond `MOST`.
    """
    import numpy as np

    probes = load_probes(model.folder)
    for name, change in changes.items():
        if name not in probes:
            known = ", ".join(probes) or "none: recipes/icon_probes.py makes some"
            raise UsageError(f"no probe {name!r}: the model has {known}")
        if not abs(change) <= MOST:
            raise UsageError(f"{name} can be moved by {MOST:g} standard deviations at most")
    latent = encode(model, image[None])
    read = {name: float(probe.read(latent)[0]) for name, probe in probes.items()}
    moved = latent + sum((change * probes[name].direction for name, change in changes.items()), 0.0)
    return decode(model, moved.astype(np.float32))[0], read
