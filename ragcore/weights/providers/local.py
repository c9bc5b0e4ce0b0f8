"""Weights in a folder of the user's own, or in one GGUF file."""

from __future__ import annotations

from pathlib import Path

from ragcore.errors import ModelUnavailable
from ragcore.weights.providers.base import Fetched, Reporter
from ragcore.weights.registry import Entry

SAFE_SUFFIXES = (".safetensors", ".onnx", ".gguf")
_SINGLE = ".gguf"  # a whole model in one file, tokenizer included


class LocalProvider:
    """Provider `local`. The folder is used where it is; pickled weights are refused."""

    def locate(self, entry: Entry) -> Fetched | None:
        folder = Path(entry.path).expanduser()
        return Fetched(folder, in_place=True) if _has_weights(folder) else None

    def fetch(self, entry: Entry, work: Path, report: Reporter) -> Fetched:
        folder = Path(entry.path).expanduser()
        if not folder.is_dir() and folder.suffix != _SINGLE:
            raise ModelUnavailable(f"{entry.name}: there is no folder {folder}")
        if not folder.exists():
            raise ModelUnavailable(f"{entry.name}: there is no file {folder}")
        if not _has_weights(folder):
            raise ModelUnavailable(
                f"{entry.name}: {folder} holds no weights ({', '.join(SAFE_SUFFIXES)}); "
                "pickled files (.bin, .pt) are not loaded, convert them to safetensors first"
            )
        return Fetched(folder, in_place=True)


def _has_weights(folder: Path) -> bool:
    if folder.suffix == _SINGLE and folder.is_file():
        return True
    return folder.is_dir() and any(
        path.suffix in SAFE_SUFFIXES and path.is_file() for path in folder.rglob("*")
    )
