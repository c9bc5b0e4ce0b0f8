"""starter-clip: EfficientNet-Lite0 and MiniLM in one space, an open_clip model of our own.

Both towers come from Python packages (see `ragcore.weights`); what differs from them, with the
projections, is shipped beside the code in half precision. Without shipped weights the
projections are solved in closed form (`closed_form`), which needs no training data.
"""

from __future__ import annotations

import json
import logging
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ragcore.encoders.clip_models import (
    STARTER,
    ClipSource,
    LoadedClip,
    _fingerprint,
)
from ragcore.encoders.starter_space import CLASSES, CONTEXT, DIMENSION, SEMANTIC
from ragcore.errors import ModelUnavailable
from ragcore.settings import Settings

if TYPE_CHECKING:
    import torch

    from ragcore.encoders.starter_heads import ImageHead, TextHead
    from ragcore.encoders.starter_text import StarterText

SHIPPED_WEIGHTS = "model.safetensors"
# Tensors of the heads that are the packages' own; they are not shipped again.
FROM_PACKAGES = ("visual.head.class_weight", "visual.head.class_bias")
RIDGE = 2.0  # of the map from word vectors to class weights


def model_config(minilm: Path) -> dict[str, Any]:
    """The open_clip configuration; the text tower's shape is read from MiniLM's folder."""
    return {
        "embed_dim": DIMENSION,
        "vision_cfg": {
            "timm_model_name": "tf_efficientnet_lite0",
            "timm_model_pretrained": False,
            "timm_pool": "avg",
            "timm_proj": "linear",
            "image_size": 224,
        },
        "text_cfg": {
            "hf_model_name": str(minilm),
            "hf_tokenizer_name": str(minilm),
            "hf_model_pretrained": False,
            "hf_pooler_type": "mean_pooler",
            "hf_proj_type": "linear",
            "context_length": CONTEXT,
        },
    }


PREPROCESS = {
    "image_mean": (0.5, 0.5, 0.5),
    "image_std": (0.5, 0.5, 0.5),
    "image_interpolation": "bicubic",
    "image_resize_mode": "squash",
}


def starter_source(settings: Settings) -> ClipSource:
    """Name, dimension and revision of starter-clip, without loading it.

    Raises ModelUnavailable if its weights cannot be had.
    """
    from ragcore.weights import WeightStore

    folder = WeightStore(settings).ensure(STARTER)
    return ClipSource(STARTER, DIMENSION, _fingerprint([folder / SHIPPED_WEIGHTS]), folder)


def load_starter(settings: Settings, *, trained: bool = True) -> LoadedClip:
    """Build starter-clip from its packages and, if `trained`, its own weights over them.

    Else the heads are solved in closed form.

    Raises ModelUnavailable if a package cannot be fetched or the weights do not fit.
    """
    from safetensors.torch import load_file

    from ragcore.weights import WeightStore

    loaded = build_untrained(settings)
    if not trained:
        closed_form(loaded)
        return loaded
    changed = load_file(WeightStore(settings).ensure(STARTER) / SHIPPED_WEIGHTS)
    apply_changes(loaded.model, {k: v.float() for k, v in changed.items()})
    return loaded


def load_starter_text(settings: Settings) -> StarterText:
    """The text side alone, without torch. Errors as for `load_starter`."""
    from ragcore.encoders.starter_text import StarterText
    from ragcore.weights import WeightStore

    store = WeightStore(settings)
    return StarterText(store.ensure("minilm-l6-v2"), store.ensure(STARTER) / SHIPPED_WEIGHTS)


