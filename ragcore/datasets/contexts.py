"""Passages with their questions, as reading-comprehension sets have them."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ragcore.errors import UsageError


@dataclass(frozen=True, slots=True)
class Context:
    """A passage with its questions: (question, accepted answers; none: unanswerable)."""

    text: str
    title: str
    narrative: bool
    questions: tuple[tuple[str, tuple[str, ...]], ...]


def read_contexts(path: Path) -> list[Context]:
    """Group a JSONL[.gz] of question, context, answers, title by context, in file order."""
    groups: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for number, line in enumerate(open_text(path), 1):
        try:
            row = json.loads(line)
            groups[row["context"]].append(row)
        except (ValueError, KeyError, TypeError) as error:
            raise UsageError(f"{path}, line {number}: needs question, context, answers") from error
    return [
        Context(
            text,
            rows[0].get("title", ""),
            rows[0].get("source", "").startswith("FairytaleQA"),
            tuple((r["question"].strip(), tuple(r["answers"])) for r in rows),
        )
        for text, rows in groups.items()
    ]


def training_contexts(train: Path, dev: Path | None, *, held_out: int = 0) -> list[Context]:
    """The contexts to learn from: none that stands in `dev`, none of `held_out_contexts`."""
    contexts = _without(read_contexts(train), dev)
    kept_back = {c.text for c in _by_hash(contexts)[:held_out]}
    return [c for c in contexts if c.text not in kept_back]


def held_out_contexts(train: Path, dev: Path | None, *, held_out: int) -> list[Context]:
    """The `held_out` contexts of `train` that are kept for calibration, the same every time."""
    return _by_hash(_without(read_contexts(train), dev))[:held_out]


def _without(contexts: Sequence[Context], dev: Path | None) -> list[Context]:
    kept_back = {" ".join(c.text.split()) for c in read_contexts(dev)} if dev else set()
    return [c for c in contexts if " ".join(c.text.split()) not in kept_back]


def _by_hash(contexts: Sequence[Context]) -> list[Context]:
    return sorted(contexts, key=lambda c: hashlib.sha256(c.text.encode()).digest())


def open_text(path: Path) -> Iterator[str]:
    """Lines of a text file, gzipped or not. Raises UsageError when it cannot be read."""
    try:
        with (
            gzip.open(path, "rt", encoding="utf-8")
            if path.suffix == ".gz"
            else path.open(encoding="utf-8") as lines
        ):
            yield from lines
    except (OSError, UnicodeDecodeError, EOFError) as error:
        raise UsageError(f"{path} cannot be read: {error}") from error
