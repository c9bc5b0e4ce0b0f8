"""Labels of passages and images: given by people to learn from, or predicted by classifiers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from ragcore.catalog import DEFAULT_COLLECTION, Passage, Permit, permits
from ragcore.catalog import labels as stored
from ragcore.errors import UsageError
from ragcore.library.core import Core
from ragcore.library.scopes import scoped

if TYPE_CHECKING:
    from ragcore.types import FloatArray, HitKind, IdArray

_CLASSES = "classes"  # key of a collection's settings
MANY = 20_000  # unlabeled items among which the next ones are looked for


@scoped
class Labels:
    """Classes of a collection's classifiers, the labels that people gave, those predicted.

    Raises UsageError for an unknown collection.
    """

    def __init__(self, core: Core, permit: Permit | None = None) -> None:
        self._core, self._permit = core, permit

    def counts(
        self, collection: str = DEFAULT_COLLECTION, *, classifier: str | None = None
    ) -> dict[str, int]:
        """How many items of a collection have each label of a classifier, or of any."""
        row = self._core.catalog.collection(collection)
        with self._core.catalog.read() as session:
            return stored.label_counts(session, row.id, classifier=classifier)

    def give(
        self,
        name: str,
        kind: HitKind,
        item_ids: Sequence[int],
        label: str | None,
        *,
        collection: str = DEFAULT_COLLECTION,
    ) -> int:
        """Label passages or images for classifier `name` to learn from; None takes it away.

        Returns how many were there. Raises UsageError for a bad name or label.
        """
        from ragcore.encoders import check_classifier_name

        row = self._core.catalog.collection(collection)
        with self._core.catalog.write() as session:
            return stored.give_label(
                session, row.id, check_classifier_name(name), kind, item_ids, label
            )

    def given(
        self, name: str, *, collection: str = DEFAULT_COLLECTION
    ) -> list[stored.AssignedLabel]:
        """What people labelled for a classifier."""
        row = self._core.catalog.collection(collection)
        with self._core.catalog.read() as session:
            return stored.given_labels(session, row.id, name)

    def given_counts(self, name: str, *, collection: str = DEFAULT_COLLECTION) -> dict[str, int]:
        """How many items have each label that people gave."""
        return dict(Counter(one.label for one in self.given(name, collection=collection)))

    def classes(self, collection: str = DEFAULT_COLLECTION) -> dict[str, tuple[HitKind, list[str]]]:
        """Kind and classes of every classifier that is trained in a collection, by name."""
        row = self._core.catalog.collection(collection)
        known = row.settings.get(_CLASSES, {})
        return {name: (value["kind"], list(value["labels"])) for name, value in known.items()}

    def set_classes(
        self,
        name: str,
        kind: HitKind,
        labels: Sequence[str],
        *,
        collection: str = DEFAULT_COLLECTION,
    ) -> None:
        """The classes to choose between when labelling for a classifier; makes it if it is new.

        Labels given for a class that is left out are forgotten. Raises UsageError for a bad name,
        a class given twice (also where only case or space differs), another kind than before.
        """
        from ragcore.encoders import check_classifier_name

        check_classifier_name(name)
        clean = [stored.check_label(label) for label in labels]
        seen: dict[str, str] = {}
        for label in clean:
            if label.casefold() in seen:
                raise UsageError(f"there is already a class {seen[label.casefold()]!r}")
            seen[label.casefold()] = label
        row = self._core.catalog.collection(collection)
        before = self.classes(collection)
        if name in before and before[name][0] != kind:
            raise UsageError(f"{name!r} is about {before[name][0]}s: choose another name")
        known: dict[str, Any] = dict(row.settings.get(_CLASSES, {}))
        known[name] = {"kind": kind, "labels": clean}
        with self._core.catalog.write() as session:
            for label in before.get(name, (kind, []))[1]:
                if label not in clean:
                    stored.forget_given(session, row.id, name, label)
        self._core.catalog.update_collection_settings(collection, **{_CLASSES: known})

    def forget_classes(self, name: str, *, collection: str = DEFAULT_COLLECTION) -> None:
        """Forget classes and labels given for a classifier. One that was trained stays."""
        row = self._core.catalog.collection(collection)
        known = {k: v for k, v in row.settings.get(_CLASSES, {}).items() if k != name}
        with self._core.catalog.write() as session:
            stored.forget_given(session, row.id, name)
        self._core.catalog.update_collection_settings(collection, **{_CLASSES: known or None})

    def next(
        self, name: str, kind: HitKind, *, count: int = 12, collection: str = DEFAULT_COLLECTION
    ) -> list[int]:
        """Ids of the items whose labels would help most: unsure ones, unlike each other.

        From the catalog's vectors and what is labelled so far; before there are two classes
        with labels, items that are unlike each other. At most 20,000 are looked at.
        """
        import numpy as np

        from ragcore.tuning import worth_labelling

        row = self._core.catalog.collection(collection)
        ids, vectors = self._vectors(row.id, kind)
        if not len(ids):
            return []
        said = {
            one.item_id: one.label
            for one in self.given(name, collection=collection)
            if one.kind == kind
        }
        labelled = np.isin(ids, list(said))
        known, known_labels = vectors[labelled], [said[int(item)] for item in ids[labelled]]
        free = np.flatnonzero(~labelled)
        if len(free) > MANY:
            free = np.sort(np.random.default_rng(0).choice(free, MANY, replace=False))
        chances = self._guesses(known, known_labels, vectors[free])
        picked = worth_labelling(chances, vectors[free], known, count)
        return [int(item) for item in ids[free[picked]]]

    def items(
        self,
        kind: HitKind,
        *,
        collection: str = DEFAULT_COLLECTION,
        limit: int = 100,
        offset: int = 0,
    ) -> list[int]:
        """Ids of a collection's passages or images, the newest first."""
        row = self._core.catalog.collection(collection)
        with self._core.catalog.read() as session:
            return stored.item_ids(session, row.id, kind, limit=limit, offset=offset)

    def texts(self, passage_ids: Sequence[int]) -> dict[int, str]:
        """Heading and text of each passage that may be seen, by id, in the order given.

        Passages that do not exist are left out.
        """
        from ragcore.search import passage_texts

        here = (Passage.id.in_(list(passage_ids)), permits.visible(Passage.collection_id))
        with self._core.catalog.read() as session:
            seen = session.scalars(select(Passage.id).where(*here)).all()
            found = passage_texts(session, seen)
        return {item: found[item] for item in passage_ids if item in found}

    def of(
        self, kind: HitKind, item_ids: Sequence[int]
    ) -> Mapping[int, Sequence[stored.PredictedLabel]]:
        """What classifiers say of items, by id, the surest first."""
        with self._core.catalog.read() as session:
            return stored.labels_of(session, kind, item_ids)

    def _guesses(
        self, known: FloatArray, known_labels: Sequence[str], asked: FloatArray
    ) -> FloatArray | None:
        """Probabilities of a linear layer on what is labelled so far; None before two classes."""
        import numpy as np

        from ragcore.encoders import softmax
        from ragcore.tuning import fit_head

        classes, labels = np.unique(
            np.array(known_labels, dtype=object).astype(str), return_inverse=True
        )
        if len(classes) < 2:
            return None
        return softmax(fit_head(known, labels, len(classes), 10.0).logits(asked))

    def _vectors(self, collection_id: int, kind: HitKind) -> tuple[IdArray, FloatArray]:
        """All of a collection's vectors of a kind in its active space."""
        import numpy as np

        from ragcore.catalog import iter_embeddings

        space = self._core.catalog.active_space(
            collection_id, "text" if kind == "passage" else "image"
        )
        if space is None:
            return np.zeros(0, np.int64), np.zeros((0, 1), np.float32)
        with self._core.catalog.read() as session:
            parts = list(iter_embeddings(session, collection_id, space.id))
        if not parts:
            return np.zeros(0, np.int64), np.zeros((0, space.dimension), np.float32)
        return np.concatenate([i for i, _ in parts]), np.concatenate([v for _, v in parts])
