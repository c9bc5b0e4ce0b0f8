"""Labels for images, zero-shot: any list of names, no training."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ragcore.encoders import calibration_of, label_vectors, probabilities
from ragcore.errors import UsageError
from ragcore.types import NONE_OF_THESE, Label

if TYPE_CHECKING:
    from ragcore.models import ImageTextEncoder
    from ragcore.types import FloatArray, IdArray
    from ragcore.vectors import VectorStore

MAX_LABELS = 2_000
# What fits an image of none of the labels about as well as any label does. Their mean counts
# sqrt(3 c) times beside c labels, since the best of many labels fits the better by chance: of 3
# classes of Caltech-101 this keeps .79 of the right labels (of .92) and answers "none of these" to
# .80 of the images of the other 97 classes; of 10 .70 (of .79) and .74; of 30 .63 (of .70) and .60.
_ANYTHING = ("something else", "object", "thing", "image")
_ROWS = 8_192  # images whose probabilities are held in memory at once


class Labeller:
    """Chooses among labels, with `none` also NONE_OF_THESE, for images of one encoder's space.

    Raises UsageError for fewer than two labels, too many, an empty one, or one given twice.
    """

    def __init__(
        self, encoder: ImageTextEncoder, labels: Sequence[str], *, none: bool = False
    ) -> None:
        self.labels = check_labels([*labels, NONE_OF_THESE] if none else labels)
        self.none = none
        self._rule = calibration_of(encoder)
        names = [*self.labels[:-1], *_ANYTHING] if none else self.labels
        self._columns = label_vectors(encoder, list(dict.fromkeys(names)), calibration=self._rule)

    def best(self, vectors: FloatArray, top: int) -> list[tuple[Label, ...]]:
        """The `top` labels of each image [n, d], best first."""
        chances = self._probabilities(vectors)
        order = np.argsort(-chances, axis=1, kind="stable")[:, :top]
        return [
            tuple(Label(self.labels[column], float(row[column])) for column in columns)
            for row, columns in zip(chances, order.tolist(), strict=True)
        ]

    def _probabilities(self, vectors: FloatArray) -> FloatArray:
        """[n, labels] of images [n, d]; with `none` its own is the last."""
        chances = probabilities(vectors, self._columns, self._rule)
        if not self.none:
            return chances
        count = len(self.labels) - 1
        anything = chances[:, count:].mean(axis=1, keepdims=True) * np.sqrt(3 * count)
        chances = np.concatenate([chances[:, :count], anything], axis=1)
        result: FloatArray = (chances / chances.sum(axis=1, keepdims=True)).astype(np.float32)
        return result

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
