"""What the first bytes of a file say: images by their magic numbers, text, foreign formats."""

from __future__ import annotations

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

ARCHIVE_TYPES = ("application/zip", "application/x-tar")

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
_VIDEO_MAGIC: tuple[tuple[bytes, str], ...] = (
    (b"\x1aE\xdf\xa3", "video/x-matroska"),
    (b"\0\0\1\xba", "video/mpeg"),
    (b"\0\0\1\xb3", "video/mpeg"),
    (b"0&\xb2u\x8ef\xcf\x11", "video/x-ms-wmv"),
    (b"FLV\1", "video/x-flv"),
)
_VIDEO_BRANDS = (b"iso", b"mp4", b"avc", b"M4V", b"MSNV", b"3gp", b"3g2", b"dash", b"f4v", b"XAVC")
_AUDIO_MAGIC: tuple[tuple[bytes, str], ...] = (
    (b"ID3\2", "audio/mpeg"),
    (b"ID3\3", "audio/mpeg"),
    (b"ID3\4", "audio/mpeg"),
    (b"fLaC\0", "audio/flac"),
    (b"fLaC\x80", "audio/flac"),
    (b"OggS\0", "audio/ogg"),
    (b"#!AMR\n", "audio/amr"),
    (b"#!AMR-WB\n", "audio/amr"),
)
# Containers of either: by its name such a file is a recording.
_AUDIO_NAMES = {
    ("video/mp4", ".m4a"): "audio/mp4",
    ("video/mp4", ".m4b"): "audio/mp4",
    ("video/x-matroska", ".mka"): "audio/x-matroska",
    ("video/webm", ".weba"): "audio/webm",
    ("video/x-ms-wmv", ".wma"): "audio/x-ms-wma",
}
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
_BMP_HEADERS = {bytes([size, 0, 0, 0]) for size in (12, 40, 52, 56, 64, 108, 124)}


def image_type(head: bytes) -> str:
    """The media type of the image that begins with `head`, or "" if it is none."""
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


def video_type(head: bytes) -> str:
    """The media type of the video that begins with `head`, or "" if it is none."""
    for magic, media_type in _VIDEO_MAGIC:
        if head.startswith(magic):
            webm = media_type == "video/x-matroska" and b"webm" in head[:64]
            return "video/webm" if webm else media_type
    if head[:4] == b"RIFF" and head[8:12] == b"AVI ":
        return "video/x-msvideo"
    if head[4:8] == b"ftyp" and not image_type(head):
        brand = head[8:12]
        if brand == b"qt  ":
            return "video/quicktime"
        return "video/mp4" if brand.startswith(_VIDEO_BRANDS) else ""
    if head[4:8] in (b"moov", b"wide") or (head[4:8] == b"mdat" and head[:4] != b"\0\0\0\0"):
        return "video/quicktime"  # of early cameras
    packets = [head[at : at + 1] for at in range(0, min(len(head), 188 * 4), 188)]
    return "video/mp2t" if len(packets) >= 3 and set(packets) == {b"G"} else ""


def audio_type(head: bytes, suffix: str) -> str:
    """The media type of the recording that begins with `head`, or "" if it is none.

    `suffix` is that of its name, with its dot.
    """
    for magic, media_type in _AUDIO_MAGIC:
        if head.startswith(magic):
            return media_type
    if head[:4] in (b"RIFF", b"RF64") and head[8:12] == b"WAVE":
        return "audio/wav"
    if head[:4] == b"FORM" and head[8:12] in (b"AIFF", b"AIFC"):
        return "audio/aiff"
    if head[4:12] in (b"ftypM4A ", b"ftypM4B "):
        return "audio/mp4"
    # Frames without a header: the two bytes alone begin other files, too.
    if head[:1] == b"\xff" and len(head) > 1:
        if suffix in (".mp3", ".mp2") and head[1] & 0xE0 == 0xE0 and head[1] & 0x06:
            return "audio/mpeg"
        if suffix == ".aac" and head[1] & 0xF6 == 0xF0:
            return "audio/aac"
    return _AUDIO_NAMES.get((video_type(head), suffix), "")


def foreign_type(head: bytes) -> str:
    """What a file of a format that is known and not read is, and what to do; "" if it is none."""
    for magic, what in _FOREIGN:
        if head.startswith(magic) and (magic != b"MZ" or not looks_like_text(head)):
            return what
    return ""


def starts_like_html(head: bytes) -> bool:
    """Whether text begins as a web page does."""
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip()[:512].lower()
    return start.startswith((b"<!doctype html", b"<html", b"<head", b"<body")) or (
        start.startswith((b"<?xml", b"<!--")) and b"<html" in head.lower()
    )


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
