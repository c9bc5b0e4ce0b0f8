"""EXIF to image metadata."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ragcore.readers.metadata import values

if TYPE_CHECKING:
    from PIL.Image import Exif

_EXIF, _GPS = 0x8769, 0x8825
# What cameras write where people would have written a caption.
_NO_CAPTIONS = {
    "olympus digital camera", "sony dsc", "dcim", "dsc", "default", "samsung", "image",
    "kodak digital still camera", "minolta digital camera", "konica minolta digital camera",
    "exif_jpeg_picture", "untitled", "cof", "hdr", "sdr", "mde", "ptr", "ozedf", "oznor",
}  # fmt: skip


def read(exif: Exif) -> dict[str, Any]:
    """Fields of `ImageMetadata`, and "taken" as (clock, minutes from UTC).

    "damaged" where a directory cannot be read. Whatever is not there or makes no sense is left out.
    """
    found: dict[str, Any] = {}
    for part in (_of_file, _of_photograph, _of_position):
        try:
            found |= part(exif)
        except Exception:  # costs the values of this directory only
            found["damaged"] = True
    return {name: value for name, value in found.items() if value not in (None, "", ())}


def _of_file(exif: Exif) -> dict[str, Any]:
    caption = values.text(exif.get(0x010E), values.MAX_CAPTION)
    return {
        "camera": values.camera(exif.get(0x010F), exif.get(0x0110)),
        "rating": values.rating(exif.get(0x4746)),
        "keywords": values.keywords(_wide(exif.get(0x9C9E)).split(";")),
        "caption": "" if caption.casefold() in _NO_CAPTIONS else caption,
    }


def _of_photograph(exif: Exif) -> dict[str, Any]:
    tags: Mapping[int, Any] = exif.get_ifd(_EXIF)
    taken = values.date(tags.get(0x9003), tags.get(0x9011) or tags.get(0x9010))
    taken = taken or values.date(tags.get(0x9004), tags.get(0x9012) or tags.get(0x9010))
    iso = tags.get(0x8827)
    iso = values.number(iso[0] if isinstance(iso, tuple) and iso else iso)
    return {
        "taken": taken,
        "lens": values.text(tags.get(0xA434)),
        "focal_length": values.number(tags.get(0x920A), 10_000),
        "exposure": values.number(tags.get(0x829A), 1e5),
        "aperture": values.number(tags.get(0x829D), 1_000),
        "iso": None if iso is None else round(iso),
    }


def _of_position(exif: Exif) -> dict[str, Any]:
    tags: Mapping[int, Any] = exif.get_ifd(_GPS)
    return {
        "position": values.position(
            values.degrees(tags.get(2), tags.get(1), "S"),
            values.degrees(tags.get(4), tags.get(3), "W"),
        )
    }


def _wide(value: Any) -> str:
    """Text that Windows writes as UTF-16."""
    if isinstance(value, tuple) and all(isinstance(one, int) for one in value):
        value = bytes(one & 0xFF for one in value)
    return value.decode("utf-16-le", "ignore").rstrip("\0") if isinstance(value, bytes) else ""
