"""Places in a video or a recording, as people read them."""

from __future__ import annotations


def clock(second: float) -> str:
    """A second as "1:02", or "1:02:03" beyond an hour."""
    minutes, seconds = divmod(int(second), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
