"""What the encoders share in reading their options and naming their space."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ragcore.errors import ModelUnavailable, UsageError
from ragcore.settings import Settings

if TYPE_CHECKING:
    from ragcore.models import Placement


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


def load_local(
    kind: Callable[..., Any],
    folder: Path,
    placement: Placement,
    *,
    name: str,
    what: str,
    **options: Any,
) -> Any:
    """A model of sentence-transformers (`kind`) from a local folder, without code of its own.

    Raises ModelUnavailable, naming `what` it is not.
    """
    from transformers.utils import logging

    logging.disable_progress_bar()
    try:
        return kind(
            str(folder),
            device=placement.device,
            local_files_only=True,
            trust_remote_code=False,
            model_kwargs={"dtype": placement.dtype, "use_safetensors": True},
            **options,
        )
    except (OSError, ValueError, KeyError, ImportError) as error:
        raise ModelUnavailable(
            f"{name}: {folder} cannot be loaded as a {what} ({first_line(error)})"
        ) from error


def valid_text(text: str) -> str:
    """The text with lone surrogates (from undecodable bytes) replaced by "?"."""
    return text.encode("utf-8", "replace").decode("utf-8")
