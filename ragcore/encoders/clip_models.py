"""Any open_clip model by name: built-in with a pretrained tag, hub, local folder, or our own."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ragcore.errors import ModelUnavailable, UsageError
from ragcore.settings import Settings

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image

STARTER = "starter-clip"
CONFIG_FILE = "open_clip_config.json"


@dataclass(frozen=True, slots=True)
class ClipSource:
    """Where a model comes from, known without loading it.

    `revision` changes whenever the weights could; `folder` is None for built-in names.
    """

    name: str
    dimension: int
    revision: str
    folder: Path | None = None


@dataclass(frozen=True, slots=True)
class LoadedClip:
    """A model ready to run on the CPU in float32, with its own preprocessing.

    `preprocess` maps an RGB image to a float32 tensor [3, h, w]; `tokenize` maps texts to
    int64 ids [n, context].
    """

    model: torch.nn.Module
    preprocess: Callable[[Image], torch.Tensor]
    train_preprocess: Callable[[Image], torch.Tensor]
    tokenize: Callable[[list[str]], torch.Tensor]
    config: Mapping[str, Any]


def find_clip(name: str, *, settings: Settings) -> ClipSource:
    """Resolve a model's name without building it.

    `name` is "starter-clip", "ARCHITECTURE/TAG" as open_clip lists them (for example
    "ViT-B-32/laion2b_s34b_b79k"), "hf-hub:OWNER/NAME", "hub:OWNER/NAME[@REVISION]", or a
    folder with open_clip_config.json ("local:FOLDER", "local-dir:FOLDER").
    Raises UsageError for a name that is none of these, ModelUnavailable where a folder is
    incomplete or cannot be fetched.
    """
    if name == STARTER:
        from ragcore.encoders.starter_clip import starter_source

        return starter_source(settings)
    for prefix in ("local-dir:", "local:"):
        if name.startswith(prefix):
            from ragcore.weights import refuse_remote_code

            folder = Path(name.removeprefix(prefix)).expanduser()
            refuse_remote_code(folder, name)
            return _folder_source(name, folder)
    if name.startswith(("hub:", "hf-hub:")):
        from ragcore.weights import WeightStore

        wanted = "hub:" + name.removeprefix("hf-hub:").removeprefix("hub:")
        return _folder_source(name, WeightStore(settings).ensure(wanted))
    return _builtin_source(name)


def load_clip(name: str, *, settings: Settings) -> LoadedClip:
    """Build the model that `find_clip` resolves, in evaluation mode."""
    if name == STARTER:
        from ragcore.encoders.starter_clip import load_starter

        return load_starter(settings)
    source = find_clip(name, settings=settings)
    if source.folder is not None:
        return _create(f"local-dir:{source.folder}", None, name)
    architecture, _, tag = name.partition("/")
    return _create(architecture, tag, name)


def _create(model_name: str, pretrained: str | None, shown: str) -> LoadedClip:
    import open_clip

    try:
        model, train_preprocess, preprocess = open_clip.create_model_and_transforms(
            model_name, pretrained=pretrained, pretrained_text=False
        )
        tokenize = open_clip.get_tokenizer(model_name)
    except (OSError, RuntimeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise ModelUnavailable(f"image-text model {shown!r} cannot be loaded: {reason}") from error
    if model_name.startswith("local-dir:"):
        folder = Path(model_name.removeprefix("local-dir:"))
        config = json.loads((folder / CONFIG_FILE).read_text("utf-8"))["model_cfg"]
    else:
        config = open_clip.get_model_config(model_name)
    return LoadedClip(model.eval(), preprocess, train_preprocess, tokenize, config)


def _folder_source(name: str, folder: Path) -> ClipSource:
    config_file = folder / CONFIG_FILE
    if not config_file.is_file():
        raise ModelUnavailable(f"{folder} is not an open_clip model: it has no {CONFIG_FILE}")
    try:
        dimension = int(json.loads(config_file.read_text("utf-8"))["model_cfg"]["embed_dim"])
    except (ValueError, KeyError, TypeError) as error:
        raise ModelUnavailable(f"{config_file} is not an open_clip configuration") from error
    weights = sorted(p for p in folder.iterdir() if p.suffix in {".safetensors", ".bin", ".pt"})
    if not weights:
        raise ModelUnavailable(f"{folder} has no weights: expected a .safetensors file")
    return ClipSource(name, dimension, _fingerprint([config_file, *weights]), folder)


def _builtin_source(name: str) -> ClipSource:
    architecture, _, tag = name.partition("/")
    import open_clip

    config = open_clip.get_model_config(architecture)
    if config is None:
        raise UsageError(
            f"unknown image-text model {name!r}: use starter-clip, ARCHITECTURE/TAG as in "
            "open_clip.list_pretrained(), hub:OWNER/NAME or local:FOLDER"
        )
    tags = open_clip.list_pretrained_tags_by_model(architecture)
    if tag not in tags:
        raise UsageError(
            f"{architecture} has no pretrained weights {tag!r}: use one of {', '.join(tags)}"
        )
    return ClipSource(name, int(config["embed_dim"]), "open_clip")


def _fingerprint(files: list[Path]) -> str:
    """Eight hex digits over names, sizes and both ends of the files (whole if under 2 MiB)."""
    digest = hashlib.sha256()
    for path in files:
        size = path.stat().st_size
        digest.update(f"{path.name}:{size}".encode())
        with path.open("rb") as file:
            digest.update(file.read(1 << 20))
            file.seek(max(0, size - (1 << 20)))
            digest.update(file.read(1 << 20))
    return digest.hexdigest()[:8]
