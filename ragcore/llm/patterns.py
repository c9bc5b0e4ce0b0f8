"""Regular expressions that a caller supplies: bounded before they are compiled and matched.

Python's own `re` backtracks, and holds the interpreter's lock while it does. Here a pattern is
limited in length and in what its repetitions expand to, and matching has a time limit.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from typing import Any

from ragcore.errors import RagcoreError, UsageError

MAX_PATTERN = 500  # characters
MAX_EXPANDED = 2_000  # atoms after repetitions with a number are written out
MATCH_SECONDS = 1.0
_REPEAT = re.compile(r"\{(\d{1,9})(?:(,)(\d{0,9}))?\}[?+]?")


def check_pattern(pattern: str) -> None:
    """Raises UsageError for a pattern that is too long, or that expands to too much."""
    if len(pattern) > MAX_PATTERN:
        raise UsageError(
            f"the pattern has {len(pattern):,} characters, at most {MAX_PATTERN} are allowed"
        )
    if _expanded(pattern) > MAX_EXPANDED:
        raise UsageError(
            f"the pattern {pattern[:60]!r} expands to more than {MAX_EXPANDED:,} parts: "
            "use smaller repetition counts"
        )


def matches(pattern: str, text: str, *, whole: bool) -> bool:
    """Whether the pattern is found in `text`, or is all of it.

    Raises UsageError for a malformed pattern, RagcoreError if matching takes too long.
    """
    import regex

    return _matched(pattern, regex.fullmatch if whole else regex.search, text)


def matches_beginning(pattern: str, text: str) -> bool:
    """Whether `text` is the beginning of what the pattern matches. Errors as of `matches`."""
    import regex

    return _matched(pattern, partial(regex.fullmatch, partial=True), text)


def _matched(pattern: str, match: Callable[..., Any], text: str) -> bool:
    import regex

    try:
        return match(pattern, text, timeout=MATCH_SECONDS) is not None
    except regex.error as error:
        raise UsageError(f"not a regular expression: {pattern[:60]!r}: {error}") from None
    except TimeoutError:
        raise RagcoreError(
            f"matching {pattern[:60]!r} took longer than {MATCH_SECONDS:g} s: simplify the pattern"
        ) from None


def _expanded(pattern: str) -> int:
    """Number of atoms after {m,n} is written out; what stands in a group counts n times."""
    sizes = [0]  # of the groups that are open, innermost last
    last = 0  # size of the atom that a repetition would repeat
    at = 0
    while at < len(pattern):
        repeat = _REPEAT.match(pattern, at)
        if repeat is not None:
            count = max(int(repeat[1]), int(repeat[3] or 0))
            sizes[-1] += last * (count - 1)
            last, at = 0, repeat.end()
            continue
        char = pattern[at]
        at += 2 if char == "\\" else 1
        if char == "(":
            sizes.append(0)
            continue
        if char == ")" and len(sizes) > 1:
            last = sizes.pop()
        elif char == "[":
            at = _end_of_class(pattern, at)
            last = 1
        else:
            last = 1
        sizes[-1] += last
    return sum(sizes)


def _end_of_class(pattern: str, at: int) -> int:
    """Where a character class ends whose first character is at `at`."""
    at += pattern.startswith("^", at)
    at += pattern.startswith("]", at)
    while at < len(pattern) and pattern[at] != "]":
        at += 2 if pattern[at] == "\\" else 1
    return at + 1
