"""What the recipes' commands share."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ragcore.errors import RagcoreError


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Within the block an error of ragcore is one line on stderr and exit code 1."""
    try:
        yield
    except RagcoreError as error:
        sys.exit(f"error: {error}")


def print_json(value: Any) -> None:
    print(json.dumps(value, indent=2, default=float))  # numpy's numbers
