"""Text of others as it may be shown: nothing in it steers a terminal, a log or the reading order.

Names and texts come from files, messages and callers. An escape sequence in one could rewrite what
a person sees, and a bidirectional mark could make "exe.txt" of "txt.exe".
"""

from __future__ import annotations

import re

from ragcore.errors import UsageError

_CONTROL = "\x00-\x1f\x7f-\x9f"
_BIDI = "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"
_STEERING = re.compile(f"[{_CONTROL}{_BIDI}\u2028\u2029]")
# A JSON document has these within strings only, where an escape means the same.
_RAW_IN_JSON = re.compile(f"[\x7f-\x9f{_BIDI}\u2028\u2029]")


def visible_name(name: str) -> str:
    r"""A name or one line: control characters and bidirectional marks as escapes (`\\u202e`)."""
    return _STEERING.sub(lambda found: _escape(found[0]), name)


def visible_lines(text: str) -> str:
    """As `visible_name`, line breaks and tabs kept."""
    return _STEERING.sub(lambda found: _kept(found[0]) or _escape(found[0]), text)


def visible_json(document: str) -> str:
    """A JSON document of the same value in which such characters are escaped."""
    return _RAW_IN_JSON.sub(lambda found: f"\\u{ord(found[0]):04x}", document)


def check_shown(name: str, what: str) -> str:
    """`name` itself. Raises UsageError if it has control characters or bidirectional marks."""
    if _STEERING.search(name):
        raise UsageError(
            f"{what} cannot have control characters or bidirectional marks: "
            f"{visible_name(name)[:60]!r}"
        )
    return name


def _kept(character: str) -> str:
    return character if character in "\n\t" else ""


def _escape(character: str) -> str:
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
