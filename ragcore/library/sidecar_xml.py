"""What is known of an image as an XMP sidecar, for other programs and for ingest to read."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

from ragcore.catalog import ImageMarks
from ragcore.types import ImageMetadata

TOOLKIT = "ragcore"  # x:xmptk of what is written here
_NAMESPACES = {
    "rdf": "http://www.w3.org/1999/02/22-rdf-syntax-ns#",
    "dc": "http://purl.org/dc/elements/1.1/",
    "xmp": "http://ns.adobe.com/xap/1.0/",
    "exif": "http://ns.adobe.com/exif/1.0/",
    "ragcore": "urn:ragcore:xmp:1.0/",
}
_META = "adobe:ns:meta/"
_XML = "http://www.w3.org/XML/1998/namespace"


def sidecar(metadata: ImageMetadata | None, marks: ImageMarks, caption: str = "") -> bytes:
    """XMP of an image's metadata and marks.

    The rating that counts (xmp:Rating), keywords and tags (dc:subject), the caption
    (dc:description), the note (exif:UserComment), the capture date where it is not only that of the
    file, and position. Favorites and albums have no place in XMP: ragcore:Favorite and
    ragcore:Albums.
    """
    from lxml import etree

    about = metadata or ImageMetadata()
    root = etree.Element(f"{{{_META}}}xmpmeta", nsmap={"x": _META})
    root.set(f"{{{_META}}}xmptk", TOOLKIT)
    rdf = etree.SubElement(root, _name("rdf:RDF"), nsmap=_NAMESPACES)
    described = etree.SubElement(rdf, _name("rdf:Description"))
    described.set(_name("rdf:about"), "")

    def listed(name: str, container: str, values: Sequence[str], language: str = "") -> None:
        outer = etree.SubElement(etree.SubElement(described, _name(name)), _name(container))
        for value in values:
            item = etree.SubElement(outer, _name("rdf:li"))
            item.text = _xml_text(value)
            if language:
                item.set(f"{{{_XML}}}lang", language)

    rating = about.rating if marks.rating is None else marks.rating
    if rating is not None:
        described.set(_name("xmp:Rating"), str(rating))
    if marks.favorite:
        described.set(_name("ragcore:Favorite"), "True")
    if about.taken_at is not None and about.taken_from not in ("name", "file"):
        described.set(_name("exif:DateTimeOriginal"), _date(about))
    if about.latitude is not None and about.longitude is not None:
        described.set(_name("exif:GPSLatitude"), _degrees(about.latitude, "NS"))
        described.set(_name("exif:GPSLongitude"), _degrees(about.longitude, "EW"))
    if words := tuple(dict.fromkeys((*about.keywords, *marks.tags))):
        listed("dc:subject", "rdf:Bag", words)
    if said := caption or about.caption:
        listed("dc:description", "rdf:Alt", [said], "x-default")
    if marks.note:
        listed("exif:UserComment", "rdf:Alt", [marks.note], "x-default")
    if marks.albums:
        listed("ragcore:Albums", "rdf:Bag", marks.albums)
    written: bytes = etree.tostring(root, xml_declaration=True, encoding="UTF-8", pretty_print=True)
    return written


def is_ours(data: bytes) -> bool:
    """Whether a sidecar was written here, so that it may be written again."""
    return f'xmptk="{TOOLKIT}"'.encode() in data[:1_000]


def _name(name: str) -> str:
    prefix, _, local = name.partition(":")
    return f"{{{_NAMESPACES[prefix]}}}{local}"


def _xml_text(value: str) -> str:
    """Without the control characters that XML cannot hold."""
    return "".join(c for c in value if c in "\t\n" or (c >= " " and not 0xD800 <= ord(c) < 0xE000))


def _date(about: ImageMetadata) -> str:
    assert about.taken_at is not None
    at = about.taken_at
    if about.utc_offset is not None:
        at = at.replace(tzinfo=dt.timezone(dt.timedelta(minutes=about.utc_offset)))
    return at.isoformat(timespec="seconds")


def _degrees(value: float, sides: str) -> str:
    """Degrees and minutes, as "47,3.0300N"."""
    whole, minutes = divmod(abs(value) * 60, 60)
    return f"{int(whole)},{minutes:.6f}{sides[value < 0]}"
