"""Reading server-sent events in tests."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any


def events(lines: Iterable[str]) -> list[tuple[str, Any]]:
    """(name, data) of every event in the lines of a whole answer."""
    found, name = [], ""
    for line in lines:
        if line.startswith("event: "):
            name = line.removeprefix("event: ")
        elif line.startswith("data: "):
            text = line.removeprefix("data: ")
            found.append((name, text if text == "[DONE]" else json.loads(text)))
            name = ""
    return found
