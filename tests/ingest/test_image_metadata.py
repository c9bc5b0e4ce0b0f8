"""How images were taken: what their files, sidecars and names say, and what hostile ones do not."""

from __future__ import annotations

import datetime as dt
import os
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from PIL.Image import Exif

from ragcore.catalog import FileState
from ragcore.ingest.worker import ReadRequest, ReadResult, carry_out
from ragcore.readers import ReadOptions
from ragcore.types import ImageMetadata

CHANGED = dt.datetime(2025, 3, 2, 10, 20, 30, tzinfo=dt.UTC)  # the files' time, in all tests
BY_FILE = {"taken_at": dt.datetime(2025, 3, 2, 10, 20, 30), "utc_offset": 0, "taken_from": "file"}
NOON = dt.datetime(2024, 5, 1, 12, 30)
XMP = (
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF '
    'xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about="" '
    'xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmlns:dc="http://purl.org/dc/elements/1.1/" '
    'xmlns:exif="http://ns.adobe.com/exif/1.0/" xmlns:tiff="http://ns.adobe.com/tiff/1.0/" '
    'xmlns:photoshop="http://ns.adobe.com/photoshop/1.0/" {}>{}</rdf:Description></rdf:RDF>'
    "</x:xmpmeta>"
)


def exif_of(
    *, taken: Any = None, offset: Any = None, gps: dict[int, Any] | None = None,
    inner: dict[int, Any] | None = None, **tags: Any,
) -> Exif:  # fmt: skip
    """EXIF of tags by their numbers ("x010f")."""
    exif = Exif()
    for name, value in tags.items():
        exif[int(name[1:], 16)] = value
    photograph = exif.get_ifd(0x8769)
    photograph.update(inner or {})
    if taken is not None:
        photograph[0x9003] = taken
    if offset is not None:
        photograph[0x9011] = offset
    exif.get_ifd(0x8825).update(gps or {})
    return exif


def xmp(attributes: str = "", elements: str = "") -> bytes:
    return XMP.format(attributes, elements).encode()


def bag(*words: str) -> str:
    items = "".join(f"<rdf:li>{word}</rdf:li>" for word in words)
    return f"<dc:subject><rdf:Bag>{items}</rdf:Bag></dc:subject>"


def iptc(*records: tuple[int, int, bytes]) -> bytes:
    """The APP13 segment of a JPEG."""
    data = b"".join(struct.pack(">BBBH", 0x1C, r, s, len(v)) + v for r, s, v in records)
    block = b"8BIM\x04\x04\x00\x00" + struct.pack(">I", len(data)) + data + b"\0" * (len(data) % 2)
    body = b"Photoshop 3.0\0" + block
    return b"\xff\xed" + struct.pack(">H", len(body) + 2) + body


def position(latitude: float, north: str, longitude: float, east: str) -> dict[int, Any]:
    def parts(value: float) -> tuple[float, float, float]:
        minutes = (value % 1) * 60
        return (float(int(value)), float(int(minutes)), round((minutes % 1) * 60, 4))

    return {1: north, 2: parts(latitude), 3: east, 4: parts(longitude)}


Change = Callable[[bytes], bytes]


@dataclass(frozen=True)
class Case:
    """A file of this name, and what of its metadata is expected."""

    name: str
    right: dict[str, Any]
    exif: Exif | bytes | None = None
    xmp: bytes = b""
    sidecar: bytes = b""
    sidecar_name: str = ""
    change: Change | None = None
    warnings: tuple[str, ...] = ()


def after_start(segment: bytes) -> Change:
    return lambda data: data[:2] + segment + data[2:]


def with_bytes(old: bytes, new: bytes) -> Change:
    def change(data: bytes) -> bytes:
        assert old in data
        return data.replace(old, new)

    return change


BOMB = (
    b'<?xml version="1.0"?><!DOCTYPE r [<!ENTITY a "'
    + b"x" * 1000
    + b'">'
    + b"".join(f'<!ENTITY {chr(98 + n)} "{f"&{chr(97 + n)};" * 50}">'.encode() for n in range(8))
    + b"]><x:xmpmeta xmlns:x='adobe:ns:meta/'>&i;</x:xmpmeta>"
)
SECRET = b'<!DOCTYPE r [<!ENTITY f SYSTEM "file:///etc/passwd">]>' + xmp(
    "", "<dc:title><rdf:Alt><rdf:li>&f;</rdf:li></rdf:Alt></dc:title>"
)
FROM_EXIF = {"taken_at": NOON, "taken_from": "exif"}
TAKEN = exif_of(taken="2024:05:01 12:30:00")
SIDECAR_DAMAGED = ("the image's sidecar is damaged: not all of it was read",)

