"""Making pictures: the verbs of the picture maker."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Literal

from ragcore.catalog import permits
from ragcore.errors import UsageError
from ragcore.extras import require_extra
from ragcore.library.parts import Parts
from ragcore.types import CancelToken

if TYPE_CHECKING:
    from ragcore.diffusion import Gallery, Imagined, Imaginer, ImagineRequest, ImagineStep
    from ragcore.diffusion.canny_stages import CannyStage
    from ragcore.diffusion.codes import Probe
    from ragcore.diffusion.model import LatentModel
    from ragcore.diffusion.strawmen import StrawMan


class Imagining(Parts):
    """The verbs that make pictures."""

    @property
    def imaginer(self) -> Imaginer:
        """The profile's picture maker. Raises UsageError if it has none."""
        from ragcore.diffusion.factories import imaginer_of

        return imaginer_of(self.models)

    @permits.verb("read")
    def imagine(
        self,
        request: ImagineRequest | str,
        *,
        on_step: Callable[[ImagineStep], None] | None = None,
        preview_every: int = 0,
        cancel: CancelToken | None = None,
        **fields: Any,
    ) -> Imagined:
        """Make pictures. A plain string is `ImagineRequest(prompt=…, **fields)`.

        Raises UsageError for what cannot be made, UnreadableFile for a broken picture, Cancelled
        between two steps.
        """
        from ragcore.diffusion import ImagineRequest

        if isinstance(request, str):
            request = ImagineRequest(prompt=request, **fields)
        elif fields:
            raise TypeError("fields go with a plain string; use dataclasses.replace on a request")
        return self.imaginer.imagine(
            request, on_step=on_step, preview_every=preview_every, cancel=cancel
        )

    @permits.verb("read")
    def imagine_stream(
        self,
        request: ImagineRequest,
        *,
        preview_every: int = 0,
        cancel: CancelToken | None = None,
    ) -> Iterator[ImagineStep | Imagined]:
        """As `imagine`, in events: every step, at last what was made."""
        return self.imaginer.stream(request, preview_every=preview_every, cancel=cancel)

    def recipe_of(self, picture: bytes | str | Path) -> tuple[ImagineRequest, str]:
        """The request that a PNG of ours was made by, and the model's name.

        Raises UnreadableFile, or UsageError if it carries no recipe.
        """
        from ragcore.diffusion import read_recipe

        return read_recipe(picture)

    def gallery(self, owner: str) -> Gallery:
        """The newest pictures that `owner` has made on a page and not kept in a collection."""
        from ragcore.diffusion import Gallery

        return Gallery(self.settings.home / "gallery", owner)

    @property
    def takes_picture_loras(self) -> bool:
        """Whether the image generator takes LoRA files."""
        from ragcore.diffusion.base import LoraDiffuser

        return isinstance(self.imaginer.model, LoraDiffuser)

    def picture_loras(self) -> dict[str, Path]:
        """LoRA files for the picture maker that were added, by name."""
        found = sorted((self.settings.home / "picture-loras").glob("*.safetensors"))
        return {path.name: path for path in found}

    @permits.verb("admin", everywhere=True)
    def add_picture_lora(self, name: str, file: BinaryIO) -> Path:
        """Keep a LoRA's .safetensors file for everybody.

        Raises UsageError for another file or one too large.
        """
        from ragcore.ingest.uploads import safe_name, store_file

        if not name.lower().endswith(".safetensors"):
            raise UsageError(f"a LoRA is a .safetensors file, not {name!r}")
        folder = self.settings.home / "picture-loras"
        return store_file(folder, safe_name(name), file, self.settings.ui_upload_mb * 2**20)

    def condition(
        self, kind: str, picture: bytes | str | Path, *, size: int = 0, model: str = ""
    ) -> bytes:
        """What a ControlNet of this kind would follow in a picture, as PNG (0: the model's size).

        Depth, normals and key points are made by the model that the profile names, or by `model`
        ("hub:OWNER/NAME" or "local:FOLDER"). Raises UsageError for a kind that is not made here,
        UnreadableFile, ModelUnavailable.
        """
        from ragcore.diffusion.factories import condition_model
        from ragcore.diffusion.hub_conditions import MAKES
        from ragcore.diffusion.pictures import as_png, square
        from ragcore.weights import ModelRef

        side = size or self.imaginer.model.card.size
        pixels = square(picture, side, f"condition {kind}")
        if not model:
            return as_png(self.imaginer.conditions.extract(kind, pixels))
        permits.require_everywhere("admin")  # it names a folder of the server, or fetches weights
        for does, kinds in MAKES.items():
            if kind in kinds:
                weights = condition_model(self.models, does, ModelRef(model, does), "cpu")
                with weights.lease() as maker:
                    return as_png(maker.condition(kind, pixels))
        makes = ", ".join(one for kinds in MAKES.values() for one in kinds)
        raise UsageError(f"a model makes {makes}, not {kind!r}")

    def canny_stages(self, picture: bytes | str | Path, *, size: int = 256) -> list[CannyStage]:
        """The five stages of Canny's edge detector on a picture. Raises UnreadableFile."""
        from ragcore.diffusion.canny_stages import canny_stages
        from ragcore.diffusion.pictures import square

        return canny_stages(square(picture, size, "picture"))

    def straw_man(
        self, way: Literal["pixels", "latent", "interleaved"], name: str, *, seed: int = 0
    ) -> StrawMan:
        """A way to generate an ImageNet class that does not work, to be looked at.

        Raises UsageError for an unknown class or a model without a latent space of its own.
        """
        require_extra("diffusion", "generated images")
        from ragcore.diffusion import strawmen

        classifier = strawmen.ImageNetClassifier(self.settings)
        if way == "pixels":
            return strawmen.descend_pixels(classifier, name, seed=seed)
        model = self._latent_model()
        if way == "latent":
            return strawmen.descend_latent(classifier, model, name, seed=seed)
        return strawmen.interleave(classifier, model, name, seed=seed)

    @property
    def probes(self) -> dict[str, Probe]:
        """What can be read off a picture's code, and moved, by attribute; none without probes."""
        from ragcore.diffusion.codes import load_probes
        from ragcore.diffusion.model import LatentModel

        model = self.imaginer.model
        return load_probes(model.folder) if isinstance(model, LatentModel) else {}

    def edit_code(
        self, picture: bytes | str | Path, changes: Mapping[str, float]
    ) -> tuple[bytes, dict[str, float]]:
        """A picture (PNG) after moving attributes of its code by so many standard deviations,
        and what the probes read off it before.

        Raises UsageError for an attribute without a probe, UnreadableFile.
        """
        from ragcore.diffusion import codes
        from ragcore.diffusion.pictures import as_png, square

        model = self._latent_model()
        edited, read = codes.edit(model, square(picture, model.card.size, "picture"), changes)
        return as_png(edited), read

    def interpolate_codes(
        self, first: bytes | str | Path, second: bytes | str | Path, *, steps: int = 8
    ) -> list[bytes]:
        """Pictures (PNG) on the straight line between two codes, both ends included.

        Raises UsageError for fewer than 2 steps or more than 64, UnreadableFile.
        """
        from ragcore.diffusion import codes
        from ragcore.diffusion.pictures import as_png, square

        model = self._latent_model()
        ends = [square(one, model.card.size, "picture") for one in (first, second)]
        return [as_png(one) for one in codes.interpolate(model, ends[0], ends[1], steps)]

    def _latent_model(self) -> LatentModel:
        from ragcore.diffusion.model import LatentModel

        model = self.imaginer.model
        if not isinstance(model, LatentModel):
            raise UsageError("this needs the latent space of a model that ragcore has trained")
        return model
