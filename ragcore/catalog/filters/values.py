"""Types of filter values: how a value is written, checked and described."""

from __future__ import annotations

import datetime as dt
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ragcore.catalog.filters.globs import is_glob
from ragcore.errors import UsageError

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]?)i?b?", re.IGNORECASE)
_PAGES = re.compile(r"(\d{1,9})(?:\s*-\s*(\d{1,9}))?")
_MOST_WORDS = 20
_ANSWERS = {"yes": True, "true": True, "1": True, "no": False, "false": False, "0": False}


@dataclass(frozen=True, slots=True)
class ValueType:
    """`parse` reads a value's text and raises UsageError for one of no such form.

    `write` makes that text of a Python value. `example` is a text that `parse` accepts. `bounds`
    end the Python names of the filters `>=` and `<=`.
    """

    name: str
    parse: Callable[[str], Any]
    example: str
    write: Callable[[Any], str] = str
    bounds: tuple[str, str] = ("min", "max")
    limits: tuple[float, float, float] = (0.0, 1.0, 0.05)  # of a slider: least, most, step


@dataclass(frozen=True, slots=True)
class Days:
    """From midnight of the day `first` to, not including, midnight of `end`."""

    first: dt.datetime
    end: dt.datetime

    @property
    def local(self) -> Days:
        """The same days on the clock of wherever something took place: without a time zone."""
        return Days(self.first.replace(tzinfo=None), self.end.replace(tzinfo=None))


def _text_or_glob(text: str) -> str:
    is_glob(text)  # its limits
    return text


def _days(text: str) -> Days:
    first, dots, last = text.partition("..")
    if not dots:
        return Days(_midnight(text, after=False), _midnight(text, after=True))
    days = Days(_midnight(first.strip(), after=False), _midnight(last.strip(), after=True))
    if days.first >= days.end:
        raise UsageError(f"{text[:40]!r} ends before it begins")
    return days


def _midnight(text: str, *, after: bool) -> dt.datetime:
    """The first moment of a year, month or day, or the first one after it (UTC)."""
    try:
        parts = [int(part) for part in text.split("-")]
        if not 1 <= len(parts) <= 3:
            raise ValueError
        year, month, day = (*parts, *[1] * (3 - len(parts)))
        moment = dt.datetime(year, month, day, tzinfo=dt.UTC)
        if not after:
            return moment
        if len(parts) == 3:
            return moment + dt.timedelta(days=1)
        if len(parts) == 2 and month < 12:
            return moment.replace(month=month + 1)
        return moment.replace(year=year + 1, month=1)
    except (ValueError, OverflowError):
        raise UsageError(
            f"{text[:40]!r} is not a date: write YYYY, YYYY-MM or YYYY-MM-DD"
        ) from None


def _write_day(value: Any) -> str:
    if isinstance(value, dt.datetime):
        value = value.date()
    return value.isoformat() if isinstance(value, dt.date) else str(value)


def _bytes(text: str) -> int:
    found = _SIZE.fullmatch(text)
    if not found:
        raise UsageError(f"{text[:40]!r} is not a size: write bytes, or 500kB, 10MB, 2GB")
    power = " kmgt".index(found[2].lower()) if found[2] else 0
    return min(int(float(found[1]) * 1000**power), 2**62)


def _pages(text: str) -> tuple[int, int]:
    found = _PAGES.fullmatch(text)
    first, last = (int(found[1]), int(found[2] or found[1])) if found else (0, 0)
    if not 1 <= first <= last:
        raise UsageError(f"{text[:40]!r} is not a page: write a number from 1, or 3-7")
    return first, last


def _write_pages(value: Any) -> str:
    return "-".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _yes(text: str) -> bool:
    if text.lower() not in _ANSWERS:
        raise UsageError(f"{text[:40]!r} is neither yes nor no")
    return _ANSWERS[text.lower()]


def _write_yes(value: Any) -> str:
    return ("yes" if value else "no") if isinstance(value, bool) else str(value)


def _share(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:  # not a number is neither
        raise UsageError(f"{text[:40]!r} is no confidence: write a number from 0 to 1")
    return share


def _stars(text: str) -> int:
    if not re.fullmatch(r"-1|[0-5]", text):
        raise UsageError(f"{text[:40]!r} is no rating: write 1 to 5, or -1 for rejected")
    return int(text)


@dataclass(frozen=True, slots=True)
class Circle:
    """Around a position in degrees (WGS 84)."""

    latitude: float
    longitude: float
    kilometers: float


def _near(text: str) -> Circle:
    try:
        latitude, longitude, kilometers = (float(part) for part in text.split(","))
    except ValueError:
        latitude = longitude = kilometers = math.nan
    inside = abs(latitude) <= 90 and abs(longitude) <= 180  # what is not a number is not
    if not (inside and 0 < kilometers <= 20_100):
        raise UsageError(
            f"{text[:40]!r} is no circle: write LATITUDE,LONGITUDE,KILOMETERS as in 47.05,8.3,10"
        )
    return Circle(latitude, longitude, kilometers)


def _write_near(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _words(text: str) -> tuple[str, ...]:
    found = tuple(dict.fromkeys(word.strip() for word in text.split(",") if word.strip()))
    if not 1 <= len(found) <= _MOST_WORDS:
        raise UsageError(f"{text[:40]!r}: write 1 to {_MOST_WORDS} words with commas between them")
    return found


def _write_words(value: Any) -> str:
    return ", ".join(value) if isinstance(value, tuple) else str(value)


TEXT = ValueType("text", str, "report")
GLOB = ValueType("text or glob", _text_or_glob, "reports/*")
DATE = ValueType("date", _days, "2024-05", write=_write_day, bounds=("after", "before"))
SIZE = ValueType("size", _bytes, "10MB")
PAGES = ValueType("pages", _pages, "3-7", write=_write_pages)
YES_NO = ValueType("yes or no", _yes, "yes", write=_write_yes)
SHARE = ValueType("number from 0 to 1", _share, "0.8")
RATING = ValueType("stars", _stars, "4", limits=(0, 5, 1))
NEAR = ValueType("position and kilometers", _near, "47.05,8.3,10", write=_write_near)
WORDS = ValueType("words with commas between them", _words, "family, garden", write=_write_words)
