"""Images in and out: files to pixels of the right size, results to PNG with their recipe."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ragcore.diffusion.request import (
    ControlRequest,
    GuidanceRequest,
    ImageInput,
    ImagineRequest,
    LoraRequest,
)
from ragcore.errors import UnreadableFile, UsageError
from ragcore.readers import load_image

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image

    Pixels = NDArray[np.uint8]

CHUNK = "ragcore"  # the PNG text chunk that holds the recipe
VERSION = 1
_DEPRECATED = "start_picture"  # a key of recipes; files that have it stay readable
_IMAGE_CHUNK = b"rgPi"  # private, and safe to copy by programs that do not know it
_MOST_TEXT = 500_000
_PLAIN = ("prompt", "negative", "style", "seed", "steps", "size", "scale", "sampler", "guess")


def open_image(image: ImageInput, what: str, *, max_megapixels: int = 100) -> Image:
    """Decode a path or bytes, upright, as RGB on white. Raises UnreadableFile."""
    shown = "the image" if isinstance(image, bytes) else str(image)
    source = image if isinstance(image, bytes) else Path(image).expanduser()
    try:
        return load_image(source, max_megapixels=max_megapixels)
    except UnreadableFile as error:
        raise UnreadableFile(f"{what}: {shown} is not a readable image ({error})") from error


def square(image: ImageInput, size: int, what: str, *, max_megapixels: int = 100) -> Pixels:
    """An image as RGB uint8 [size, size, 3]: padded with white to a square, then resized."""
    import numpy as np
    from PIL import Image

    opened = open_image(image, what, max_megapixels=max_megapixels)
    side = max(opened.size)
    if opened.size != (side, side):
        padded = Image.new("RGB", (side, side), "white")
        padded.paste(opened, ((side - opened.width) // 2, (side - opened.height) // 2))
        opened = padded
    if side != size:
        opened = opened.resize((size, size), Image.Resampling.LANCZOS)
    pixels: Pixels = np.asarray(opened).copy()
    return pixels


def as_png(pixels: Pixels, recipe: Mapping[str, Any] | None = None) -> bytes:
    """A PNG of RGB uint8 [h, w, 3], with the recipe as a compressed text chunk.

    Readers refuse text above a megabyte: images of a recipe that is larger go into chunks of
    their own, and numbers stand for them in the text.
    """
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    if recipe is not None:
        text = json.dumps(recipe, ensure_ascii=True)
        if len(text) > _MOST_TEXT:
            small, images = _without_images(recipe)
            text = json.dumps(small, ensure_ascii=True)
            for image in images:
                info.add(_IMAGE_CHUNK, image)
        info.add_text(CHUNK, text, zip=True)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG", pnginfo=info, optimize=True)
    return file.getvalue()


def _without_images(recipe: Mapping[str, Any]) -> tuple[dict[str, Any], list[bytes]]:
    """The recipe with numbers for its images, and the images."""
    images: list[bytes] = []

    def number(text: str) -> int:
        images.append(_unpacked(text))
        return len(images) - 1

    small = dict(recipe)
    small["controls"] = [
        {**control, "condition": number(control["condition"])} for control in recipe["controls"]
    ]
    if "start_image" in recipe:
        small["start_image"] = number(recipe["start_image"])
    return small, images


def _with_images(values: dict[str, Any], images: list[bytes]) -> dict[str, Any]:
    """The way back."""

    def text(given: Any) -> Any:
        return base64.b64encode(images[given]).decode() if isinstance(given, int) else given

    for control in values["controls"]:
        control["condition"] = text(control["condition"])
    if "start_image" in values:
        values["start_image"] = text(values["start_image"])
    return values


def recipe_of(
    request: ImagineRequest, *, seed: int, size: int, model: str, start: Pixels | None,
    conditions: list[Pixels],
) -> dict[str, Any]:  # fmt: skip
    """Everything that is needed to make one image again, as plain JSON values."""
    whole = replace(request, seed=seed, size=size, count=1)
    recipe: dict[str, Any] = {"version": VERSION, "model": model}
    recipe |= {name: getattr(whole, name) for name in _PLAIN}
    recipe["loras"] = [[str(lora.path), lora.weight] for lora in request.loras]
    recipe["guides"] = [str(one) for one in request.guidance]
    recipe["controls"] = [
        {
            "kind": control.kind,
            "weight": control.weight,
            "start": control.start,
            "end": control.end,
            "condition": _packed(condition),
        }
        for control, condition in zip(request.controls, conditions, strict=True)
    ]
    if start is not None:
        recipe |= {"start_image": _packed(start), "strength": request.strength}
    return recipe


def recipe_values(image: ImageInput) -> dict[str, Any]:
    """The recipe in a PNG as plain values, not checked further than its version.

    Raises UnreadableFile if it is no image, UsageError if it carries no recipe of ours.
    """
    from PIL import Image

    source = io.BytesIO(image) if isinstance(image, bytes) else Path(image).expanduser()
    try:
        with Image.open(source) as opened:
            opened.load()
            text = getattr(opened, "text", opened.info).get(CHUNK)
            private = getattr(opened, "private_chunks", [])
            images = [chunk[1] for chunk in private if chunk[0] == _IMAGE_CHUNK]
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise UnreadableFile("the file is not a readable image") from error
    if not isinstance(text, str):
        raise UsageError("this image carries no recipe: only PNGs that were made here do")
    try:
        values: dict[str, Any] = json.loads(text)
        if values["version"] != VERSION:
            raise UsageError(f"the image's recipe is of version {values['version']}, not {VERSION}")
        if _DEPRECATED in values:  # a PNG of an earlier release
            values["start_image"] = values.pop(_DEPRECATED)
        return _with_images(values, images)
    except (KeyError, IndexError, TypeError, ValueError) as error:
        if isinstance(error, UsageError):
            raise
        raise UsageError("the image's recipe is damaged") from error


def read_recipe(image: ImageInput) -> tuple[ImagineRequest, str]:
    """The request that made a PNG, and the model's name.

    Raises UnreadableFile if it is no image, UsageError if it carries no recipe of ours or a
    broken one.
    """
    values = recipe_values(image)
    try:
        controls = [
            ControlRequest(
                row["kind"], _unpacked(row["condition"]), row["weight"], row["start"], row["end"],
                ready=True,
            )
            for row in values["controls"]
        ]  # fmt: skip
        more: dict[str, Any] = {name: values[name] for name in _PLAIN}
        if "start_image" in values:
            more["start_image"] = _unpacked(values["start_image"])
            more["strength"] = values["strength"]
        more["loras"] = [LoraRequest(Path(path), weight) for path, weight in values["loras"]]
        guidance = [GuidanceRequest.parse(one) for one in values["guides"]]
        return ImagineRequest(**more, guidance=guidance, controls=controls), str(values["model"])
    except (KeyError, TypeError, ValueError) as error:
        if isinstance(error, UsageError):
            raise
        raise UsageError("the image's recipe is damaged") from error


def _packed(pixels: Pixels) -> str:
    return base64.b64encode(as_png(pixels)).decode()


def _unpacked(text: str) -> bytes:
    return base64.b64decode(text, validate=True)
