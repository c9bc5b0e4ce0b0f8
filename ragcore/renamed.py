"""Earlier names of fields, options and values: accepted for one release, with a line in the log."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import cache
from typing import Any

log = logging.getLogger("ragcore")


@cache
def warn_renamed(what: str, old: str, new: str) -> None:
    """Log that a name is deprecated, once in a process for each name."""
    log.warning(
        "%s %r is now %r; the old name will not be accepted by the next release", what, old, new
    )


def with_current_names(values: Any, renamed: Mapping[str, str], what: str) -> Any:
    """`values` with current keys in place of earlier ones; anything but a mapping as it is.

    Args:
        values: input of a Pydantic model before it is validated.
        renamed: current key by earlier key. A key that is given by both names stays as it is,
            so that the model refuses the earlier one.
        what: what the keys are called in the log, such as "the field".
    """
    if not isinstance(values, Mapping) or not renamed.keys() & values.keys():
        return values
    current = dict(values)
    for old, new in renamed.items():
        if old in current and new not in current:
            warn_renamed(what, old, new)
            current[new] = current.pop(old)
    return current
