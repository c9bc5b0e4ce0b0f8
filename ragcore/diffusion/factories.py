"""What makes ragcore's own diffusion models (registered as entry points) and their generator."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ragcore.diffusion.base import Diffuser
from ragcore.diffusion.hub_conditions import MAKES, ConditionModel, ConditionModels, open_model
from ragcore.diffusion.imaginer import Imaginer
from ragcore.diffusion.model import LatentModel, read_card
from ragcore.diffusion.stable import StableModel
from ragcore.errors import UsageError
from ragcore.models import ModelContext, Models, Weights, folder_bytes
from ragcore.weights import ModelRef, WeightStore

if TYPE_CHECKING:
    from torch import Tensor

    from ragcore.diffusion.guidance import ClipView


def latent(reference: ModelRef, options: Mapping[str, Any], context: ModelContext) -> LatentModel:
    """A latent diffusion model that ragcore has trained."""
    _known(reference, options, ())
    folder = context.folder(reference.name)
    return LatentModel(
        folder,
        context.folder(read_card(folder).text_encoder),
        device=context.placement("convolution").device,
        memory=context.memory,
    )


def diffusers(
    reference: ModelRef, options: Mapping[str, Any], context: ModelContext
) -> StableModel:
    """A model of the Stable Diffusion family with the profile's ControlNets."""
    _known(reference, options, ("variant",))
    controls = context.models.profile.controlnets
    return StableModel(
        context.folder(reference.name),
        name=reference.name,
        device=context.placement("convolution").device,
        controlnets={kind: context.folder(one.name) for kind, one in controls.items()},
        classifier=context.folder(reference.also[0]) if reference.also else None,
        variant=options.get("variant"),
        memory=context.memory,
    )


def imaginer_of(models: Models) -> Imaginer:
    """The image generator over the profile's diffusion model, shared like the model.

    Raises UsageError if the profile has none, ModelUnavailable if its weights cannot be fetched.
    """

    def build() -> Imaginer:
        model: Diffuser = models.diffuser()
        return Imaginer(
            model,
            clip=lambda: _clip(models),
            conditions=_conditions(models, model.device),
            max_megapixels=models.settings.max_megapixels,
        )

    return models.share("imaginer", build)


def condition_model(
    models: Models, kind: str, reference: ModelRef, device: str
) -> Weights[ConditionModel]:
    """A model of the hub that takes conditions from images; fetched when first needed."""
    store = WeightStore(models.settings)
    names = (reference.name, *reference.also)

    def load() -> ConditionModel:
        folders = [store.ensure(name) for name in names]
        return open_model(kind, folders, device=device)

    def size() -> int:
        folders = [store.find(name) for name in names]
        return sum(folder_bytes(folder, 4) for folder in folders if folder is not None)

    return models.share(
        ("condition", kind, names, device),
        lambda: models.memory.weights(
            load, part="condition", name=reference.name, device=device, precision="float32",
            size=size, measure=lambda model: model.bytes(),
        ),
    )  # fmt: skip


def _conditions(models: Models, device: str) -> ConditionModels:
    """The profile's models for conditions."""
    found: dict[str, Weights[ConditionModel]] = {}
    for kind, reference in models.profile.conditions.items():
        if kind not in MAKES[reference.kind]:
            made = " and ".join(MAKES[reference.kind])
            raise UsageError(f"[conditions.{kind}]: a {reference.kind} model makes {made}")
        found[kind] = condition_model(models, reference.kind, reference, device)
    if "depth" in found:
        found.setdefault("normals", found["depth"])
    return ConditionModels(found)


@contextmanager
def _clip(models: Models) -> Iterator[tuple[ClipView, Callable[[str], Tensor]]]:
    """The profile's image-text encoder as CLIP guidance uses it."""
    import torch

    from ragcore.diffusion.guidance import ClipView
    from ragcore.encoders import OpenClipEncoder, image_size

    encoder = models.image_text_encoder()
    if not isinstance(encoder, OpenClipEncoder):
        raise UsageError(
            "text guidance need an open_clip model as the profile's image-text encoder"
        )
    with encoder.weights.lease():
        network = encoder.network
        view = ClipView(network, size=image_size(network.visual), logit_scale=encoder.logit_scale)
        yield view, lambda text: torch.from_numpy(encoder.encode_texts([text])[0])


def _known(reference: ModelRef, options: Mapping[str, Any], known: tuple[str, ...]) -> None:
    if unknown := set(options) - set(known):
        raise UsageError(
            f"{reference.name}: unknown option {min(unknown)!r} of a {reference.kind} model"
        )
