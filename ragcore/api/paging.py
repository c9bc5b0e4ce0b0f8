"""Cursors: where the next page begins, in a form that callers pass on and do not read."""

from __future__ import annotations

import base64
import binascii

from ragcore.api.problems import Problem

FURTHEST = 100_000


def offset_of(cursor: str | None) -> int:
    """Where a page begins. Raises Problem 400 for what was never a cursor of ours."""
    if cursor is None:
        return 0
    try:
        text = base64.urlsafe_b64decode(cursor.encode("ascii")).decode("ascii")
        mark, _, number = text.partition(":")
        if mark != "o" or not number.isdecimal() or int(number) > FURTHEST:
            raise ValueError(text)
        return int(number)
    except (ValueError, binascii.Error, UnicodeError):
        raise Problem(400, "cursor is not one that was given out: leave it out to begin") from None


def cursor_at(offset: int) -> str | None:
    """The cursor of a page; None beyond what can be paged to."""
    if offset > FURTHEST:
        return None
    return base64.urlsafe_b64encode(f"o:{offset}".encode()).decode("ascii")
