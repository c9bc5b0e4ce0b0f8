"""Trained classifiers: a folder of weights and a card; from images, texts or their vectors."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ragcore.encoders.backbones import Backbone, Modality, Tower
from ragcore.errors import ModelUnavailable, RagcoreError, UsageError
from ragcore.files import replace_folder

if TYPE_CHECKING:
    from torch import Tensor

    from ragcore.models import Models
    from ragcore.settings import Settings
    from ragcore.types import FloatArray

Way = Literal["features", "lora", "full"]
WAYS: tuple[Way, ...] = ("features", "lora", "full")
CARD, WEIGHTS = "classifier.json", "model.safetensors"
_ROWS = 8_192  # vectors whose probabilities are worked out at once


@dataclass(frozen=True, slots=True)
class ClassifierCard:
    """What is known of a classifier. `space` is the embedding space of its backbone.

    `temperature` divides the logits; `lora` has rank and alpha of way "lora"; `scores` are
    those of the kept way on held-out examples, `made_at` an ISO time in UTC. `collection_id` is
    the collection that it was trained on and belongs to; None: it is everybody's.
    """

    name: str
    labels: tuple[str, ...]
    modality: Modality
    way: Way
    backbone: str
    space: str
    dimension: int
    temperature: float
    scores: Mapping[str, Any] = field(default_factory=dict)
    examples: int = 0
    trained_weights: int = 0
    lora: Mapping[str, float] = field(default_factory=dict)
    data: str = ""
    license: str = "unknown: that of the data is not recorded, and weights follow their data"
    made_at: str = ""
    collection_id: int | None = None

    @property
    def key(self) -> str:
        """Changes when the classifier is retrained."""
        return f"{self.name}@{self.made_at}"


def classifiers_folder(settings: Settings) -> Path:
    """Where the trained classifiers of a home are."""
    return settings.home / "classifiers"


def runs_folder(settings: Settings) -> Path:
    """Where trainings without an `output` of their own work; a backup leaves it out."""
    return settings.home / "runs" / "classifiers"


def check_classifier_name(name: str) -> str:
    """Raises UsageError unless `name` can name a classifier (and its folder)."""
    import re

    if not re.fullmatch(r"[^\W_][\w .\-]{0,59}", name) or name.endswith((".", " ")):
        raise UsageError(
            f"{name[:60]!r} cannot name a classifier: use up to 60 letters, digits, spaces, "
            "points, dashes and underscores, beginning with a letter or digit"
        )
    return name


def list_classifiers(settings: Settings) -> list[ClassifierCard]:
    """The cards of all whole classifiers, by name; a damaged folder is left out."""
    cards = []
    folder = classifiers_folder(settings)
    for path in sorted(folder.glob(f"*/{CARD}")) if folder.is_dir() else []:
        if not path.parent.name.startswith("."):
            try:
                cards.append(read_card(path.parent))
            except RagcoreError:
                continue
    return cards


def classifier_folder(name: str, settings: Settings) -> Path:
    """Raises UsageError, naming the known ones, if there is no classifier of this name."""
    check_classifier_name(name)
    folder = classifiers_folder(settings) / name
    if not (folder / CARD).is_file():
        names = ", ".join(card.name for card in list_classifiers(settings))
        known = f"known: {names}" if names else "none yet; `ragcore tune classifier` makes one"
        raise UsageError(f"no classifier named {name!r} ({known})")
    return folder


def remove_classifier(name: str, settings: Settings) -> None:
    """Delete a classifier's folder, and what its training left beside it."""
    folder = classifier_folder(name, settings)
    gone = folder.with_name(f".{name}.gone")
    shutil.rmtree(gone, ignore_errors=True)
    folder.rename(gone)  # at once: a reader finds all of it or nothing
    shutil.rmtree(gone, ignore_errors=True)
    shutil.rmtree(runs_folder(settings) / name, ignore_errors=True)


def read_card(folder: Path) -> ClassifierCard:
    """Raises ModelUnavailable if the folder's card is damaged."""
    try:
        values = json.loads((folder / CARD).read_text("utf-8"))
        known = ClassifierCard.__dataclass_fields__.keys()
        values = {key: value for key, value in values.items() if key in known}
        card = ClassifierCard(**{**values, "labels": tuple(values["labels"])})
        if len(card.labels) < 2 or card.way not in WAYS or card.temperature <= 0:
            raise ValueError("labels, way or temperature")
        return card
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelUnavailable(f"{folder / CARD} is damaged: train the classifier again") from error


