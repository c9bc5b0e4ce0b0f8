"""Places in a video or a recording, as people read them."""

from __future__ import annotations

import re

_STAMP = re.compile(r"^\[(\d{1,4}):(\d\d):(\d\d)\] ", re.M)


def clock(second: float) -> str:
    """A second as "1:02", or "1:02:03" beyond an hour."""
    minutes, seconds = divmod(int(second), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


def stamp(seconds: float) -> str:
    """A time as "0:01:02"."""
    whole = int(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02}:{whole % 60:02}"


def second_of(text: str) -> float | None:
    """The first time in a text whose paragraphs begin with `stamp`; None: it has none."""
    found = _STAMP.search(text)
    if found is None:
        return None
    hours, minutes, seconds = map(int, found.groups())
    return float(3600 * hours + 60 * minutes + seconds)
