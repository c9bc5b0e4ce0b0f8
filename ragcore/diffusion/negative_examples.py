"""Two ways to "generate a class" that do not work, for teaching. Imports torch.

Plain gradient descent on pixels or on a latent towards a class of a real ImageNet classifier
finds what fools the classifier, not what shows the class: the loss goes to nothing and the
image is noise (Szegedy et al. 2013, arXiv:1312.6199). Interleaving the same gradient with
denoising steps keeps the image an image, but the classifier has never seen noise, so that
its gradient means little until the end; `ragcore.diffusion.guidance.ClassifierGuidance`, whose
classifier was trained on noise, works.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional

from ragcore.diffusion.networks import as_pixels
from ragcore.errors import UsageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ragcore.diffusion.model import LatentModel
    from ragcore.settings import Settings

_SIDE = 128  # what the classifier sees; more costs time and changes nothing here


@dataclass(frozen=True, slots=True)
class NegativeExample:
    """A result: RGB uint8 [h, w, 3], and the class's probability after every step."""

    image: NDArray[np.uint8] = field(repr=False)
    probabilities: tuple[float, ...]


class ImageNetClassifier:
    """EfficientNet-Lite0 with its 1,000 classes, as its package has it."""

    def __init__(self, settings: Settings) -> None:
        import timm
        from safetensors.torch import load_file

        from ragcore.weights import WeightStore

        folder = WeightStore(settings).ensure("efficientnet-lite0")
        network: Any = timm.create_model("tf_efficientnet_lite0", pretrained=False)
        network.load_state_dict(load_file(folder / "model.safetensors"))
        self._network = network.eval().requires_grad_(False)

    @property
    def names(self) -> Sequence[str]:
        """What the classes are called, in order."""
        import open_clip

        names: Sequence[str] = open_clip.IMAGENET_CLASSNAMES
        return names

    def row(self, name: str) -> int:
        """A class's number. Raises UsageError for an unknown name."""
        wanted = " ".join(name.lower().split())
        for row, known in enumerate(self.names):
            if known.lower() == wanted:
                return row
        like = [known for known in self.names if wanted and wanted in known.lower()][:5]
        hint = f": perhaps {', '.join(like)}" if like else " among ImageNet's 1,000"
        raise UsageError(f"there is no class {name!r}{hint}")

    def logs(self, images: Tensor) -> Tensor:
        """Log p(class | image) [n, 1000] of images [n, 3, h, w] in [-1, 1]."""
        scaled = functional.interpolate(images, size=(_SIDE, _SIDE), mode="bilinear")
        return functional.log_softmax(self._network(scaled), dim=1)


def descend_pixels(
    classifier: ImageNetClassifier, name: str, *, steps: int = 60, size: int = 64, seed: int = 0
) -> NegativeExample:
    """Gradient descent on the pixels themselves, from gray with a little noise."""
    row = classifier.row(name)
    noise = torch.randn((1, 3, size, size), generator=torch.Generator().manual_seed(seed))
    return _descend(classifier, row, 0.1 * noise, lambda pixels: pixels, steps, 0.05)


def descend_latent(
    classifier: ImageNetClassifier, model: LatentModel, name: str, *, steps: int = 60, seed: int = 0
) -> NegativeExample:
    """Gradient descent on a latent that the autoencoder decodes."""
    row = classifier.row(name)
    side = model.card.size // model.autoencoder.factor
    shape = (1, model.autoencoder.channels, side, side)
    noise = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    return _descend(classifier, row, 0.5 * noise, model.autoencoder.decode, steps, 0.1)


def _descend(
    classifier: ImageNetClassifier,
    row: int,
    start: Tensor,
    decode: Callable[[Tensor], Tensor],
    steps: int,
    rate: float,
) -> NegativeExample:
    if not 1 <= steps <= 1000:
        raise UsageError(f"steps must be from 1 to 1,000, not {steps}")
    point = start.clone().requires_grad_(True)
    optimizer = torch.optim.Adam([point], lr=rate)
    probabilities = []
    for _ in range(steps):
        loss = -classifier.logs(decode(point).clamp(-1, 1))[0, row]
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        probabilities.append(float((-loss).exp().detach()))
    with torch.no_grad():
        return NegativeExample(as_pixels(decode(point))[0], tuple(probabilities))


def interleave(
    classifier: ImageNetClassifier,
    model: LatentModel,
    name: str,
    *,
    steps: int = 25,
    rate: float = 0.3,
    seed: int = 0,
) -> NegativeExample:
    """Denoising steps without a prompt, and after each one a step down the same gradient.

    The classifier sees the clean image predicted so far; the gradient's length is made the
    same at every step, `rate` times that of the noise.
    """
    from ragcore.diffusion.sampling import DenoisingPlan, denoise

    row = classifier.row(name)
    scheduler = model.scheduler("ddim")
    scheduler.set_timesteps(steps)
    empty = model.embed_prompts([""])
    side = model.card.size // model.autoencoder.factor
    shape = (1, model.autoencoder.channels, side, side)
    pushed = _Pushed(classifier, model, row, rate)
    latents = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    for step in denoise(
        model.denoiser, scheduler, latents, scheduler.timesteps,
        DenoisingPlan(prompt=empty, empty=empty, guidance=[pushed]),
    ):  # fmt: skip
        latents = step.latents
    with torch.no_grad():
        return NegativeExample(
            as_pixels(model.autoencoder.decode(latents))[0], tuple(pushed.probabilities)
        )


class _Pushed:
    """The plain classifier in the place of guidance."""

    def __init__(
        self, classifier: ImageNetClassifier, model: LatentModel, row: int, rate: float
    ) -> None:
        self.classifier, self.model, self.row, self.rate = classifier, model, row, rate
        self.probabilities: list[float] = []

    def gradient(self, latents: Tensor, clean: Tensor, timestep: Tensor) -> Tensor:
        with torch.enable_grad():
            x = clean.detach().requires_grad_(True)
            logs = self.classifier.logs(self.model.autoencoder.decode(x).clamp(-1, 1))
            wanted = logs[0, self.row]
            (found,) = torch.autograd.grad(wanted, x)
        self.probabilities.append(float(wanted.exp().detach()))
        return self.rate * found / found.square().mean().sqrt().clamp_min(1e-8)
