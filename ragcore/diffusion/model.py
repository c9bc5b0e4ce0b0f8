"""A latent diffusion model's folder: what belongs to all of its networks, and loading them."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from ragcore.diffusion.base import Networks
from ragcore.errors import ModelUnavailable, UsageError
from ragcore.extras import require_extra
from ragcore.files import atomic_write
from ragcore.models import ModelMemory, Weights, folder_bytes, module_bytes

if TYPE_CHECKING:
    import torch

    from ragcore.diffusion.classifier import NoisyClassifier
    from ragcore.diffusion.networks import PixelAutoencoder
    from ragcore.diffusion.prompt_embeddings import PromptEmbeddings, TokenStates

T = TypeVar("T")
CARD = "model.json"


@dataclass(frozen=True, slots=True)
class ModelCard:
    """`size` is the side of the training images in pixels; `styles` are words for prompts.

    `data` says which part of a data set was trained on, so that an evaluation knows what the
    model has never seen: the recipe's `data` without its folder, and its `seed`.
    """

    name: str
    size: int
    styles: tuple[str, ...]
    text_encoder: str
    data: Mapping[str, Any] = field(default_factory=dict)


def write_card(card: ModelCard, folder: Path) -> None:
    """Write a model's card into its folder."""
    text = json.dumps(dataclasses.asdict(card), ensure_ascii=False, indent=2)
    with atomic_write(folder / CARD) as part:
        part.write_text(f"{text}\n", "utf-8")


def read_card(folder: Path) -> ModelCard:
    """Raises ModelUnavailable if the folder is no such model."""
    try:
        values = json.loads((folder / CARD).read_text("utf-8"))
        return ModelCard(
            str(values["name"]),
            int(values["size"]),
            tuple(map(str, values["styles"])),
            str(values["text_encoder"]),
            dict(values.get("data", {})),
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelUnavailable(f"{folder} is no diffusion model: {CARD} cannot be read") from error


class LatentModel:
    """The networks of a folder, each loaded when it is first needed. Safe for several threads.

    `text_folder` holds the text encoder that the card names.
    """

    def __init__(
        self,
        folder: Path,
        text_folder: Path,
        *,
        device: str = "cpu",
        memory: ModelMemory | None = None,
    ) -> None:
        require_extra("diffusion", "generated images")
        self.folder, self.device = folder, device
        self.card = read_card(folder)
        self._text_folder = text_folder
        self.weights: Weights[Networks] = (memory or ModelMemory()).weights(
            Networks,
            part="diffusion",
            name=self.card.name,
            device=device,
            precision="float32",
            size=lambda: folder_bytes(folder, 4),
            measure=Networks.bytes,
        )

    @property
    def dtype(self) -> torch.dtype:
        import torch

        return torch.float32

    def in_use(self) -> AbstractContextManager[Networks]:
        return self.weights.lease()

    @property
    def autoencoder(self) -> PixelAutoencoder:
        from ragcore.diffusion.networks import load_autoencoder

        return self._network("autoencoder", lambda: load_autoencoder(self.folder, self.device))

    @property
    def denoiser(self) -> Any:
        from ragcore.diffusion.networks import load_denoiser

        return self._network("denoiser", lambda: load_denoiser(self.folder, self.device))

    @property
    def classifier(self) -> NoisyClassifier:
        from ragcore.diffusion.classifier import load_classifier

        return self._network("classifier", lambda: load_classifier(self.folder, self.device))

    @property
    def token_states(self) -> TokenStates:
        from ragcore.diffusion.prompt_embeddings import TokenStates

        def load() -> TokenStates:
            return TokenStates(self._text_folder, device=self.device)

        return self._network("token states", load, TokenStates.memory)

    @cached_property
    def noise(self) -> dict[str, Any]:
        """What the denoiser was trained with: `prediction` and `schedule`."""
        try:
            values = json.loads(
                (self.folder / "scheduler" / "scheduler_config.json").read_text("utf-8")
            )
            return {"prediction": values["prediction_type"], "schedule": values["beta_schedule"]}
        except (OSError, ValueError, KeyError) as error:
            raise ModelUnavailable(f"{self.folder}: the scheduler's file cannot be read") from error

    def embed_prompts(self, prompts: Sequence[str], size: int = 0) -> PromptEmbeddings:
        """Embeddings of prompts; the size makes no difference here."""
        return self.token_states(prompts)

    def scheduler(self, sampler: str) -> Any:
        """A fresh scheduler. Raises UsageError for an unknown sampler."""
        from ragcore.diffusion.sampling import new_scheduler

        return new_scheduler(sampler, **self.noise)

    @property
    def size_step(self) -> int:
        """Sides of images are multiples of this: every network halves them so often."""
        levels = len(self.denoiser.config.block_out_channels) - 1
        return int(self.autoencoder.factor * 2**levels)

    @property
    def control_kinds(self) -> list[str]:
        """The kinds of condition that this model has a ControlNet for."""
        found = (self.folder / "controlnets").glob("*/config.json")
        return sorted(path.parent.name for path in found)

    def controlnet(self, kind: str) -> Any:
        """Raises UsageError if there is none for that kind of condition."""
        if kind not in self.control_kinds:
            known = ", ".join(self.control_kinds) or "none"
            raise UsageError(f"{self.card.name} has no ControlNet for {kind!r}: it has {known}")
        from ragcore.diffusion.networks import load_controlnet

        def load() -> Any:
            return load_controlnet(self.folder, kind, self.device)

        return self._network(f"controlnet {kind}", load)

    def _network(
        self, name: str, load: Callable[[], T], measure: Callable[[T], int] = module_bytes
    ) -> T:
        with self.weights.lease() as networks:
            return networks.get(name, load, measure)