def build_untrained(settings: Settings) -> LoadedClip:
    """The architecture with the packages' weights in both towers; heads are random."""
    import open_clip
    from safetensors.torch import load_file

    from ragcore.encoders.starter_heads import ImageHead, TextHead
    from ragcore.weights import WeightStore

    store = WeightStore(settings)
    minilm, efficientnet = store.ensure("minilm-l6-v2"), store.ensure("efficientnet-lite0")
    config = model_config(minilm)
    name = f"{STARTER}-{abs(hash(str(minilm))):x}"  # open_clip's registry is global: key by folder
    _register(name, config)
    with _own_weights_follow():
        created = open_clip.create_model_and_transforms(name, pretrained_text=False, **PREPROCESS)
    model: Any = created[0]
    model.visual.head = ImageHead()
    model.text.proj = TextHead(len(class_groups()[0]))
    trunk = load_file(efficientnet / "model.safetensors")
    words = load_file(minilm / "model.safetensors")
    base = {f"visual.trunk.{k}": v for k, v in trunk.items() if not k.startswith("classifier.")}
    base |= {f"text.transformer.{k}": v for k, v in words.items() if not k.startswith("pooler.")}
    classifier = (trunk["classifier.weight"], trunk["classifier.bias"])
    base |= dict(zip(FROM_PACKAGES, classifier, strict=True))
    apply_changes(model, {k: v for k, v in base.items() if not k.endswith("position_ids")})
    return LoadedClip(model.eval(), created[2], created[1], open_clip.get_tokenizer(name), config)


@contextmanager
def _own_weights_follow() -> Iterator[None]:
    """open_clip warns on the root logger that such a model has random weights: not for long."""

    def other(record: logging.LogRecord) -> bool:
        return "No pretrained weights loaded" not in record.getMessage()

    root = logging.getLogger()
    root.addFilter(other)
    try:
        yield
    finally:
        root.removeFilter(other)


def _register(name: str, config: Mapping[str, Any]) -> None:
    """Make `config` known to open_clip under `name` (it reads configurations from files)."""
    import tempfile

    import open_clip

    if open_clip.get_model_config(name) is not None:
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{name}.json"
        path.write_text(json.dumps(config), "utf-8")
        open_clip.add_model_config(path)


def apply_changes(model: torch.nn.Module, changes: Mapping[str, torch.Tensor]) -> None:
    """Copy tensors into the model by name. Raises ModelUnavailable for one that does not fit."""
    known = model.state_dict()
    misfits = [k for k, v in changes.items() if k not in known or known[k].shape != v.shape]
    if misfits:
        raise ModelUnavailable(f"starter-clip: tensor {misfits[0]!r} does not fit the model")
    model.load_state_dict(dict(changes), strict=False)


def closed_form(loaded: LoadedClip) -> None:
    """Solve the heads' parts that need no captions, in place; the learned part stays empty.

    Classes: a text is assigned to the nearest names of ImageNet's classes and of groups of them
    (`class_groups`). Semantic: ridge regression from the names' word vectors to the classifier's
    weights, on the main axes of the names. What is usual in an image is taken from the last
    batch normalization of the image tower.
    """
    import torch

    from ragcore.encoders import starter_heads

    normalize = torch.nn.functional.normalize
    image_head, text_head = heads(loaded.model)
    classes = class_embeddings(loaded)
    names, members = class_groups()
    grouped = torch.zeros(len(names), starter_heads.WORDS)
    for form in ("{}", "a photo of a {}"):
        grouped += normalize(pooled_texts(loaded, [form.format(name) for name in names]), dim=-1)
    with torch.no_grad():
        text_head.middle.copy_(classes.mean(0))
        known = torch.cat([classes, normalize(grouped, dim=-1)]) - text_head.middle
        text_head.names.copy_(normalize(known, dim=-1))
        for row, kinds in enumerate(members):
            text_head.groups[row, kinds] = 1 / len(kinds)
        words = text_head.names[:CLASSES]
        axes = torch.linalg.eigh(words.T @ words)[1].flip(1)[:, :SEMANTIC]
        text_head.semantic_weight.copy_(axes)
        weights = image_head.class_weight - image_head.class_weight.mean(0)
        ridge = words.T @ words + RIDGE * torch.eye(starter_heads.WORDS)
        to_features = torch.linalg.solve(ridge, words.T @ weights)
        image_head.semantic_weight.copy_((to_features.T @ axes).T)
        starter_heads.center(image_head, usual_features(loaded.model)[None])


