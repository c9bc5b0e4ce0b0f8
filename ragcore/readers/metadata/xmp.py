"""XMP, in an image or in a sidecar beside it, to image metadata."""

from __future__ import annotations

import re
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from ragcore.readers.metadata import values

if TYPE_CHECKING:
    from lxml.etree import _Element as Element

MAX_BYTES = 4 * 2**20
_SPACES = {
    "rdf": "http://www.w3.org/1999/02/22-rdf-syntax-ns#",
    "dc": "http://purl.org/dc/elements/1.1/",
    "xmp": "http://ns.adobe.com/xap/1.0/",
    "tiff": "http://ns.adobe.com/tiff/1.0/",
    "exif": "http://ns.adobe.com/exif/1.0/",
    "exifEX": "http://cipa.jp/exif/1.0/",
    "aux": "http://ns.adobe.com/exif/1.0/aux/",
    "photoshop": "http://ns.adobe.com/photoshop/1.0/",
}
_GPS = re.compile(r"(\d{1,3}),(\d+(?:\.\d+)?)(?:,(\d+(?:\.\d+)?))?([NSEW])", re.IGNORECASE)


def read(data: bytes) -> dict[str, Any]:
    """Fields of `ImageMetadata`, and "taken" as (clock, minutes from UTC).

    Whatever is not there or makes no sense is left out. Raises ValueError for what is no XMP, or
    too long.
    """
    described = _descriptions(data)

    def first(*names: str) -> str:
        found = (value for name in names for value in _all(described, name) if value.strip())
        return next(found, "")

    taken = first("exif:DateTimeOriginal", "photoshop:DateCreated", "xmp:CreateDate")
    iso = values.number(first("exif:ISOSpeedRatings", "exifEX:PhotographicSensitivity"))
    latitude, longitude = (_degrees(first(f"exif:GPS{side}")) for side in ("Latitude", "Longitude"))
    found = {
        "taken": values.date(taken),
        "camera": values.camera(first("tiff:Make"), first("tiff:Model")),
        "lens": values.text(first("exifEX:LensModel", "aux:Lens")),
        "focal_length": values.number(first("exif:FocalLength"), 10_000),
        "exposure": values.number(first("exif:ExposureTime"), 1e5),
        "aperture": values.number(first("exif:FNumber"), 1_000),
        "iso": None if iso is None else round(iso),
        "position": values.position(latitude, longitude),
        "rating": values.rating(first("xmp:Rating")),
        "keywords": values.keywords(_all(described, "dc:subject")),
        "caption": values.text(first("dc:description", "dc:title"), values.MAX_CAPTION),
    }
    return {name: value for name, value in found.items() if value not in (None, "", ())}


def _descriptions(data: bytes) -> list[Element]:
    from lxml import etree

    if len(data) > MAX_BYTES:
        raise ValueError("the XMP is too long")
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False)
    root = None
    with suppress(etree.XMLSyntaxError):
        root = etree.fromstring(data.strip(b"\0 \t\r\n"), parser)
    if root is None or root.getroottree().docinfo.doctype:  # a DTD is never needed
        raise ValueError("this is no XMP")
    return list(root.iter(f"{{{_SPACES['rdf']}}}Description"))


def _all(described: list[Element], name: str) -> list[str]:
    """Every text of a property: an attribute, an element, or the items of its list."""
    space, _, local = name.partition(":")
    tag, item = f"{{{_SPACES[space]}}}{local}", f"{{{_SPACES['rdf']}}}li"
    found: list[str] = []
    for element in described:
        if tag in element.attrib:
            found.append(str(element.attrib[tag]))
        for inner in element.findall(tag):
            listed = [str(one.text or "") for one in inner.iter(item)]
            found += listed or [str(inner.text or "")]
    return found


def _degrees(written: str) -> float | None:
    """Of "47,3.027N" or "47,3,2N"; also of plain degrees."""
    match = _GPS.fullmatch(written.strip())
    if match is None:
        with suppress(ValueError):
            return values.degrees([float(written)], "", "-")
        return None
    parts = [float(part) for part in match.groups()[:3] if part]
    return values.degrees(parts, "-" if match[4].upper() in "SW" else "", "-")