CASES = {
    "nothing is known": Case("a.jpg", BY_FILE),
    "exif date": Case("a.jpg", FROM_EXIF, TAKEN),
    "exif date and offset": Case(
        "a.jpg", {**FROM_EXIF, "utc_offset": -210},
        exif_of(taken="2024:05:01 12:30:00", offset="-03:30"),
    ),
    "an offset of no place": Case(
        "a.jpg", {**FROM_EXIF, "utc_offset": None},
        exif_of(taken="2024:05:01 12:30:00", offset="+99:00"),
    ),
    "an offset that is no offset": Case(
        "a.jpg", {**FROM_EXIF, "utc_offset": None},
        exif_of(taken="2024:05:01 12:30:00", offset="   :  "),
    ),
    "a clock that was never set": Case("a.jpg", BY_FILE, exif_of(taken="0000:00:00 00:00:00")),
    "a day that is not": Case("a.jpg", BY_FILE, exif_of(taken="2023:02:30 12:00:00")),
    "a date to come": Case("a.jpg", BY_FILE, exif_of(taken="2099:01:01 00:00:00")),
    "blanks for a date": Case("a.jpg", BY_FILE, exif_of(taken="    :  :     :  :  ")),
    "when it was scanned": Case(
        "a.jpg", FROM_EXIF, exif_of(inner={0x9004: "2024:05:01 12:30:00"})
    ),
    "when the file was edited is no capture date": Case(
        "a.jpg", BY_FILE, exif_of(x0132="2024:05:01 12:30:00")
    ),
    "png": Case("a.png", FROM_EXIF, TAKEN),
    "webp": Case("a.webp", FROM_EXIF, TAKEN),
    "heic": Case("a.heic", FROM_EXIF, TAKEN),
    "avif": Case("a.avif", FROM_EXIF, TAKEN),
    "xmp in a heic": Case(
        "a.heic", {"taken_at": NOON, "utc_offset": 120, "taken_from": "xmp", "rating": 4},
        xmp=xmp('exif:DateTimeOriginal="2024-05-01T12:30:00+02:00" xmp:Rating="4"'),
    ),
    "exif goes before xmp": Case(
        "a.jpg", {**FROM_EXIF, "rating": 2}, TAKEN,
        xmp=xmp('exif:DateTimeOriginal="1999-01-01T00:00:00" xmp:Rating="2"'),
    ),
    "xmp of a month": Case("a.jpg", BY_FILE, xmp=xmp('photoshop:DateCreated="2024-05"')),
    "xmp that is none": Case(
        "a.jpg", FROM_EXIF, TAKEN, xmp=b"<x:xmpmeta <<<",
        warnings=("the image's XMP is damaged: not all of it was read",),
    ),
    "iptc": Case(
        "a.jpg",
        {
            "taken_at": NOON, "utc_offset": 120, "taken_from": "iptc", "caption": "Am Flu\xdf",
            "keywords": ("R\xfcgen", "sea"),
        },
        change=after_start(
            iptc(
                (1, 90, b"\x1b%G"), (2, 55, b"20240501"), (2, 60, b"123000+0200"),
                (2, 25, "R\xfcgen".encode()), (2, 25, b"sea"), (2, 120, "Am Flu\xdf".encode()),
            )
        ),
    ),
    "iptc of an older time": Case(
        "a.jpg", {**BY_FILE, "caption": "Am Flu\xdf"},
        change=after_start(iptc((2, 120, b"Am Flu\xdf"), (2, 55, b"00000000"))),
    ),
    "phone's name": Case(
        "IMG_20240501_123000.jpg", {"taken_at": NOON, "utc_offset": None, "taken_from": "name"}
    ),
    "screenshot's name": Case(
        "Screenshot 2024-05-01 at 12.30.00.png", {"taken_at": NOON, "taken_from": "name"}
    ),
    "messenger's name": Case(
        "IMG-20240501-WA0003.jpg", {"taken_at": dt.datetime(2024, 5, 1), "taken_from": "name"}
    ),
    "a number that is no date": Case("DSC_20241399.jpg", BY_FILE),
    "digits within a longer number": Case("9920240501123000777.jpg", BY_FILE),
    "sidecar only": Case(
        "a.jpg",
        {
            "taken_at": NOON, "taken_from": "sidecar", "rating": 5, "keywords": ("dog", "garden"),
            "latitude": 47.05045, "longitude": -8.3, "camera": "Canon EOS R6",
        },
        sidecar=xmp(
            'xmp:Rating="5" photoshop:DateCreated="2024-05-01T12:30:00" exif:GPSLatitude='
            '"47,3.027N" exif:GPSLongitude="8,18.0W" tiff:Make="Canon" tiff:Model="Canon EOS R6"',
            bag("dog", "garden", "Dog"),
        ),
    ),
    "sidecar of the other name corrects": Case(
        "a.jpg",
        {"taken_at": dt.datetime(2020, 2, 3, 4, 5, 6), "taken_from": "sidecar", "rating": -1},
        TAKEN, sidecar=xmp('exif:DateTimeOriginal="2020-02-03T04:05:06" xmp:Rating="-1"'),
        sidecar_name="a.xmp",
    ),
    "sidecar's keywords are the whole list": Case(
        "a.jpg", {"keywords": ("new",)}, exif_of(x9c9e="old;gone\0".encode("utf-16-le")),
        sidecar=xmp("", bag("new")),
    ),
    "sidecar with a bomb": Case(
        "a.jpg", FROM_EXIF, TAKEN, sidecar=BOMB, warnings=SIDECAR_DAMAGED
    ),
    "sidecar that asks for a file": Case(
        "a.jpg", {**FROM_EXIF, "caption": ""}, TAKEN, sidecar=SECRET, warnings=SIDECAR_DAMAGED
    ),
    "sidecar that is too long": Case(
        "a.jpg", FROM_EXIF, TAKEN, sidecar=b" " * (4 * 2**20 + 1),
        warnings=("a.jpg.xmp is too long for a sidecar",),
    ),
    "empty sidecar": Case(
        "a.jpg", FROM_EXIF, TAKEN, sidecar=b"\n", warnings=SIDECAR_DAMAGED
    ),
    "position": Case(
        "a.jpg", {"latitude": -33.85678, "longitude": 151.21530},
        exif_of(gps=position(33.85678, "S", 151.2153, "E")),
    ),
    "position at 0, 0": Case(
        "a.jpg", {"latitude": None, "longitude": None}, exif_of(gps=position(0, "N", 0, "E"))
    ),
    "position off the globe": Case(
        "a.jpg", {"latitude": None, "longitude": None}, exif_of(gps=position(91, "N", 8, "E"))
    ),
    "position of half a pair": Case(
        "a.jpg", {"latitude": None, "longitude": None}, exif_of(gps={1: "N", 2: (47.0, 3.0, 0.0)})
    ),
    "everything of a camera": Case(
        "a.jpg",
        {
            "camera": "NIKON D750", "lens": "24-70mm f/2.8", "focal_length": 50.0, "iso": 400,
            "exposure": pytest.approx(0.008), "aperture": pytest.approx(2.8), "orientation": 6,
            "rating": 3, "keywords": ("family", "K\xe4se"), "caption": "On the bridge",
        },
        exif_of(
            x010f="NIKON CORPORATION\0\0", x0110="NIKON D750 ", x0112=6, x4746=3,
            x010e="On the\nbridge", x9c9e="family;K\xe4se;FAMILY\0".encode("utf-16-le"),
            inner={
                0xA434: "24-70mm f/2.8", 0x920A: 50.0, 0x8827: 400, 0x829A: 0.008, 0x829D: 2.8,
            },
        ),
    ),
    "what cameras write for a caption": Case(
        "a.jpg", {"caption": ""}, exif_of(x010e="OLYMPUS DIGITAL CAMERA         ")
    ),
    "an orientation that is none": Case("a.jpg", {"orientation": 1}, exif_of(x0112=77)),
    "texts that no database takes": Case(
        "a.jpg", {"camera": "Ca mera", "lens": "x" * 200},
        exif_of(x0110="Ca\x07mera\0evil", inner={0xA434: "x" * 5000}),
    ),
    "a number over nothing": Case(
        "a.jpg", {"focal_length": None, "aperture": None, "exposure": None},
        exif_of(inner={0x920A: (0, 0), 0x829D: (5, 0), 0x829A: -1.0}),
    ),
    "exif of noise": Case("a.jpg", BY_FILE, b"Exif\0\0" + bytes(range(256)) * 40),
    "exif cut off": Case("a.jpg", BY_FILE, TAKEN.tobytes()[:20]),
    "exif whose directory is itself": Case(
        "a.jpg", BY_FILE,
        b"Exif\0\0II*\0\x08\0\0\0\x02\0" + struct.pack("<HHII", 0x8769, 4, 1, 8)
        + struct.pack("<HHII", 0x8825, 4, 1, 8) + struct.pack("<I", 8),
    ),
    "exif with four thousand million values": Case(
        "a.jpg", BY_FILE,
        b"Exif\0\0II*\0\x08\0\0\0\x02\0" + struct.pack("<HHII", 0x010F, 2, 0xFFFFFFFF, 8)
        + struct.pack("<HHII", 0x0112, 3, 0x7FFFFFFF, 8) + struct.pack("<I", 0),
    ),
    "iptc of noise": Case("a.jpg", FROM_EXIF, TAKEN, change=after_start(
        b"\xff\xed\x00\x40" + b"Photoshop 3.0\0" + b"8BIM\x04\x04" + b"\xff" * 42)),
}  # fmt: skip