def usual_features(model: Any) -> torch.Tensor:
    """The image tower's mean features [1280] over ImageNet, from its last normalization.

    Before the activation a channel is normal with the mean and deviation that the batch
    normalization was trained to give; ReLU6 is integrated over that.
    """
    import torch

    layer = model.visual.trunk.bn2
    steps = torch.linspace(-6, 6, 1001)
    density = torch.exp(-steps.square() / 2)
    values = layer.bias[:, None] + layer.weight.abs()[:, None] * steps
    mean: torch.Tensor = values.clamp(0, 6) @ (density / density.sum())
    return mean.detach()


def class_groups() -> tuple[list[str], list[list[int]]]:
    """Everyday names for groups of ImageNet's classes, and the classes of each."""
    path = Path(str(resources.files("ragcore.encoders"))) / "imagenet_groups.toml"
    found: dict[str, set[int]] = {}
    for group in tomllib.loads(path.read_text("utf-8"))["groups"]:
        for name in group["names"]:
            found.setdefault(name, set()).update(_numbers(group["classes"]))
    names = sorted(found)
    return names, [sorted(found[name]) for name in names]


def _numbers(text: str) -> Iterator[int]:
    """The numbers in "3, 7-9"."""
    for part in text.split(","):
        first, _, last = part.strip().partition("-")
        yield from range(int(first), int(last or first) + 1)


def class_embeddings(loaded: LoadedClip) -> torch.Tensor:
    """Unit vectors [1000, 384] of the ImageNet classes.

    Each is the mean over ways to name the class: its name, a photo of it, all its synonyms,
    and what a dictionary says of it (as timm's table of ImageNet has them).
    """
    import open_clip
    import torch
    from timm.data import ImageNetInfo

    normalize = torch.nn.functional.normalize
    info, names = ImageNetInfo(), open_clip.IMAGENET_CLASSNAMES
    synonyms = [info.index_to_description(i) for i in range(CLASSES)]
    entries = [info.index_to_description(i, detailed=True) for i in range(CLASSES)]
    gloss = [e.removeprefix(s).lstrip(": ") for e, s in zip(entries, synonyms, strict=True)]
    described = [f"{n}, {g}" for n, g in zip(names, gloss, strict=True)]
    named = pooled_texts(loaded, names)
    photo = pooled_texts(loaded, [f"a photo of a {n}" for n in names])
    total = normalize(named, dim=-1) + normalize(photo, dim=-1)
    for texts in (synonyms, gloss, described):
        total += 0.5 * normalize(pooled_texts(loaded, texts), dim=-1)
    return normalize(total, dim=-1)


def pooled_texts(loaded: LoadedClip, texts: list[str]) -> torch.Tensor:
    """The text tower's pooled output [n, 384] before its projection."""
    import torch

    tower: Any = loaded.model.text
    parts = []
    with torch.no_grad():
        for start in range(0, len(texts), 100):
            ids = trim(loaded.tokenize(texts[start : start + 100]), tower.config.pad_token_id)
            mask = (ids != tower.config.pad_token_id).long()
            parts.append(tower.pooler(tower.transformer(input_ids=ids, attention_mask=mask), mask))
    return torch.cat(parts)


def trim(ids: torch.Tensor, pad: int) -> torch.Tensor:
    """Cut columns that are padding in every row; masked attention makes this exact."""
    longest = int((ids != pad).sum(1).max()) if len(ids) else 1
    return ids[:, : max(longest, 1)]


def heads(model: Any) -> tuple[ImageHead, TextHead]:
    """Both heads of a starter-clip model."""
    return model.visual.head, model.text.proj
