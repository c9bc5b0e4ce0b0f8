"""How an image was taken, in words."""

from __future__ import annotations

from ragcore.types import ImageMetadata

_SOURCES = {
    "sidecar": "from its sidecar",
    "video": "from the video",
    "name": "from the file's name",
    "file": "when the file was changed",
}


def metadata_lines(about: ImageMetadata) -> list[str]:
    """Date, camera, place, rating and keywords, a line each, of what is known."""
    lines = []
    if about.taken_at is not None:
        source = _SOURCES.get(about.taken_from, "")
        zone = "" if about.utc_offset is None else f" {_zone(about.utc_offset)}"
        when = f"Taken {about.taken_at:%Y-%m-%d %H:%M}{zone}"
        lines.append(f"{when} ({source})" if source else when)
    lines.append(" · ".join(part for part in _camera(about) if part))
    if about.latitude is not None and about.longitude is not None:
        position = f"{about.latitude:.5f}, {about.longitude:.5f}"
        lines.append(f"{about.place} ({position})" if about.place else position)
    if about.rating is not None:
        lines.append("Rejected" if about.rating < 0 else "★" * about.rating)
    if about.keywords:
        lines.append(f"Keywords: {', '.join(about.keywords)}")
    return [line for line in lines if line]


def _camera(about: ImageMetadata) -> list[str]:
    parts = [about.camera, about.lens]
    if about.focal_length:
        parts.append(f"{about.focal_length:g} mm")
    if about.exposure:
        long = about.exposure >= 0.4
        parts.append(f"{about.exposure:g} s" if long else f"1/{round(1 / about.exposure)} s")
    if about.aperture:
        parts.append(f"f/{about.aperture:g}")
    if about.iso:
        parts.append(f"ISO {about.iso}")
    return parts


def _zone(minutes: int) -> str:
    hours, rest = divmod(abs(minutes), 60)
    return f"UTC{'-' if minutes < 0 else '+'}{hours}" + (f":{rest:02}" if rest else "")
