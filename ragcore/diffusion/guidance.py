"""Guidance: gradients at a noisy latent. Imports torch."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional

if TYPE_CHECKING:
    from ragcore.diffusion.classifier import NoisyClassifier

Decoder = Callable[[Tensor], Tensor]


class ClassifierGuidance:
    """Classifier guidance (Dhariwal and Nichol 2021, arXiv:2105.05233).

    The classifier has learned on noisy latents, so that its gradient means something at every
    step; `rows` are the leaves that are wanted, one list for all images or one for each.
    """

    def __init__(self, classifier: NoisyClassifier, rows: list[list[int]], scale: float) -> None:
        self.classifier, self.scale = classifier, scale
        self.others = torch.ones(len(rows), len(classifier.config.leaves), dtype=torch.bool)
        for number, wanted in enumerate(rows):
            self.others[number, wanted] = False

    def gradient(self, latents: Tensor, clean: Tensor, timestep: Tensor) -> Tensor:
        """Scale x the gradient of log p(class | latents, timestep)."""
        with torch.enable_grad():
            z = latents.detach().float().requires_grad_(True)  # on a GPU they are halves
            logs = functional.log_softmax(self.classifier(z, timestep), dim=1)
            without = logs.masked_fill(self.others.to(logs.device), -torch.inf)
            wanted = torch.logsumexp(without, dim=1).sum()
            (found,) = torch.autograd.grad(wanted, z)
        return self.scale * found.to(latents.dtype)


class ClipGuidance:
    """CLIP guidance on the predicted clean image, seen through augmented crops.

    One view lets the gradient draw what only CLIP sees; several crops at random places and
    sizes have less in common than the thing itself. The gradient is taken at the clean latent,
    and carried to the noisy one as if latents were standard normal, where the expected clean
    latent is a z: so it is multiplied by a = sqrt(alphas_cumprod).
    """

    def __init__(
        self,
        clip: ClipView,
        text: Tensor,
        decode: Decoder,
        signal: Tensor,
        scale: float,
        *,
        crops: int = 4,
        seed: int = 0,
    ) -> None:
        self.clip, self.text, self.decode = clip, text, decode
        self.signal, self.scale, self.crops = signal, scale, crops
        self._rng = torch.Generator().manual_seed(seed % 2**63)

    def gradient(self, latents: Tensor, clean: Tensor, timestep: Tensor) -> Tensor:
        """Scale x the gradient of the cosine with the text over CLIP's temperature."""
        with torch.enable_grad():
            x = clean.detach().requires_grad_(True)
            pixels = (self.decode(x).clamp(-1.2, 1.2) + 1) / 2
            views = torch.cat([self._crop(pixels) for _ in range(self.crops)])
            likeness = (self.clip(views) @ self.text.to(views.device)) * self.clip.logit_scale
            (found,) = torch.autograd.grad(likeness.sum() / self.crops, x)
        a = self.signal.to(found)[timestep].view(-1, 1, 1, 1)
        return self.scale * a * found

    def _crop(self, pixels: Tensor) -> Tensor:
        """A random square of 70 to 100 % of the side, perhaps mirrored, at CLIP's size."""
        draw = torch.rand(4, generator=self._rng).tolist()
        height, width = pixels.shape[-2:]
        share = 0.7 + 0.3 * draw[0]
        rows, columns = round(share * height), round(share * width)
        top, left = round(draw[1] * (height - rows)), round(draw[2] * (width - columns))
        part = pixels[..., top : top + rows, left : left + columns]
        if draw[3] < 0.5:
            part = part.flip(-1)
        return functional.interpolate(
            part, size=self.clip.size, mode="bilinear", align_corners=False
        )


class ClipView:
    """An open_clip model's image tower as a function that gradients go through."""

    def __init__(self, model: Any, *, size: tuple[int, int], logit_scale: float) -> None:
        self.model, self.size, self.logit_scale = model, size, logit_scale
        visual = model.visual
        mean = getattr(visual, "image_mean", None) or (0.48145466, 0.4578275, 0.40821073)
        deviation = getattr(visual, "image_std", None) or (0.26862954, 0.26130258, 0.27577711)
        self.mean = torch.tensor(mean).view(1, 3, 1, 1)
        self.deviation = torch.tensor(deviation).view(1, 3, 1, 1)

    def __call__(self, images: Tensor) -> Tensor:
        """Unit vectors [n, d] of images [n, 3, h, w] in [0, 1]."""
        pixels = (images - self.mean.to(images)) / self.deviation.to(images)
        weights = next(self.model.parameters(), pixels)
        return functional.normalize(self.model.encode_image(pixels.to(weights)).float(), dim=-1)
