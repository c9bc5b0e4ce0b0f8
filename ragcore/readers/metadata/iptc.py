"""IPTC to image metadata."""

from __future__ import annotations

import re
from typing import Any

from ragcore.readers.metadata import values

_UTF8 = b"\x1b%G"


def read(records: dict[tuple[int, int], Any]) -> dict[str, Any]:
    """Fields of `ImageMetadata`, and "taken"; of records by (record, data set)."""
    utf8 = _one(records.get((1, 90))).startswith(_UTF8)

    def text(value: bytes, limit: int) -> str:
        return values.text(value.decode("utf-8", "replace") if utf8 else value, limit)

    subjects = records.get((2, 25)) or []
    found = {
        "taken": _taken(_one(records.get((2, 55))), _one(records.get((2, 60)))),
        "keywords": values.keywords(
            text(one, values.MAX_TEXT)
            for one in (subjects if isinstance(subjects, list) else [subjects])
        ),
        "caption": text(_one(records.get((2, 120))), values.MAX_CAPTION),
    }
    return {name: value for name, value in found.items() if value not in (None, "", ())}


def _taken(day: bytes, time: bytes) -> values.Taken | None:
    """Of "20240501" and "123000+0200"."""
    date = re.fullmatch(r"(\d{4})(\d{2})(\d{2})", values.text(day))
    if date is None:
        return None
    clock = re.match(r"(\d{2})(\d{2})(\d{2})([+-]\d{4})?", values.text(time))
    if clock is None:
        return values.date("-".join(date.groups()))
    return values.date(f"{'-'.join(date.groups())} {':'.join(clock.groups()[:3])}", clock[4])


def _one(value: Any) -> bytes:
    value = value[0] if isinstance(value, list) and value else value
    return value if isinstance(value, bytes) else b""
