"""Text encoders that answer before torch is loaded: which folders allow it, and how."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ragcore.encoders.bert import Bert, unit
from ragcore.encoders.options import first_line
from ragcore.errors import ModelUnavailable

if TYPE_CHECKING:
    from ragcore.types import FloatArray

FEW_CHARACTERS = 12_000  # of all texts; from there on torch is faster, its start included


def are_few(texts: Sequence[str]) -> bool:
    """Whether the texts are short enough together to be encoded without torch."""
    return sum(map(len, texts)) <= FEW_CHARACTERS


@dataclass(frozen=True, slots=True)
class QuickText:
    """What a sentence-transformers folder says of itself, for the kinds that `Bert` can run."""

    folder: Path
    dimension: int
    max_tokens: int
    pooling: str  # "mean" or "cls"
    prompts: Mapping[str, str] = field(default_factory=dict)
    default_prompt: str | None = None

    def load(self) -> Bert:
        """Raises ModelUnavailable if the weights are not what the configuration says."""
        return load_bert(self.folder, self.max_tokens)

    def encode(self, bert: Bert, texts: Sequence[str]) -> FloatArray:
        """Float32 [n, d], L2-normalized."""
        return unit(bert.mean(texts) if self.pooling == "mean" else bert.first(texts))


def load_bert(folder: Path, max_tokens: int) -> Bert:
    """Raises ModelUnavailable if the folder holds no such model."""
    try:
        return Bert(folder, max_tokens=max_tokens)
    except Exception as error:  # the tokenizers library raises bare exceptions
        raise ModelUnavailable(
            f"{folder} cannot be loaded as a text encoder ({first_line(error)})"
        ) from error


def find_quick_text(folder: Path, max_tokens: int | None = None) -> QuickText | None:
    """How to run the folder without torch; None where that takes more than `Bert`.

    `max_tokens` lowers the model's own limit.
    """
    modules = _read(folder / "modules.json")
    if not isinstance(modules, list) or not Bert.can_read(folder):
        return None
    kinds = [str(module.get("type", "")).rpartition(".")[2] for module in modules]
    if kinds not in (["Transformer", "Pooling"], ["Transformer", "Pooling", "Normalize"]):
        return None
    reading = _read(folder / "sentence_bert_config.json")
    limit = reading.get("max_seq_length")
    pooling = _pooling(_read(folder / str(modules[1].get("path", "")) / "config.json"))
    if modules[0].get("path") or not limit or reading.get("do_lower_case") or not pooling:
        return None
    model = _read(folder / "config_sentence_transformers.json")
    return QuickText(
        folder,
        int(_read(folder / "config.json")["hidden_size"]),
        min(int(limit), max_tokens or int(limit)),
        pooling,
        model.get("prompts") or {},
        model.get("default_prompt_name"),
    )


def _pooling(config: Mapping[str, Any]) -> str:
    """The pooling, "mean" or "cls"; "" for any other and for prompts that are left out of it."""
    if not config.get("include_prompt", True):
        return ""
    modes = {name for name, chosen in config.items() if name.startswith("pooling_mode_") and chosen}
    if "pooling_mode" in config:  # as newer versions write it
        modes.add(f"pooling_mode_{config['pooling_mode']}")
    known = {
        frozenset({"pooling_mode_mean_tokens"}): "mean",
        frozenset({"pooling_mode_mean"}): "mean",
        frozenset({"pooling_mode_cls_token"}): "cls",
        frozenset({"pooling_mode_cls"}): "cls",
    }
    return known.get(frozenset(modes), "")


def _read(path: Path) -> Any:
    """A JSON file; {} where it is missing or is none."""
    try:
        return json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
