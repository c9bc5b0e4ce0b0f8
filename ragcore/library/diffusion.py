"""Generated images beside the verb `imagine`: conditions, LoRA files, latents, the gallery."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Literal

from ragcore.catalog import Permit, permits
from ragcore.errors import NotPermitted, UsageError
from ragcore.extras import require_extra
from ragcore.library.core import Core
from ragcore.library.scopes import scoped
from ragcore.types import DiffusionModelInfo

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ragcore.diffusion import (
        CannyStage,
        Gallery,
        Imaginer,
        ImagineRequest,
        NegativeExample,
        Probe,
    )
    from ragcore.diffusion.model import LatentModel

ImageInput = bytes | str | Path


@scoped
class Diffusion:
    """What belongs to the profile's image generator. Raises UsageError if it has none."""

    def __init__(self, core: Core, permit: Permit | None = None) -> None:
        self._core, self._permit = core, permit

    @property
    def model(self) -> DiffusionModelInfo:
        """What the image generator can do."""
        from ragcore.diffusion import LoraDiffuser

        imaginer = imaginer_of(self._core)
        model = imaginer.model
        return DiffusionModelInfo(
            name=model.card.name,
            size=model.card.size,
            size_step=model.size_step,
            control_kinds=tuple(model.control_kinds),
            styles=tuple(imaginer.styles),
            condition_models=dict(imaginer.conditions.names),
            loras=isinstance(model, LoraDiffuser),
        )

    def class_names(self) -> list[str]:
        """Names that class guidance takes. Raises UsageError for a model without a classifier."""
        return imaginer_of(self._core).class_names

    def check(self, request: ImagineRequest) -> int:
        """Raises UsageError for what cannot be made; see `Imaginer.check`."""
        check_loras(self._core, request)
        return imaginer_of(self._core).check(request)

    def recipe(self, image: ImageInput) -> tuple[ImagineRequest, str]:
        """The request that a PNG of ours was made by, and the model's name.

        Raises UnreadableFile, or UsageError if it carries no recipe.
        """
        from ragcore.diffusion import read_recipe

        return read_recipe(image)

    def gallery(self, owner: str) -> Gallery:
        """The newest images that `owner` has made on a page and not stored in a collection."""
        from ragcore.diffusion import Gallery

        return Gallery(self._core.settings.home / "gallery", owner)

    def loras(self) -> dict[str, Path]:
        """LoRA files for the image generator that were added, by name."""
        found = sorted(lora_folder(self._core).glob("*.safetensors"))
        return {path.name: path for path in found}

    def add_lora(self, name: str, file: BinaryIO) -> Path:
        """Store a LoRA's .safetensors file for everybody.

        Raises UsageError for another file or one too large.
        """
        from ragcore.ingest import safe_name, store_file

        if not name.lower().endswith(".safetensors"):
            raise UsageError(f"a LoRA is a .safetensors file, not {name!r}")
        most = self._core.settings.ui_upload_mb * 2**20
        return store_file(lora_folder(self._core), safe_name(name), file, most)

    def condition(self, kind: str, image: ImageInput, *, size: int = 0, model: str = "") -> bytes:
        """What a ControlNet of this kind would follow in an image, as PNG (0: the model's size).

        Depth, normals and key points are made by the model that the profile names, or by `model`
        ("hub:OWNER/NAME" or "local:FOLDER"). Raises UsageError for a kind that is not made here,
        UnreadableFile, ModelUnavailable.
        """
        from ragcore.diffusion import MAKES, as_png, condition_model
        from ragcore.weights import ModelRef

        imaginer = imaginer_of(self._core)
        pixels = self._square(image, size or imaginer.model.card.size, f"condition {kind}")
        if not model:
            return as_png(imaginer.conditions.extract(kind, pixels))
        for does, kinds in MAKES.items():
            if kind in kinds:
                weights = condition_model(self._core.models, does, ModelRef(model, does), "cpu")
                with weights.lease() as maker:
                    return as_png(maker.condition(kind, pixels))
        makes = ", ".join(one for kinds in MAKES.values() for one in kinds)
        raise UsageError(f"a model makes {makes}, not {kind!r}")

    def canny_stages(self, image: ImageInput, *, size: int = 256) -> list[CannyStage]:
        """The five stages of Canny's edge detector on an image. Raises UnreadableFile."""
        from ragcore.diffusion import canny_stages

        return canny_stages.canny_stages(self._square(image, size, "image"))

    def negative_example(
        self, way: Literal["pixels", "latent", "interleaved"], name: str, *, seed: int = 0
    ) -> NegativeExample:
        """A way to generate an ImageNet class that does not work, to be looked at.

        Raises UsageError for an unknown class or a model without a latent space of its own.
        """
        require_extra("diffusion", "generated images")
        from ragcore.diffusion import negative_examples

        classifier = negative_examples.ImageNetClassifier(self._core.settings)
        if way == "pixels":
            return negative_examples.descend_pixels(classifier, name, seed=seed)
        model = self._latent_model()
        if way == "latent":
            return negative_examples.descend_latent(classifier, model, name, seed=seed)
        return negative_examples.interleave(classifier, model, name, seed=seed)

    @property
    def probes(self) -> dict[str, Probe]:
        """Linear probes of an image's latents, by attribute; none without probes."""
        from ragcore.diffusion import load_probes
        from ragcore.diffusion.model import LatentModel

        model = imaginer_of(self._core).model
        return load_probes(model.folder) if isinstance(model, LatentModel) else {}

    def edit_latents(
        self, image: ImageInput, changes: Mapping[str, float]
    ) -> tuple[bytes, dict[str, float]]:
        """A PNG after moving attributes of its latents, and the probes' predictions before.

        Attributes are moved by so many standard deviations.

        Raises UsageError for an attribute without a probe, UnreadableFile.
        """
        from ragcore.diffusion import as_png, latents

        model = self._latent_model()
        edited, read = latents.edit(model, self._square(image, model.card.size, "image"), changes)
        return as_png(edited), read

    def interpolate_latents(
        self, first: ImageInput, second: ImageInput, *, steps: int = 8
    ) -> list[bytes]:
        """Images (PNG) on the straight line between two images' latents, both ends included.

        Raises UsageError for fewer than 2 steps or more than 64, UnreadableFile.
        """
        from ragcore.diffusion import as_png, latents

        model = self._latent_model()
        ends = [self._square(one, model.card.size, "image") for one in (first, second)]
        return [as_png(one) for one in latents.interpolate(model, ends[0], ends[1], steps)]

    def _square(self, image: ImageInput, size: int, what: str) -> NDArray[np.uint8]:
        from ragcore.diffusion import square

        return square(image, size, what, max_megapixels=self._core.settings.max_megapixels)

    def _latent_model(self) -> LatentModel:
        from ragcore.diffusion.model import LatentModel

        model = imaginer_of(self._core).model
        if not isinstance(model, LatentModel):
            raise UsageError("this needs the latent space of a model that ragcore has trained")
        return model


def imaginer_of(core: Core) -> Imaginer:
    """The profile's image generator. Raises UsageError if it has none."""
    from ragcore.diffusion import factories

    return factories.imaginer_of(core.models)


def lora_folder(core: Core) -> Path:
    """Where LoRA files for the image generator are."""
    return core.settings.home / "picture-loras"


def check_loras(core: Core, request: ImagineRequest) -> None:
    """Raises NotPermitted for a LoRA file that was not added here.

    Unless an administrator of all collections asks: it would be a file of the server.
    """
    if permits.may("admin") and permits.sees_everything():
        return
    if any(lora.path.parent != lora_folder(core) for lora in request.loras):
        raise NotPermitted("choose one of the LoRA files that were added")
