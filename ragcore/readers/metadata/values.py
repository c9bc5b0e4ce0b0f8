"""Values of image metadata made safe: texts, numbers, dates, positions.

None, or "" for a text, is no such value.
"""

from __future__ import annotations

import datetime as dt
import math
import re
from collections.abc import Iterable
from typing import Any

MAX_TEXT = 200  # characters of a camera, a lens, a keyword
MAX_CAPTION = 2_000
MAX_KEYWORDS = 200
FIRST_YEAR = 1826  # of the oldest photograph
_AHEAD = dt.timedelta(days=2)  # that a clock may be; what is later is no capture date
_MOST_OFFSET = 14 * 60  # minutes from UTC

_DATE = re.compile(
    r"(\d{4})[:\-/.](\d{1,2})[:\-/.](\d{1,2})"
    r"(?:[T ]+(\d{1,2}):(\d{2})(?::(\d{2}))?(?:\.\d+)?\s*(Z|[+-]\d{2}:?\d{2})?)?"
)
# Not inside a longer number; hours, minutes and seconds may follow.
_IN_NAME = re.compile(
    r"(?<!\d)(\d{4})([-_. ]?)(\d{2})\2(\d{2})"
    r"(?:[-_. T@]{0,3}(?:at )?(\d{2})[-_.:h]?(\d{2})[-_.:m]?(\d{2}))?(?!\d)"
)

Taken = tuple[dt.datetime, int | None]  # the clock where it was taken; minutes from UTC


def text(value: Any, limit: int = MAX_TEXT) -> str:
    """One line without characters that no database takes."""
    if isinstance(value, bytes):
        value = decoded(value)
    if not isinstance(value, str):
        return ""
    value = value.partition("\0")[0].encode("utf-8", "ignore").decode("utf-8")
    printable = "".join(c if c.isprintable() else " " for c in value[: 4 * limit])
    return " ".join(printable.split())[:limit].rstrip()


def decoded(value: bytes) -> str:
    """Bytes as UTF-8, else as Latin-1."""
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return value.decode("latin-1")


def keywords(values: Iterable[Any]) -> tuple[str, ...]:
    """Each once, whatever the case of its letters."""
    found: dict[str, str] = {}
    for value in values:
        word = text(value)
        if word and len(found) < MAX_KEYWORDS:
            found.setdefault(word.casefold(), word)
    return tuple(found.values())


def number(value: Any, most: float = 1e6) -> float | None:
    """Positive and at most `most`; also of "1/125"."""
    try:
        if isinstance(value, str) and "/" in value:
            over, _, under = value.partition("/")
            value = float(over) / float(under)
        found = float(value)
    except (TypeError, ValueError, ZeroDivisionError, OverflowError):
        return None
    return found if math.isfinite(found) and 0 < found <= most else None


def rating(value: Any) -> int | None:
    """-1 (rejected) to 5; 0 is no rating."""
    try:
        found = round(float(value))
    except (TypeError, ValueError, OverflowError):
        return None
    return found if found == -1 or 1 <= found <= 5 else None


def date(value: Any, offset: Any = None) -> Taken | None:
    """Of "2024:05:01 12:30:00" or "2024-05-01T12:30:00+02:00"; `offset` as "+02:00"."""
    found = _DATE.match(text(value))
    if found is None:
        return None
    clock = [int(part or 0) for part in found.groups()[:6]]
    return _plausible(clock, minutes(found[7]) if found[7] else minutes(offset))


def date_in_name(name: str) -> Taken | None:
    """Of names such as IMG_20240501_123000.jpg, 2024-05-01 12.30.00.png, IMG-20240501-WA0003.jpg.

    Midnight where there is no time.
    """
    for found in _IN_NAME.finditer(name[:255]):
        year, _, *rest = found.groups()
        taken = _plausible([int(part or 0) for part in (year, *rest)], None)
        if taken is not None:
            return taken
    return None


def _plausible(clock: list[int], offset: int | None) -> Taken | None:
    try:
        at = dt.datetime(*clock)  # type: ignore[arg-type]
    except ValueError:
        return None
    latest = dt.datetime.now(dt.UTC).replace(tzinfo=None) + _AHEAD
    return (at, offset) if at.year >= FIRST_YEAR and at <= latest else None


def minutes(value: Any) -> int | None:
    """Of "+02:00" or "Z"; None for what is no offset of any place."""
    found = text(value)
    if found in ("Z", "z"):
        return 0
    match = re.fullmatch(r"([+-])(\d{2}):?(\d{2})", found)
    if match is None:
        return None
    size = int(match[2]) * 60 + int(match[3])
    return (size if match[1] == "+" else -size) if size <= _MOST_OFFSET else None


def degrees(parts: Any, side: Any, negative: str) -> float | None:
    """Of degrees, minutes and seconds, and the side ("N"); finite, not yet within any range."""
    try:
        values = [float(part) for part in parts]
        found = math.fsum(value / 60.0**at for at, value in enumerate(values[:3]))
    except (TypeError, ValueError, ZeroDivisionError, OverflowError):
        return None
    if not values or not math.isfinite(found):
        return None
    return -found if text(side)[:1].upper() == negative else found


def position(latitude: float | None, longitude: float | None) -> tuple[float, float] | None:
    """None outside the globe, and at 0, 0, which devices write that know no position."""
    if latitude is None or longitude is None:
        return None
    if not (abs(latitude) <= 90 and abs(longitude) <= 180) or (latitude == longitude == 0):
        return None
    return round(latitude, 7), round(longitude, 7)


def camera(make: Any, model: Any) -> str:
    """Maker and model, the maker's name once."""
    maker, name = text(make), text(model)
    if not name or not maker:
        return name or maker
    if name.casefold().startswith(maker.casefold().split()[0]):
        return name
    return f"{maker} {name}"[:MAX_TEXT]
