"""The picture maker of the chosen profile, made once per process and shared."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from ragcore.diffusion.hub_conditions import MAKES, ConditionModel, ConditionModels, open_model
from ragcore.diffusion.imaginer import Imaginer, PictureModel
from ragcore.diffusion.model import LatentModel, read_card
from ragcore.diffusion.stable import StableModel
from ragcore.errors import UsageError
from ragcore.weights import ModelRef, WeightStore, load_profile

if TYPE_CHECKING:
    from torch import Tensor

    from ragcore.diffusion.guides import ClipView
    from ragcore.settings import Settings

_made: dict[tuple[str, ...], Imaginer] = {}
_lock = threading.RLock()


def imaginer(settings: Settings) -> Imaginer:
    """The profile's picture maker; weights are fetched now, and loaded at the first picture.

    Raises UsageError if the profile has none, ModelUnavailable if the weights cannot be had.
    """
    profile = load_profile(settings)
    reference = profile.diffusion
    if reference is None:
        raise UsageError(
            f"profile {settings.profile} makes no pictures: choose one with a diffusion model"
        )
    helpers = [*profile.controlnets.items(), *profile.conditions.items()]
    key = (repr(reference), repr(helpers), repr(profile.image_text_encoder),
           str(settings.weights_cache), f"{settings.device} {settings.precision}")  # fmt: skip
    with _lock:
        if key not in _made:
            _made[key] = _make(reference, settings)
        return _made[key]


def loaded() -> list[tuple[str, int]]:
    """Name and bytes of every picture maker whose networks are in memory."""
    with _lock:
        makers = list(_made.values())
    sizes = [(maker.model.card.name, maker.model.memory()) for maker in makers]
    return [(name, size) for name, size in sizes if size]


def unload() -> int:
    """Forget all picture makers; memory is freed when nobody uses them any more."""
    with _lock:
        count = len(_made)
        _made.clear()
    return count


def _make(reference: ModelRef, settings: Settings) -> Imaginer:
    from ragcore.encoders.device import place

    store = WeightStore(settings)
    folder = store.ensure(reference.name)
    device = place(settings, "convolution").device
    model: PictureModel
    if reference.kind == "diffusers":
        model = _stable(reference, settings, folder, device)
    else:
        text_folder = store.ensure(read_card(folder).text_encoder)
        model = LatentModel(folder, text_folder, device=device)
    conditions = _conditions(settings, device)
    return Imaginer(model, clip=lambda: _clip(settings), conditions=conditions)


def _stable(reference: ModelRef, settings: Settings, folder: Path, device: str) -> StableModel:
    """A model of the Stable Diffusion family with the profile's ControlNets."""
    controls = load_profile(settings).controlnets
    store = WeightStore(settings)
    return StableModel(
        folder,
        name=reference.name,
        device=device,
        controlnets={kind: store.ensure(one.name) for kind, one in controls.items()},
        classifier=store.ensure(reference.also[0]) if reference.also else None,
        variant=reference.options.get("variant"),
    )


def _conditions(settings: Settings, device: str) -> ConditionModels:
    """The profile's models for conditions; their weights are fetched when they are needed."""
    store = WeightStore(settings)

    def loading(reference: ModelRef) -> Callable[[], ConditionModel]:
        def load() -> ConditionModel:
            folders = [store.ensure(name) for name in (reference.name, *reference.also)]
            return open_model(reference.kind, folders, device=device)

        return load

    models: dict[str, tuple[str, Callable[[], ConditionModel]]] = {}
    named = load_profile(settings).conditions
    for kind, reference in named.items():
        if kind not in MAKES[reference.kind]:
            made = " and ".join(MAKES[reference.kind])
            raise UsageError(f"[conditions.{kind}]: a {reference.kind} model makes {made}")
        models[kind] = (reference.name, loading(reference))
    if "depth" in models:
        models.setdefault("normals", models["depth"])
    return ConditionModels(models)


def _clip(settings: Settings) -> tuple[ClipView, Callable[[str], Tensor]]:
    """The profile's image-text encoder as CLIP guidance uses it."""
    import torch

    from ragcore.diffusion.guides import ClipView
    from ragcore.encoders.image_text import OpenClipEncoder, image_size
    from ragcore.encoders.loader import image_text_encoder

    encoder = image_text_encoder(settings)
    if not isinstance(encoder, OpenClipEncoder):
        raise UsageError("text guides need an open_clip model as the profile's image-text encoder")
    network = encoder.network
    view = ClipView(network, size=image_size(network.visual), logit_scale=encoder.logit_scale)
    return view, lambda text: torch.from_numpy(encoder.encode_texts([text])[0])
