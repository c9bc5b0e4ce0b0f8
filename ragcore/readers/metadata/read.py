"""The metadata of an image file: what its blocks, its sidecar and its name say, in this order.

Each block is read by itself, so that a damaged one costs its own values and no others.
"""

from __future__ import annotations

import datetime as dt
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ragcore.files import read_regular
from ragcore.readers.metadata import exif, iptc, values, xmp
from ragcore.types import ImageMetadata, TakenFrom


@dataclass(frozen=True, slots=True)
class Blocks:
    """What is in an image file, as found: an EXIF object, XMP, IPTC records."""

    exif: Any = None
    xmp: bytes = b""
    iptc: Any = None
    damaged: tuple[str, ...] = ()  # names of blocks that cannot be read


NO_BLOCKS = Blocks()


def blocks_of(opened: Any) -> Blocks:
    """The blocks of an image that Pillow has opened. Never raises."""
    damaged: list[str] = []

    def block(name: str, look: Callable[[], Any], default: Any) -> Any:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return look()
        except Exception:  # of parsers over bytes that anybody may have written
            damaged.append(name)
            return default

    return Blocks(
        block("EXIF", opened.getexif, None),
        block("XMP", lambda: _xmp_bytes(opened), b""),
        block("IPTC", lambda: _iptc_records(opened), None),
        tuple(damaged),
    )


def _xmp_bytes(opened: Any) -> bytes:
    found = opened.info.get("xmp") or opened.info.get("XML:com.adobe.xmp") or b""
    if not found and opened.format == "TIFF":
        found = opened.tag_v2.get(700, b"")
    return found.encode("utf-8", "replace") if isinstance(found, str) else bytes(found)


def _iptc_records(opened: Any) -> Any:
    from PIL import IptcImagePlugin

    if opened.format not in {"JPEG", "MPO", "TIFF"}:
        return None
    return IptcImagePlugin.getiptcinfo(opened)


def orientation(found: Blocks) -> int:
    """1 to 8 as EXIF counts them; 1 (upright) where there is none, or none that makes sense."""
    try:
        value = found.exif.get(0x0112, 1) if found.exif is not None else 1
        return int(value) if 1 <= int(value) <= 8 else 1
    except Exception:
        return 1


def image_metadata(found: Blocks, *, sidecar: bytes = b"") -> tuple[ImageMetadata, tuple[str, ...]]:
    """The metadata of an image file, and which of its blocks are damaged.

    A sidecar has what a person has corrected: its values come first. Then EXIF, XMP, IPTC.
    """
    damaged = list(found.damaged)
    sources: list[tuple[TakenFrom, dict[str, Any]]] = []
    parts: tuple[tuple[TakenFrom, Any, Callable[[Any], dict[str, Any]]], ...] = (
        ("sidecar", sidecar, xmp.read),
        ("exif", found.exif, exif.read),
        ("xmp", found.xmp, xmp.read),
        ("iptc", found.iptc, iptc.read),
    )
    for source, block, read in parts:
        try:
            fields = {} if block is None or block == b"" else read(block)
        except Exception:
            fields = {"damaged": True}
        if fields.pop("damaged", False):
            damaged.append("sidecar" if source == "sidecar" else source.upper())
        sources.append((source, fields))
    return _merged(sources, orientation(found)), tuple(dict.fromkeys(damaged))


def _merged(sources: list[tuple[TakenFrom, dict[str, Any]]], turned: int) -> ImageMetadata:
    merged: dict[str, Any] = {}
    taken_from: TakenFrom = ""
    words: list[str] = []
    for source, fields in sources:
        if "taken" in fields and not taken_from:
            taken_from = source
        for field, value in fields.items():
            if field == "keywords" and "sidecar keywords" not in merged:
                words += value
                if source == "sidecar":  # the whole list, as the person left it
                    merged["sidecar keywords"] = True
            merged.setdefault(field, value)
    at, offset = merged.get("taken", (None, None))
    latitude, longitude = merged.get("position", (None, None))
    plain = ("camera", "lens", "focal_length", "exposure", "aperture", "iso", "rating", "caption")
    return ImageMetadata(
        taken_at=at,
        utc_offset=offset,
        taken_from=taken_from,
        latitude=latitude,
        longitude=longitude,
        keywords=values.keywords(words),
        orientation=turned,
        **{name: merged[name] for name in plain if name in merged},
    )


def with_file_date(about: ImageMetadata, name: str, mtime_ns: int) -> ImageMetadata:
    """Where no date is known: that in the file's name, or the time at which it was changed."""
    if about.taken_at is not None:
        return about
    if (named := values.date_in_name(name)) is not None:
        return replace(about, taken_at=named[0], taken_from="name")
    changed = dt.datetime.fromtimestamp(mtime_ns // 10**9, dt.UTC).replace(tzinfo=None)
    return replace(about, taken_at=changed, utc_offset=0, taken_from="file")


def sidecar_of(path: Path) -> bytes:
    """The XMP file beside an image: photo.jpg.xmp, or photo.xmp. Empty where there is none.

    Raises ValueError for one that is too long or cannot be read.
    """
    for beside in (path.with_name(f"{path.name}.xmp"), path.with_suffix(".xmp")):
        for candidate in (beside, beside.with_suffix(".XMP")):
            if not candidate.is_file():
                continue
            if candidate.stat().st_size > xmp.MAX_BYTES:
                raise ValueError(f"{candidate.name} is too long for a sidecar")
            try:
                return read_regular(candidate)
            except OSError as error:
                raise ValueError(f"{candidate.name} cannot be read: {error.strerror}") from None
    return b""
