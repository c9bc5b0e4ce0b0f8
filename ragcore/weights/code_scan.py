"""Refuses model folders whose configuration asks for code or for files of another place.

Loaders are called with `trust_remote_code=False`, and this check does not rely on it: a folder
that names code is not opened at all.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ragcore.errors import ModelUnavailable

# Vocabularies and indexes of shards: large, and no loader takes a class name from them.
_DATA = ("tokenizer.json", "vocab.json", "added_tokens.json", "merges.json")
_CODE_KEYS = frozenset({"auto_map", "custom_pipelines", "custom_pipeline", "trust_remote_code"})
_REMOTE_CLASS = re.compile(r"[\w.\-]+/[\w.\-]+--[\w.]+")  # OWNER/NAME--module.Class
_HUB_PREFIX = re.compile(r"hf[-_]hub:")
_PIPELINE_LIBRARIES = frozenset({"diffusers", "transformers", "stable_diffusion", "onnxruntime"})


def refuse_remote_code(folder: Path, name: str) -> None:
    """Raises ModelUnavailable if a configuration file in `folder` names code or another place."""
    for path in sorted(folder.rglob("*.json")):
        if path.name in _DATA or path.name.endswith(".index.json"):
            continue
        try:
            content = json.loads(path.read_bytes())
        except (OSError, ValueError):
            continue  # its loader reports a file that cannot be read
        found = next(_problems(path.name, content), None)
        if found:
            raise ModelUnavailable(
                f"{name}: {path.relative_to(folder)} {found}; ragcore runs no code of a model: "
                "choose a model that needs none"
            )


def _problems(file: str, content: Any) -> Iterator[str]:
    if file == "modules.json" and isinstance(content, list):
        for module in content:
            kind = str(module.get("type", "")) if isinstance(module, dict) else str(module)
            if not kind.startswith("sentence_transformers."):
                yield f"loads the module {kind[:80]!r}"
    if file == "model_index.json" and isinstance(content, dict):
        for part, value in content.items():
            if part == "_class_name" and not isinstance(value, str):
                yield "names a pipeline class in a file of its own"
            elif isinstance(value, list) and not part.startswith("_"):
                library = value[0] if value else None
                if library is not None and library not in _PIPELINE_LIBRARIES:
                    yield f"loads {part!r} from {str(library)[:80]!r}"
    yield from _named_code(content)


def _named_code(value: Any) -> Iterator[str]:
    """Keys and values anywhere in a JSON document that make a loader fetch or run something."""
    pending = [value]
    while pending:
        item = pending.pop()
        if isinstance(item, dict):
            for key, inner in item.items():
                if key in _CODE_KEYS and inner:
                    yield f"has {key}"
                if key == "hf_model_name" and _names_repository(inner):
                    yield f"takes its text model from {str(inner)[:80]!r}"
            pending += item.values()
        elif isinstance(item, list):
            pending += item
        elif isinstance(item, str) and len(item) < 500:
            if _REMOTE_CLASS.fullmatch(item):
                yield f"names the code {item[:80]!r}"
            elif _HUB_PREFIX.match(item):
                yield f"names the model {item[:80]!r} of another place"


def _names_repository(value: Any) -> bool:
    """Whether open_clip would ask the hub for the text model of this name."""
    return isinstance(value, str) and bool(value) and not Path(value).is_dir()
