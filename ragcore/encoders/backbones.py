"""Towers that a classifier stands on: images or texts to unit vectors, frozen or to be trained.

A backbone is the profile's own encoder ("profile": its vectors are those of the catalog), or
any open_clip, timm, transformers or sentence-transformers model by name or folder.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ragcore.encoders.clip_models import CONFIG_FILE, STARTER, _fingerprint, find_clip, load_clip
from ragcore.encoders.options import first_line, valid_text
from ragcore.errors import ModelUnavailable, UsageError

if TYPE_CHECKING:
    from torch import Tensor, nn

    from ragcore.models import Models
    from ragcore.settings import Settings
    from ragcore.types import FloatArray

Modality = Literal["image", "text"]
PROFILE = "profile"
_TEXTS, _IMAGES = 64, 16  # items of one step without gradients on a CPU


@dataclass(frozen=True, slots=True)
class Tower:
    """A model of one's own copy, in float32, whose weights may be changed.

    `prepare` makes a batch of images (PIL, RGB) or texts into inputs on the CPU; `forward`
    gives unit vectors [n, d] of inputs on the module's device, with gradients.
    """

    module: nn.Module
    prepare: Callable[[Sequence[Any]], Any]
    forward: Callable[[Any], Tensor]
    dimension: int

    def encode(self, items: Sequence[Any], device: str = "cpu") -> FloatArray:
        """Unit vectors float32 [n, d], without gradients."""
        import numpy as np
        import torch

        self.module.eval()
        step = _IMAGES if items and not isinstance(items[0], str) else _TEXTS
        parts = [np.zeros((0, self.dimension), np.float32)]
        with torch.inference_mode():
            for start in range(0, len(items), step):
                inputs = to_device(self.prepare(items[start : start + step]), device)
                parts.append(self.forward(inputs).float().cpu().numpy())
        return np.concatenate(parts)


class Backbone:
    """A tower by name. Light to make; weights load at first use.

    `name` is "profile"; "starter-clip"; an open_clip ARCHITECTURE/TAG; "timm:NAME"; a name of
    the registry; "hub:OWNER/NAME[@REVISION]" or "local:FOLDER" of an open_clip, timm,
    transformers or sentence-transformers model. Raises UsageError for a model of the other
    modality, ModelUnavailable where its files cannot be had.
    """

    def __init__(self, name: str, modality: Modality, models: Models) -> None:
        self.name, self.modality, self._models = name, modality, models
        self._settings = models.settings

    @cached_property
    def space(self) -> str:
        """Name and revision. Where the catalog has vectors of this space, they are the same."""
        if self.name == PROFILE:
            return str(self._encoder.space.name)
        if self._kind == "open_clip":
            return f"{self.name}@{find_clip(self._clip_name, settings=self._settings).revision}"
        files = [p for p in self._folder.rglob("*") if p.suffix in (".safetensors", ".json")]
        return f"{self.name}@{_fingerprint(sorted(files))}"

    @cached_property
    def dimension(self) -> int:
        if self.name == PROFILE:
            return int(self._encoder.space.dimension)
        return self._frozen.dimension

    def encode(self, items: Sequence[Any]) -> FloatArray:
        """Unit vectors float32 [n, d] of images (PIL, RGB) or texts, by the model as it is."""
        if self.name != PROFILE:
            return self._frozen.encode(items, self.device)
        encoder = self._encoder
        if self.modality == "image":
            vectors: FloatArray = encoder.encode_images(items)
        else:
            vectors = encoder.encode([valid_text(text) for text in items], kind="passage")
        return vectors

    def tower(self) -> Tower:
        """A copy that may be trained. Raises UsageError if this model cannot be."""
        if self._kind == "open_clip":
            return _clip_tower(self._clip_name, self._settings)
        if self._kind == "timm":
            return _timm_tower(self._folder)
        if self._kind == "transformers":
            return _transformers_tower(self._folder)
        return _text_tower(self._folder)

    @cached_property
    def device(self) -> str:
        from ragcore.models import pick_device

        return pick_device(self._settings)

    @cached_property
    def _frozen(self) -> Tower:
        tower = self.tower()
        tower.module.requires_grad_(False).to(self.device)
        return tower

    @property
    def _encoder(self) -> Any:
        if self.modality == "image":
            return self._models.image_text_encoder()
        return self._models.text_encoder()

    @cached_property
    def _reference(self) -> str:
        """The weights' name: that of the profile's model for "profile"."""
        if self.name != PROFILE:
            return f"hub:timm/{self.name[5:]}" if self.name.startswith("timm:") else self.name
        profile = self._models.profile
        model = profile.image_text_encoder if self.modality == "image" else profile.text_encoder
        if model is None:
            raise UsageError(f"profile {self._settings.profile} has no {self.modality} encoder")
        if model.kind not in ("open_clip", "sentence-transformers"):
            raise UsageError(
                f"{model.name} is kept in a form, or a place, where it cannot be trained: use "
                "ways = ['features'], or name another backbone"
            )
        return model.name

    @property
    def _clip_name(self) -> str:
        from ragcore.weights import registered

        name = self._reference
        entry = registered().get(name)
        return f"hub:{entry.repo}" if entry is not None and entry.provider == "hub" else name

    @cached_property
    def _folder(self) -> Path:
        from ragcore.weights import WeightStore

        return WeightStore(self._settings).ensure(self._reference)

    @cached_property
    def _kind(self) -> str:
        """open_clip, timm, transformers or sentence-transformers."""
        reference = self._reference
        builtin = "/" in reference and not reference.startswith(("hub:", "hf-hub:", "local:"))
        if reference == STARTER or builtin or reference.startswith("hf-hub:"):
            kind, has = "open_clip", "image"
        else:
            kind, has = _kind_of(self._folder)
        if has != self.modality:
            wanted = "images" if self.modality == "image" else "texts"
            raise UsageError(f"backbone {self.name!r} is a model of {kind} that takes no {wanted}")
        return kind


def to_device(inputs: Any, device: str) -> Any:
    """A tensor, or the tensors of a mapping, on `device`."""
    if isinstance(inputs, Mapping):
        return {k: v.to(device) if hasattr(v, "to") else v for k, v in inputs.items()}
    return inputs.to(device)


def _kind_of(folder: Path) -> tuple[str, Modality]:
    """What a folder holds, recognized by the files that each library writes."""
    if (folder / CONFIG_FILE).is_file():
        return "open_clip", "image"
    if (folder / "modules.json").is_file():
        return "sentence-transformers", "text"
    try:
        config = json.loads((folder / "config.json").read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ModelUnavailable(f"{folder} is no model: it has no readable config.json") from error
    if not isinstance(config, dict) or not {"architecture", "model_type"} & config.keys():
        raise ModelUnavailable(f"{folder / 'config.json'} names no architecture")
    if "model_type" not in config:
        return "timm", "image"
    if (folder / "preprocessor_config.json").is_file():
        return "transformers", "image"
    return "sentence-transformers", "text"


def _clip_tower(name: str, settings: Settings) -> Tower:
    import torch

    loaded = load_clip(name, settings=settings)
    visual: Any = loaded.model.visual
    dimension = find_clip(name, settings=settings).dimension

    def prepare(images: Sequence[Any]) -> Tensor:
        return _channels_last(torch.stack([loaded.preprocess(image) for image in images]))

    visual.float().to(memory_format=torch.channels_last)
    return Tower(visual, prepare, lambda pixels: _unit(visual(pixels)), dimension)


def _timm_tower(folder: Path) -> Tower:
    import timm
    import torch

    try:
        model = timm.create_model(f"local-dir:{folder}", pretrained=True, num_classes=0)
    except (OSError, RuntimeError, ValueError, KeyError) as error:
        raise ModelUnavailable(
            f"{folder} cannot be loaded by timm ({first_line(error)})"
        ) from error
    transform = timm.data.create_transform(
        **timm.data.resolve_model_data_config(model), is_training=False
    )

    def prepare(images: Sequence[Any]) -> Tensor:
        return _channels_last(torch.stack([transform(image) for image in images]))

    model.float().to(memory_format=torch.channels_last)
    return Tower(model, prepare, lambda x: _unit(model(x)), int(model.num_features))


def _transformers_tower(folder: Path) -> Tower:
    """A vision model of transformers; its vector is the mean over patches or places.

    A pooler is left out: many checkpoints have none, and it would be random.
    """
    from transformers import AutoImageProcessor, AutoModel

    try:
        processor = AutoImageProcessor.from_pretrained(
            str(folder), local_files_only=True, trust_remote_code=False
        )
        model: Any = AutoModel.from_pretrained(
            str(folder), local_files_only=True, trust_remote_code=False, use_safetensors=True
        )
    except (OSError, ValueError, KeyError, ImportError) as error:
        raise ModelUnavailable(
            f"{folder} cannot be loaded by transformers ({first_line(error)})"
        ) from error
    model = getattr(model, "vision_model", model)

    def prepare(images: Sequence[Any]) -> Tensor:
        pixels: Tensor = processor(images=list(images), return_tensors="pt")["pixel_values"]
        return pixels

    def forward(pixels: Tensor) -> Tensor:
        last = model(pixel_values=pixels).last_hidden_state
        return _unit(last.mean(dim=(2, 3) if last.ndim == 4 else 1))

    model.float().eval()
    size = getattr(processor, "crop_size", None) or getattr(processor, "size", None) or {}
    return Tower(model, prepare, forward, _width(model, forward, size))


def _width(model: nn.Module, forward: Callable[[Tensor], Tensor], size: Any) -> int:
    """The length of the vectors, by trying: configurations call it by many names."""
    import torch

    height = int(size.get("height", size.get("shortest_edge", 224)))
    width = int(size.get("width", size.get("shortest_edge", 224)))
    with torch.inference_mode():
        return int(forward(torch.zeros(1, 3, height, width)).shape[1])


def _text_tower(folder: Path) -> Tower:
    from sentence_transformers import SentenceTransformer
    from transformers.utils import logging

    logging.disable_progress_bar()
    try:
        model: Any = SentenceTransformer(
            str(folder),
            device="cpu",
            local_files_only=True,
            trust_remote_code=False,
            model_kwargs={"use_safetensors": True},
        ).float()
    except (OSError, ValueError, KeyError, ImportError) as error:
        raise ModelUnavailable(
            f"{folder} cannot be loaded as a sentence-transformers model ({first_line(error)})"
        ) from error

    def prepare(texts: Sequence[str]) -> Any:
        return model.preprocess([valid_text(text) for text in texts])

    def forward(inputs: Any) -> Tensor:
        return _unit(model(dict(inputs))["sentence_embedding"])

    dimension = len(model.encode(["a"])[0])
    return Tower(model, prepare, forward, dimension)


def _channels_last(pixels: Tensor) -> Tensor:
    """The order in memory that convolutions are twice as quick with, on a CPU too."""
    import torch

    return pixels.contiguous(memory_format=torch.channels_last)


def _unit(vectors: Tensor) -> Tensor:
    from torch.nn import functional

    return functional.normalize(vectors.float(), dim=-1)