def written(folder: Path, case: Case) -> Path:
    """The file, with its sidecar."""
    import pillow_heif

    pillow_heif.register_heif_opener()
    path = folder / case.name
    how: dict[str, Any] = {}
    if case.exif is not None:
        how["exif"] = case.exif if isinstance(case.exif, bytes) else case.exif.tobytes()
    if case.xmp:
        how["xmp"] = case.xmp
    Image.linear_gradient("L").convert("RGB").save(path, **how)
    if case.change is not None:
        path.write_bytes(case.change(path.read_bytes()))
    if case.sidecar:
        (folder / (case.sidecar_name or f"{case.name}.xmp")).write_bytes(case.sidecar)
    os.utime(path, (CHANGED.timestamp(), CHANGED.timestamp()))
    return path


def read(path: Path, *, metadata_only: bool = False) -> ReadResult:
    size, mtime = path.stat().st_size, path.stat().st_mtime_ns
    state = FileState(str(path), path.name, size, mtime)
    return carry_out(ReadRequest(state, ReadOptions(ocr="off"), metadata_only=metadata_only))


@pytest.mark.parametrize("name", list(CASES))
def test_oddities(tmp_path: Path, name: str) -> None:
    case = CASES[name]
    path = written(tmp_path, case)
    result = read(path, metadata_only=True)
    assert not result.error
    assert result.metadata is not None
    found = {field: getattr(result.metadata, field) for field in case.right}
    assert found == case.right
    assert result.warnings == case.warnings


