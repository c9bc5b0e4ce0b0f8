"""Labels for images, zero-shot: any list of names, no training."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ragcore.encoders.zero_shot import calibration_of, label_vectors, probabilities
from ragcore.errors import UsageError
from ragcore.types import Label

if TYPE_CHECKING:
    from ragcore.models import ImageTextEncoder
    from ragcore.types import FloatArray, IdArray
    from ragcore.vectors import VectorStore

MAX_LABELS = 2_000
_ROWS = 8_192  # images whose probabilities are held in memory at once


class Labeller:
    """Chooses among `labels` for images of one encoder's space.

    Raises UsageError for fewer than two labels, too many, an empty one, or one given twice.
    """

    def __init__(self, encoder: ImageTextEncoder, labels: Sequence[str]) -> None:
        self.labels = check_labels(labels)
        self._rule = calibration_of(encoder)
        self._columns = label_vectors(encoder, self.labels, calibration=self._rule)

    def best(self, vectors: FloatArray, top: int) -> list[tuple[Label, ...]]:
        """The `top` labels of each image [n, d], best first."""
        chances = probabilities(vectors, self._columns, self._rule)
        order = np.argsort(-chances, axis=1, kind="stable")[:, :top]
        return [
            tuple(Label(self.labels[column], float(row[column])) for column in columns)
            for row, columns in zip(chances, order.tolist(), strict=True)
        ]

    def best_stored(
        self, store: VectorStore, ids: IdArray, top: int
    ) -> Iterator[tuple[int, tuple[Label, ...]]]:
        """(id, labels) of those images that the store has."""
        present = store.present(ids)
        for at in range(0, len(present), _ROWS):
            part = present[at : at + _ROWS]
            yield from zip(part.tolist(), self.best(store.vectors(part), top), strict=True)


def check_labels(labels: Sequence[str]) -> tuple[str, ...]:
    """The labels without needless space. Raises UsageError if they are no choice."""
    if isinstance(labels, str):
        raise UsageError("labels are a list of names, not one text")
    names = tuple(" ".join(label.split()) for label in labels)
    if len(names) < 2:
        raise UsageError("give at least two labels to choose between, such as dog and cat")
    if len(names) > MAX_LABELS:
        raise UsageError(f"{len(names):,} labels are too many: at most {MAX_LABELS:,} are taken")
    seen: set[str] = set()
    for number, name in enumerate(names, 1):
        if not name:
            raise UsageError(f"label {number} is empty: give every label a name")
        if name.casefold() in seen:
            raise UsageError(f"the label {name!r} is given twice")
        seen.add(name.casefold())
    return names
