"""What the encoders share in reading their options and naming their space."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from ragcore.errors import UsageError
from ragcore.settings import Settings


def reject_unknown(name: str, options: Mapping[str, Any], known: frozenset[str]) -> None:
    """Raise UsageError if an option is not among `known`."""
    if unknown := options.keys() - known:
        names = ", ".join(sorted(known))
        raise UsageError(f"{name}: unknown option {min(unknown)!r}: use {names}")


def space_name(name: str, revision: str, options: Mapping[str, Any]) -> str:
    """Name of a space: model, revision, and a digest of the options that change its vectors."""
    if not options:
        return f"{name}@{revision}"
    text = json.dumps(dict(options), sort_keys=True)
    return f"{name}@{revision}+{hashlib.sha256(text.encode()).hexdigest()[:6]}"


def may_be_quick(settings: Settings) -> bool:
    """Whether a few texts may be encoded on the CPU in float32 before the model itself loads.

    Not where another device or precision is asked for by name.
    """
    return settings.device != "cuda" and settings.precision == "auto"


def first_line(error: BaseException) -> str:
    """The first line of an error's message, at most 200 characters."""
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__


def valid_text(text: str) -> str:
    """The text with lone surrogates (from undecodable bytes) replaced by "?"."""
    return text.encode("utf-8", "replace").decode("utf-8")