@pytest.mark.parametrize(
    "name", ["everything of a camera", "heic", "sidecar with a bomb", "exif of noise"]
)
def test_reading_the_image_finds_the_same(tmp_path: Path, name: str) -> None:
    case = CASES[name]
    path = written(tmp_path, case)
    alone, whole = read(path, metadata_only=True), read(path)
    assert whole.document is not None
    (image,) = whole.document.images
    assert image.metadata == alone.metadata
    assert whole.document.warnings == alone.warnings == case.warnings
    assert image.caption == (alone.metadata.caption if alone.metadata else "")
    upright = (256, 256)
    assert (image.width, image.height) == upright


def test_no_damage_costs_the_other_blocks(tmp_path: Path) -> None:
    segment = iptc((2, 120, b"the caption"))
    case = Case(
        "IMG_20240501_123000.jpg", {}, b"Exif\0\0" + b"\xff" * 500, xmp=b"<<<",
        sidecar=xmp('xmp:Rating="4"'), change=after_start(segment),
    )  # fmt: skip
    result = read(written(tmp_path, case), metadata_only=True)
    assert result.metadata is not None
    assert result.metadata.caption == "the caption"
    assert result.metadata.rating == 4
    assert result.metadata.taken_from == "name"
    assert "the image's XMP is damaged: not all of it was read" in result.warnings


def test_what_is_no_image_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(b"\xff\xd8\xff\xe0 and nothing else")
    result = read(path, metadata_only=True)
    assert result.metadata is None
    assert result.error


def test_there_are_thirty_oddities_and_more() -> None:
    assert len(CASES) >= 30
    named = {field for case in CASES.values() for field in case.right}
    assert named == set(ImageMetadata.__dataclass_fields__) - {"place"}
