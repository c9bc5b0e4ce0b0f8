"""What kind of file this is: its first bytes and zip members decide, then its name."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ragcore.errors import UnreadableFile

Kind = Literal[
    "pdf", "text", "markdown", "html", "docx", "pptx", "xlsx", "csv", "epub", "eml", "image"
]

_OFFICE = "application/vnd.openxmlformats-officedocument."
MEDIA_TYPES: dict[Kind, str] = {
    "pdf": "application/pdf",
    "text": "text/plain",
    "markdown": "text/markdown",
    "html": "text/html",
    "docx": _OFFICE + "wordprocessingml.document",
    "pptx": _OFFICE + "presentationml.presentation",
    "xlsx": _OFFICE + "spreadsheetml.sheet",
    "csv": "text/csv",
    "epub": "application/epub+zip",
    "eml": "message/rfc822",
}

IMAGE_SUFFIXES: dict[str, str] = {
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".jpe": "image/jpeg",
    ".jfif": "image/jpeg",
    ".png": "image/png",
    ".webp": "image/webp",
    ".gif": "image/gif",
    ".tif": "image/tiff",
    ".tiff": "image/tiff",
    ".bmp": "image/bmp",
    ".heic": "image/heic",
    ".heif": "image/heic",
    ".avif": "image/avif",
}
_DOCUMENT_SUFFIXES: dict[str, Kind] = {
    ".pdf": "pdf",
    ".docx": "docx",
    ".docm": "docx",
    ".pptx": "pptx",
    ".pptm": "pptx",
    ".xlsx": "xlsx",
    ".xlsm": "xlsx",
    ".epub": "epub",
}
_TEXT_SUFFIXES: dict[str, Kind] = {
    ".txt": "text",
    ".text": "text",
    ".log": "text",
    ".rst": "text",
    ".org": "text",
    ".tex": "text",
    ".json": "text",
    ".jsonl": "text",
    ".yaml": "text",
    ".yml": "text",
    ".toml": "text",
    ".ini": "text",
    ".xml": "text",
    ".py": "text",
    ".md": "markdown",
    ".markdown": "markdown",
    ".html": "html",
    ".htm": "html",
    ".xhtml": "html",
    ".csv": "csv",
    ".tsv": "csv",
    ".eml": "eml",
}
# What a walk over a folder picks up; .svg is in so that its refusal is said, not passed over.
KNOWN_SUFFIXES: frozenset[str] = frozenset(
    {*IMAGE_SUFFIXES, *_DOCUMENT_SUFFIXES, *_TEXT_SUFFIXES, ".svg"}
)

_MAGIC: tuple[tuple[bytes, str], ...] = (
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"II*\x00", "image/tiff"),
    (b"MM\x00*", "image/tiff"),
    (b"II+\x00", "image/tiff"),
    (b"MM\x00+", "image/tiff"),
)
_HEIF_BRANDS = {b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1"}
_FOREIGN: tuple[tuple[bytes, str], ...] = (
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old or locked Office file: save it as .docx, .xlsx"),
    (b"Rar!", "a RAR archive: unpack it first"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive: unpack it first"),
    (b"\x1f\x8b", "a gzip archive: unpack it first"),
    (b"\x7fELF", "a program"),
    (b"MZ", "a program"),
    (b"SQLite format 3\x00", "a database"),
)
_HEAD = 4096


@dataclass(frozen=True, slots=True)
class FileType:
    """`kind` chooses the reader; `media_type` is what the catalogue stores."""

    kind: Kind
    media_type: str


def sniff(path: Path) -> FileType:
    """The type of the file at `path`, by content first and extension second.

    Raises `UnreadableFile` for empty files, types that are not read, and names that promise a
    picture or document which the content is not.
    """
    with path.open("rb") as file:
        head = file.read(_HEAD)
    if not head:
        raise UnreadableFile("the file is empty")
    suffix = path.suffix.lower()
    image = image_type(head)
    if image:
        return FileType("image", image)
    if b"%PDF-" in head[:1024]:
        return FileType("pdf", MEDIA_TYPES["pdf"])
    if head[:4] == b"PK\x03\x04":
        kind = _zip_kind(path)
        return FileType(kind, MEDIA_TYPES[kind])
    kind = _text_kind(head, suffix)
    return FileType(kind, MEDIA_TYPES[kind])


def image_type(head: bytes) -> str:
    """The media type of the picture that begins with `head`, or "" if it is none."""
    for magic, media_type in _MAGIC:
        if head.startswith(magic):
            return media_type
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "image/webp"
    # "BM" alone begins many a text: the reserved bytes and the header size settle it.
    if head[:2] == b"BM" and head[6:10] == b"\0\0\0\0" and head[14:18] in _BMP_HEADERS:
        return "image/bmp"
    if head[4:8] == b"ftyp":
        brands = {head[8:12], *(head[i : i + 4] for i in range(16, min(len(head), 64), 4))}
        if brands & {b"avif", b"avis"}:
            return "image/avif"
        if brands & _HEIF_BRANDS:
            return "image/heic"
    return ""


_BMP_HEADERS = {bytes([size, 0, 0, 0]) for size in (12, 40, 52, 56, 64, 108, 124)}


def _zip_kind(path: Path) -> Kind:
    try:
        with zipfile.ZipFile(path) as archive:
            names = set(archive.namelist())
            if "mimetype" in names and archive.getinfo("mimetype").file_size < 200:
                mimetype = archive.read("mimetype").decode("ascii", "replace").strip()
            else:
                mimetype = ""
    except Exception as error:  # damaged archives raise many kinds of errors
        suffix = path.suffix.lower()
        if suffix in _DOCUMENT_SUFFIXES:
            raise UnreadableFile(f"the {suffix} file is cut off or damaged") from error
        raise UnreadableFile("a cut off or damaged zip archive") from error
    if mimetype == "application/epub+zip" or "META-INF/container.xml" in names:
        return "epub"
    folders = {name.split("/", 1)[0] for name in names}
    if "[Content_Types].xml" in names:
        for folder, kind in (("word", "docx"), ("ppt", "pptx"), ("xl", "xlsx")):
            if folder in folders:
                return kind  # type: ignore[return-value]
    if mimetype.startswith("application/vnd.oasis.opendocument"):
        raise UnreadableFile("an OpenDocument file: save it as .docx, .xlsx or .pptx")
    raise UnreadableFile("a zip archive: unpack it first")


def _text_kind(head: bytes, suffix: str) -> Kind:
    for magic, what in _FOREIGN:
        if head.startswith(magic) and (magic != b"MZ" or not looks_like_text(head)):
            raise UnreadableFile(f"this is {what}")
    if not looks_like_text(head):
        if suffix in IMAGE_SUFFIXES or suffix in _DOCUMENT_SUFFIXES:
            raise UnreadableFile(f"named {suffix} but is not one, or its beginning is damaged")
        if suffix in _TEXT_SUFFIXES:
            raise UnreadableFile(f"named {suffix} but holds binary data")
        raise UnreadableFile("a file of an unknown type")
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip()[:512].lower()
    is_html = start.startswith((b"<!doctype html", b"<html", b"<head", b"<body")) or (
        start.startswith((b"<?xml", b"<!--")) and b"<html" in head.lower()
    )
    if not is_html and (suffix == ".svg" or b"<svg" in start[:300]):
        raise UnreadableFile("an SVG drawing, which is not read: save it as PNG")
    if suffix in IMAGE_SUFFIXES or suffix in _DOCUMENT_SUFFIXES:
        raise UnreadableFile(f"named {suffix} but is {'HTML' if is_html else 'plain'} text")
    kind = _TEXT_SUFFIXES.get(suffix, "text")
    if kind in {"text", "html"} and is_html and suffix not in {".py", ".tex", ".rst", ".json"}:
        return "html"
    return kind


def looks_like_text(head: bytes) -> bool:
    """Whether `head` is text in some encoding: few control bytes, or a UTF-16/32 pattern."""
    if head.startswith((b"\xff\xfe", b"\xfe\xff", b"\x00\x00\xfe\xff")):
        return True
    if b"\0" in head:
        # UTF-16 without a mark: one byte of each pair is mostly zero. A few stray NULs in a
        # text are tolerated and dropped by the reader.
        even, odd = head[0::2], head[1::2]
        zeros_even, zeros_odd = even.count(0) / len(even), odd.count(0) / max(1, len(odd))
        if max(zeros_even, zeros_odd) > 0.4 and min(zeros_even, zeros_odd) < 0.05:
            return True
        if head.count(0) > max(2, len(head) * 0.02):
            return False
    controls = sum(head.count(bytes([c])) for c in range(32) if c not in (0, 9, 10, 12, 13, 27))
    return controls <= max(3 if len(head) > 30 else 0, len(head) * 0.02)
