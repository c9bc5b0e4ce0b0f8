"""Labels by trained classifiers for what a collection holds.

Where the classifier stands on the collection's own model its vectors are taken from the catalog,
which takes seconds; else images and passages are processed again. What a person labelled
keeps that label. Every batch is committed, so that a second run goes on where the first ended.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from sqlalchemy import select

from ragcore.catalog import (
    Catalog,
    Document,
    Image,
    Passage,
    Thumbnail,
    given_labels,
    load_embeddings,
    store_predicted,
    unlabelled,
)
from ragcore.encoders import Classifier
from ragcore.errors import Cancelled, UnreadableFile
from ragcore.ingest.split import passage_input
from ragcore.types import CancelToken, Progress, ProgressCallback

if TYPE_CHECKING:
    from ragcore.settings import Settings
    from ragcore.types import FloatArray, HitKind, IdArray

_VECTORS, _PASSAGES, _IMAGES = 8_192, 256, 64  # labelled and committed at a time


@dataclass(slots=True)
class LabelReport:
    """`labelled` counts items, `labels` how many got each label; `unreadable` were passed over.

    `from_catalog`: from vectors that were there, no model was run.
    """

    classifier: str
    labelled: int = 0
    labels: dict[str, int] = field(default_factory=dict)
    unreadable: int = 0
    from_catalog: bool = False
    seconds: float = 0.0


def label_collection(
    catalog: Catalog,
    collection_id: int,
    classifier: Classifier,
    settings: Settings,
    *,
    progress: ProgressCallback | None = None,
    cancel: CancelToken | None = None,
) -> LabelReport:
    """Label what this training of the classifier has not labelled yet.

    Raises UsageError if the classifier's model has changed since, Cancelled; what was labelled by
    then is kept.
    """
    run = _LabelingRun(
        catalog, collection_id, classifier, settings, progress, cancel or CancelToken()
    )
    return run.run()


class _LabelingRun:
    """One run of one classifier over one collection."""

    def __init__(
        self,
        catalog: Catalog,
        collection_id: int,
        classifier: Classifier,
        settings: Settings,
        progress: ProgressCallback | None,
        cancel: CancelToken,
    ) -> None:
        self._catalog, self._collection_id = catalog, collection_id
        self._classifier, self._settings = classifier, settings
        self._progress, self._cancel = progress, cancel
        self._card = classifier.card
        self._kind: HitKind = "passage" if self._card.modality == "text" else "image"
        self._report = LabelReport(self._card.name)
        self._began = time.monotonic()

    def run(self) -> LabelReport:
        with self._catalog.read() as session:
            waiting = unlabelled(
                session, self._collection_id, self._card.name, self._card.key, self._kind
            )
            given = {
                one.item_id: one.label
                for one in given_labels(session, self._collection_id, self._card.name)
                if one.kind == self._kind
            }
        done = 0
        for ids, chances, gone in self._batches(waiting):
            self._store(ids, chances, given)
            self._report.unreadable += gone
            done += len(ids) + gone
            self._show_progress(done, len(waiting))
            if self._cancel.cancelled:
                raise Cancelled(f"cancelled after {self._report.labelled:,} labels, which are kept")
        self._report.seconds = time.monotonic() - self._began
        return self._report

    def _batches(self, waiting: IdArray) -> Iterator[tuple[Sequence[int], FloatArray, int]]:
        """(ids, probabilities [ids, classes], how many could not be read)."""
        left = waiting
        space = self._catalog.active_space(self._collection_id, self._card.modality)
        if space is not None and self._classifier.takes_vectors_of(space.name):
            self._report.from_catalog = True
            found: list[int] = []
            for start in range(0, len(waiting), _VECTORS):
                with self._catalog.read() as session:
                    parts = list(
                        load_embeddings(session, space.id, waiting[start : start + _VECTORS])
                    )
                for ids, vectors in parts:
                    found += ids.tolist()
                    yield ids.tolist(), self._classifier.from_vectors(vectors), 0
            left = np.setdiff1d(waiting, np.array(found, np.int64))
        size = _PASSAGES if self._kind == "passage" else _IMAGES
        for start in range(0, len(left), size):
            part = [int(item) for item in left[start : start + size]]
            items = self._passages(part) if self._kind == "passage" else self._images(part)
            self._report.from_catalog = False
            chances = self._classifier.from_items(list(items.values()))
            yield list(items), chances, len(part) - len(items)

    def _passages(self, ids: Sequence[int]) -> dict[int, Any]:
        query = select(Passage.id, Passage.text, Passage.heading).where(Passage.id.in_(ids))
        with self._catalog.read() as session:
            rows = session.execute(query).all()
        return {item: passage_input(text, heading) for item, text, heading in rows}

    def _images(self, ids: Sequence[int]) -> dict[int, Any]:
        """Opened from their files, or their thumbnails where a file has gone or changed."""
        from ragcore.readers import load_image

        query = (
            select(Image.id, Image.media, Document.path, Thumbnail.data)
            .join(Document, Document.id == Image.document_id)
            .outerjoin(Thumbnail, Thumbnail.image_id == Image.id)
            .where(Image.id.in_(ids))
        )
        with self._catalog.read() as session:
            rows = session.execute(query).all()
        opened: dict[int, Any] = {}
        limit = self._settings.max_megapixels
        for item, media, path, thumbnail in rows:
            file = self._settings.media / media if media else Path(path)
            try:
                data = file.read_bytes()
                opened[item] = load_image(data, max_megapixels=limit, at_least=448)
            except (OSError, UnreadableFile):
                try:
                    small = BytesIO(thumbnail or b"").getvalue()
                    opened[item] = load_image(small, max_megapixels=limit, at_least=448)
                except UnreadableFile:
                    continue
        return opened

    def _store(self, ids: Sequence[int], chances: FloatArray, given: dict[int, str]) -> None:
        if not len(ids):
            return
        best = chances.argmax(1)
        predicted = []
        for at, item in enumerate(ids):
            label, sure = self._card.labels[int(best[at])], float(chances[at, best[at]])
            if item in given:
                label, sure = given[item], 1.0
            predicted.append((int(item), label, sure))
            self._report.labels[label] = self._report.labels.get(label, 0) + 1
        self._report.labelled += self._catalog.commit(
            lambda session: store_predicted(
                session, self._collection_id, self._card.name, self._card.key, self._kind, predicted
            )
        )

    def _show_progress(self, done: int, total: int) -> None:
        if self._progress is not None:
            rate = done / max(1e-6, time.monotonic() - self._began)
            self._progress(Progress("label", done, total, rate, (total - done) / max(rate, 1e-9)))