def save_classifier(
    folder: Path, card: ClassifierCard, weights: Mapping[str, Tensor], beside: Mapping[str, Path]
) -> int:
    """Write a classifier in place of any earlier one; return its bytes. `beside`: files to copy.

    Weights are stored in float16. A crash leaves the earlier one, or a hidden part of the new.
    """
    import torch
    from safetensors.torch import save_file

    halves = {k: v.detach().to("cpu", torch.float16).contiguous() for k, v in weights.items()}
    with replace_folder(folder) as part:
        save_file(halves, part / WEIGHTS)
        (part / CARD).write_text(json.dumps(asdict(card), indent=1, ensure_ascii=False), "utf-8")
        for name, source in beside.items():
            if source.is_file():
                shutil.copyfile(source, part / name)
    return sum(path.stat().st_size for path in (folder / WEIGHTS, folder / CARD))


class Classifier:
    """A trained classifier, ready to label. Weights load when first needed.

    Raises UsageError for an unknown name, ModelUnavailable if its files are damaged.
    """

    def __init__(self, name: str, settings: Settings, models: Models) -> None:
        self._folder = classifier_folder(name, settings)
        self.card = read_card(self._folder)
        self.backbone = Backbone(self.card.backbone, self.card.modality, models)

    def takes_vectors_of(self, space: str) -> bool:
        """Whether vectors of this space can be labelled without running the model."""
        return self.card.way == "features" and self.card.space == space

    def from_vectors(self, vectors: FloatArray) -> FloatArray:
        """Probabilities float32 [n, classes] from unit vectors [n, d] of the card's space."""
        import numpy as np

        weight, bias = self._head
        parts = [np.zeros((0, len(self.card.labels)), np.float32)]
        for start in range(0, len(vectors), _ROWS):
            logits = vectors[start : start + _ROWS] @ weight.T + bias
            parts.append(softmax(logits / self.card.temperature))
        return np.concatenate(parts)

    def from_items(self, items: Sequence[Any]) -> FloatArray:
        """Probabilities float32 [n, classes] of images (PIL, RGB) or texts."""
        if self.card.way == "features":
            self._check_space()
            return self.from_vectors(self.backbone.encode(items))
        return self.from_vectors(self._tower.encode(items, self.backbone.device))

    def _check_space(self) -> None:
        if self.backbone.space != self.card.space:
            raise UsageError(
                f"classifier {self.card.name!r} was trained on {self.card.space}, the model is now "
                f"{self.backbone.space}: train it again, or go back to that profile"
            )

    @cached_property
    def _tensors(self) -> dict[str, Any]:
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            tensors: dict[str, Any] = load_file(self._folder / WEIGHTS)
            shape = (len(self.card.labels), self.card.dimension)
            if tuple(tensors["head.weight"].shape) != shape:
                raise ValueError("shape")
        except (OSError, KeyError, ValueError, SafetensorError) as error:
            raise ModelUnavailable(
                f"the weights of classifier {self.card.name!r} are damaged: train it again"
            ) from error
        return {name: tensor.float() for name, tensor in tensors.items()}

    @cached_property
    def _head(self) -> tuple[FloatArray, FloatArray]:
        return self._tensors["head.weight"].numpy(), self._tensors["head.bias"].numpy()

    @cached_property
    def _tower(self) -> Tower:
        """The backbone with what was trained put over it."""
        self._check_space()
        tower = self.backbone.tower()
        if self.card.way == "lora":
            add_lora(tower, rank=int(self.card.lora["rank"]), alpha=self.card.lora["alpha"])
        changed = {
            name.removeprefix("tower."): tensor
            for name, tensor in self._tensors.items()
            if name.startswith("tower.")
        }
        known = tower.module.state_dict()
        if any(k not in known or known[k].shape != v.shape for k, v in changed.items()):
            raise ModelUnavailable(
                f"the weights of classifier {self.card.name!r} do not fit {self.card.backbone}"
            )
        tower.module.load_state_dict(changed, strict=False)
        tower.module.requires_grad_(False).to(self.backbone.device)
        return tower


def softmax(logits: FloatArray) -> FloatArray:
    """Rows of probabilities, float32."""
    import numpy as np

    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    result: FloatArray = (powers / powers.sum(axis=1, keepdims=True)).astype(np.float32)
    return result


def add_lora(tower: Tower, *, rank: int, alpha: float, dropout: float = 0.0) -> None:
    """Put low-rank adapters beside a tower's linear and 1 x 1 convolution layers, in place.

    Raises UsageError if it has none.
    """
    from peft import LoraConfig, inject_adapter_in_model
    from torch import nn

    def fits(name: str, layer: Any) -> bool:
        if name.endswith("attn.out_proj"):
            return False  # nn.MultiheadAttention reads its weight directly, past an adapter
        if isinstance(layer, nn.Conv2d):
            return layer.kernel_size == (1, 1) and layer.groups == 1
        return isinstance(layer, nn.Linear)

    targets = [name for name, layer in tower.module.named_modules() if name and fits(name, layer)]
    if not targets:
        raise UsageError("this backbone has no layers that LoRA can adapt: use features or full")
    config = LoraConfig(r=rank, lora_alpha=alpha, lora_dropout=dropout, target_modules=targets)
    inject_adapter_in_model(config, tower.module)
