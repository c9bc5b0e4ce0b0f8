"""What the image generator asks of a diffusion model, and what a model's networks are kept in."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, cast, runtime_checkable

from ragcore.models import module_bytes

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from ragcore.diffusion.classifier import NoisyClassifier
    from ragcore.diffusion.model import ModelCard
    from ragcore.diffusion.prompt_embeddings import PromptEmbeddings

T = TypeVar("T")


class Autoencoder(Protocol):
    """Images to latents and back."""

    @property
    def factor(self) -> int:
        """Pixels a side for one place of a latent."""
        ...

    @property
    def channels(self) -> int: ...

    def encode(self, pixels: Tensor) -> Tensor:
        """Latents [n, c, h / factor, w / factor] of images [n, 3, h, w] in [-1, 1]."""
        ...

    def decode(self, latents: Tensor) -> Tensor:
        """Images [n, 3, h, w], about [-1, 1]."""
        ...


class Diffuser(Protocol):
    """A latent diffusion model: the contract of the group `ragcore.diffusers`.

    Networks load when they are first asked for. `ragcore.diffusion.Imaginer` runs the denoising
    loop over it, with guidance and ControlNets.
    """

    @property
    def card(self) -> ModelCard:
        """Its name, the side of its images in pixels, and the styles that it knows."""
        ...

    @property
    def device(self) -> str: ...

    @property
    def dtype(self) -> torch.dtype: ...

    @property
    def size_step(self) -> int:
        """Sides of images are multiples of this many pixels."""
        ...

    @property
    def control_kinds(self) -> list[str]:
        """The kinds of condition that this model has a ControlNet for."""
        ...

    @property
    def autoencoder(self) -> Autoencoder: ...

    @property
    def denoiser(self) -> Any:
        """A network as diffusers' UNet2DConditionModel."""
        ...

    @property
    def classifier(self) -> NoisyClassifier:
        """For class guidance. Raises UsageError where there is none."""
        ...

    def embed_prompts(self, prompts: Sequence[str], size: int = 0) -> PromptEmbeddings:
        """The denoiser's conditions for prompts, and for images of `size` pixels a side."""
        ...

    def scheduler(self, sampler: str) -> Any:
        """A fresh scheduler of diffusers. Raises UsageError for an unknown sampler."""
        ...

    def controlnet(self, kind: str) -> Any:
        """Raises UsageError if there is none for that kind of condition."""
        ...

    def in_use(self) -> AbstractContextManager[Any]:
        """Within the block the networks stay in memory. Raises ModelUnavailable."""
        ...


@runtime_checkable
class LoraDiffuser(Protocol):
    """A diffusion model that takes LoRA files."""

    exclusive: threading.Lock  # held while an image is made: LoRA weights sit in the denoiser

    def set_loras(self, wanted: Sequence[tuple[Path, float]]) -> None:
        """Put these LoRA files on with their weights, and take all others off.

        Raises UsageError for a file that does not fit.
        """
        ...


class Networks:
    """The networks of one model by name, each loaded once, when it is first needed."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._loaded: dict[str, tuple[Any, Callable[[Any], int]]] = {}

    def get(
        self, name: str, load: Callable[[], T], measure: Callable[[T], int] = module_bytes
    ) -> T:
        """The network called `name`; `measure` counts its bytes."""
        with self._lock:
            if name not in self._loaded:
                self._loaded[name] = (load(), measure)
            return cast("T", self._loaded[name][0])

    def bytes(self) -> int:
        return sum(measure(network) for network, measure in list(self._loaded.values()))
