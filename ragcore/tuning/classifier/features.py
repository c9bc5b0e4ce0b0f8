"""Vectors of labelled examples by the frozen backbone: worked out once, kept in the run folder."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ragcore.encoders import Backbone
from ragcore.errors import UnreadableFile
from ragcore.files import atomic_write
from ragcore.tuning.classifier.data import Examples, LabelledExample, without
from ragcore.types import Progress, ProgressCallback

if TYPE_CHECKING:
    from ragcore.types import FloatArray

_FILE = "features.npz"
_CHUNK = 64  # examples opened and encoded at a time
_SAVE_EVERY = 1_024


@dataclass(frozen=True, slots=True)
class Features:
    """Unit vectors float32 [n, d] of the examples that could be read, in their order.

    `seconds_each` and `cpu_seconds_each`: what one costs to work out; 0 where the catalog had
    them.
    """

    examples: Examples
    vectors: FloatArray
    seconds_each: float
    cpu_seconds_each: float


class FeatureCache:
    """Vectors by the digest of what they are of, in a run folder."""

    def __init__(
        self,
        folder: Path,
        backbone: Backbone,
        max_megapixels: int,
        progress: ProgressCallback | None,
        check: Callable[[], None],
    ) -> None:
        self._path, self._backbone, self._limit = folder / _FILE, backbone, max_megapixels
        self._progress, self._check = progress, check
        self._known: dict[str, FloatArray] = {}
        self._seconds, self._cpu, self._made = 0.0, 0.0, 0
        self._load()

    def of(self, examples: Examples) -> Features:
        """Vectors of all that can be read; copies and what is broken are left out, with a note.

        Raises UsageError if too little is left, Cancelled (what was worked out is kept).
        """
        digests: list[str | None] = []
        broken: dict[int, str] = {}
        seen: dict[str, int] = {}
        for start in range(0, len(examples.items), _CHUNK):
            self._check()
            part = examples.items[start : start + _CHUNK]
            digests += self._chunk(part, start, broken)
            self._report(start + len(part), len(examples.items))
            if self._made and start // _SAVE_EVERY != (start + _CHUNK) // _SAVE_EVERY:
                self._save()
        self._save()
        copies: set[int] = set()
        for row, digest in enumerate(digests):
            if digest is not None and seen.setdefault(digest, row) != row:
                copies.add(row)
        left = without(examples, broken, copies)
        rows = [row for row in range(len(digests)) if row not in broken and row not in copies]
        vectors = [self._vector(examples.items[row], digests[row]) for row in rows]
        made = max(self._made, 1)
        return Features(
            left, np.stack(vectors).astype(np.float32), self._seconds / made, self._cpu / made
        )

    def _vector(self, example: LabelledExample, digest: str | None) -> FloatArray:
        return example.vector if example.vector is not None else self._known[digest or ""]

    def _chunk(
        self, part: tuple[LabelledExample, ...], start: int, broken: dict[int, str]
    ) -> list[str | None]:
        """Digests of examples whose vectors are known then; None for what cannot be read."""
        digests: list[str | None] = []
        waiting: dict[str, Any] = {}
        began, cpu = time.monotonic(), time.process_time()
        for row, example in enumerate(part, start):
            try:
                digest = self._digest(example)
                if example.vector is None and digest not in self._known:
                    waiting[digest] = example.text or example.open(self._limit)
            except UnreadableFile as error:
                broken[row] = f"{example.name} ({error})"
                digests.append(None)
                continue
            digests.append(digest)
        if waiting:
            vectors = self._backbone.encode(list(waiting.values()))
            self._known |= dict(zip(waiting, vectors, strict=True))
            self._seconds += time.monotonic() - began
            self._cpu += time.process_time() - cpu
            self._made += len(waiting)
        return digests

    def _digest(self, example: LabelledExample) -> str:
        """Of what the example is. Those with a vector need not be there as a file."""
        if example.text:
            data = example.text.encode("utf-8", "replace")
        elif example.vector is not None:
            data = f"{example.item}".encode()
        else:
            data = example.read()
        return hashlib.sha256(data).hexdigest()

    def _load(self) -> None:
        try:
            with np.load(self._path, allow_pickle=False) as file:
                if str(file["space"]) != self._backbone.space:
                    return
                self._known = dict(zip(file["digests"].tolist(), file["vectors"], strict=True))
                self._seconds, self._cpu = float(file["seconds"]), float(file["cpu_seconds"])
                self._made = int(file["made"])
        except (OSError, ValueError, KeyError, EOFError):
            self._known = {}  # none yet, or damaged: they are made again

    def _save(self) -> None:
        if not self._known:
            return
        with atomic_write(self._path) as part, part.open("wb") as file:
            np.savez(
                file,
                space=self._backbone.space,
                digests=np.array(list(self._known)),
                vectors=np.stack(list(self._known.values())),
                seconds=self._seconds,
                cpu_seconds=self._cpu,
                made=self._made,
            )

    def _report(self, done: int, total: int) -> None:
        if self._progress is not None:
            rate = self._made / self._seconds if self._seconds else 0.0
            left = (total - done) / rate if rate else None
            self._progress(Progress("features", done, total, rate, left))
