"""Categories of one's own: labels given by hand, classifiers trained on them, and what they say."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from ragcore.catalog import DEFAULT_COLLECTION, permits
from ragcore.catalog import labels as kept
from ragcore.catalog.models import Collection, Passage
from ragcore.errors import RagcoreError, UsageError
from ragcore.library.parts import Parts
from ragcore.types import CancelToken, ProgressCallback

if TYPE_CHECKING:
    from ragcore.encoders.classifier import ClassifierCard
    from ragcore.ingest.labelling import LabelReport
    from ragcore.tuning.classifier import ClassifierReport
    from ragcore.tuning.classifier_recipe import ClassifierRecipe
    from ragcore.types import FloatArray, HitKind, IdArray

log = logging.getLogger(__name__)

_CLASSES, _FOLLOWED = "classes", "followed_classifiers"  # keys of a collection's settings
MANY = 20_000  # unlabelled items among which the next ones are looked for


class Teaching(Parts):
    """The verbs of labels and classifiers."""

    # --- classifiers -----------------------------------------------------------

    def classifiers(self) -> list[ClassifierCard]:
        """What is known of each trained classifier that may be seen, by name.

        One that was trained on a collection belongs to it; others are everybody's to use, and
        an administrator's of all collections to change.
        """
        from ragcore.encoders.classifier import list_classifiers

        return [card for card in list_classifiers(self.settings) if self._may_see(card)]

    def classifier(self, name: str) -> ClassifierCard:
        """Raises UsageError, naming the known ones, if there is none of this name."""
        known = {card.name: card for card in self.classifiers()}
        if name not in known:
            names = ", ".join(known)
            told = f"known: {names}" if names else "none yet; `ragcore tune classifier` makes one"
            raise UsageError(f"no classifier named {name[:60]!r} ({told})")
        return known[name]

    def _may_see(self, card: ClassifierCard) -> bool:
        return self._owner(card) is None or permits.may_see(self._owner(card) or 0)

    def _owner(self, card: ClassifierCard) -> int | None:
        """The collection that a classifier belongs to; None: none. 0: one that is gone."""
        from ragcore.tuning.classifier_collection import COLLECTION

        if card.collection_id is not None or not card.data.startswith(COLLECTION):
            return card.collection_id
        # Written before classifiers had owners: by the name of its training data.
        with self.catalog.read() as session:
            named = select(Collection.id).where(
                Collection.name == card.data.removeprefix(COLLECTION)
            )
            return session.scalar(named) or 0

    def _check_may_replace(self, name: str, collection_id: int) -> None:
        """Raises UsageError if a classifier of this name is not the collection's own."""
        from ragcore.encoders.classifier import list_classifiers

        for card in list_classifiers(self.settings):
            if card.name != name or self._owner(card) == collection_id:
                continue
            if not (permits.may("admin") and permits.sees_everything()):
                raise UsageError(f"a classifier cannot be named {name!r}: choose another name")

    def classifier_results(self, name: str) -> dict[str, Any]:
        """The table, notes, mistakes and doubtful labels of a classifier's training.

        Also "folder": where confusion.png, mistakes.png, calibration.png and curve.png are.
        """
        import json

        from ragcore.encoders.classifier import classifier_folder

        self.classifier(name)
        folder = classifier_folder(name, self.settings)
        told: dict[str, Any] = {}
        for key, file in (("", "results.json"), ("suspicious", "suspicious.json")):
            try:
                value = json.loads((folder / file).read_text("utf-8"))
            except (OSError, ValueError):
                continue
            told |= {key: value} if key else value
        return told | {"folder": folder}

    @permits.verb("write")
    def remove_classifier(self, name: str) -> None:
        """Delete a classifier and what it said. Labels that people gave stay.

        Raises UsageError if there is none, NotPermitted for one that belongs to no collection
        unless an administrator of all collections asks.
        """
        from ragcore.encoders.classifier import remove_classifier

        if not self._owner(self.classifier(name)):
            permits.require_everywhere("admin")
        remove_classifier(name, self.settings)
        with self.catalog.write() as session:
            if permits.sees_everything():
                kept.forget_told(session, name)
            else:
                for row in self.catalog.collections():
                    kept.forget_told(session, name, row.id)
        for row in self.catalog.collections():
            if name in row.settings.get(_FOLLOWED, ()):
                self.follow_classifier(name, collection=row.name, on=False)

    @permits.verb("admin", everywhere=True)
    def tune_classifier(
        self,
        recipe: str | Path | ClassifierRecipe,
        *,
        progress: ProgressCallback | None = None,
        cancel: CancelToken | None = None,
        resume: bool = True,
    ) -> ClassifierReport:
        """Train a classifier as a recipe says; see `ragcore.tuning.classifier.tune_classifier`.

        A recipe reads folders of the server: `start_teaching` is for who may not.
        """
        from ragcore.tuning.classifier import tune_classifier

        return tune_classifier(
            recipe,
            settings=self.settings,
            models=self.models,
            progress=progress,
            cancel=cancel,
            resume=resume,
        )

    @permits.verb("write")
    def start_teaching(
        self,
        name: str,
        *,
        collection: str = DEFAULT_COLLECTION,
        ways: Sequence[str] = ("features",),
    ) -> int:
        """Train on what is labelled in a collection, in the background; return the job's id.

        A cancelled or stopped one is gone on with by the next of the same labels.
        """
        from ragcore.tuning.classifier_recipe import ClassifierRecipe
        from ragcore.tuning.recipe import parse_recipe

        values = {"name": name, "ways": tuple(ways), "curve": (1, 5, 20, 100)}
        recipe = parse_recipe(
            values | {"data": {"train": f"collection:{collection}"}}, ClassifierRecipe
        )
        self._check_may_replace(name, self.catalog.collection(collection).id)
        counts = self.given_counts(name, collection=collection)
        if len(counts) < 2:
            raise UsageError("label examples of two classes or more, then train")

        def work(progress: ProgressCallback, cancel: CancelToken) -> dict[str, Any]:
            with self.jobs.turn(progress, cancel):
                report = self.tune_classifier(recipe, progress=progress, cancel=cancel)
            return {"classifier": name, "kept": report.kept, "seconds": report.seconds}

        request = {"classifier": name, "ways": list(ways)}
        return self.jobs.start("teach", collection, request, work)

    # --- what classifiers say --------------------------------------------------

    @permits.verb("write")
    def classify(
        self,
        name: str,
        *,
        collection: str = DEFAULT_COLLECTION,
        progress: ProgressCallback | None = None,
        cancel: CancelToken | None = None,
    ) -> LabelReport:
        """Label everything in a collection that this training has not labelled yet.

        Labels become filters of the search (`label`, `label_confidence>=`). Raises UsageError for
        an unknown classifier or collection, Cancelled (what was labelled is kept).
        """
        from ragcore.encoders.classifier import Classifier
        from ragcore.ingest.labelling import label_collection

        self.classifier(name)
        row = self.catalog.collection(collection)
        return label_collection(
            self.catalog,
            row.id,
            Classifier(name, self.settings, self.models),
            self.settings,
            progress=progress,
            cancel=cancel,
        )

    @permits.verb("write")
    def start_classify(self, name: str, *, collection: str = DEFAULT_COLLECTION) -> int:
        """`classify` in the background; return the job's id."""
        self.classifier(name)
        self.catalog.collection(collection)

        def work(progress: ProgressCallback, cancel: CancelToken) -> dict[str, Any]:
            return asdict(
                self.classify(name, collection=collection, progress=progress, cancel=cancel)
            )

        return self.jobs.start("classify", collection, {"classifier": name}, work)

    @permits.verb("write")
    def follow_classifier(
        self, name: str, *, collection: str = DEFAULT_COLLECTION, on: bool = True
    ) -> None:
        """Let new files of a collection be labelled as they come in, or no longer."""
        if on:
            self.classifier(name)
        followed = [known for known in self.followed(collection) if known != name]
        followed += [name] if on else []
        self.catalog.update_collection_settings(collection, **{_FOLLOWED: sorted(followed) or None})

    def followed(self, collection: str = DEFAULT_COLLECTION) -> list[str]:
        """Names of the classifiers that label a collection's new files."""
        return list(self.catalog.collection(collection).settings.get(_FOLLOWED, ()))

    def label_new(self, collection: str) -> None:
        """Label what came in by the classifiers that are switched on.

        One that cannot (it was removed, its model has changed) is a warning in the log: what was
        ingested counts.
        """
        for name in self.followed(collection):
            try:
                self.classify(name, collection=collection)
            except RagcoreError as error:
                log.warning("new files of %s are not labelled by %s: %s", collection, name, error)

    def label_counts(
        self, collection: str = DEFAULT_COLLECTION, *, classifier: str | None = None
    ) -> dict[str, int]:
        """How many items of a collection have each label of a classifier, or of any."""
        row = self.catalog.collection(collection)
        with self.catalog.read() as session:
            return kept.label_counts(session, row.id, classifier=classifier)

    # --- labels given by hand --------------------------------------------------

    @permits.verb("write")
    def give_label(
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
        from ragcore.encoders.classifier import check_classifier_name

        row = self.catalog.collection(collection)
        with self.catalog.write() as session:
            return kept.give_label(
                session, row.id, check_classifier_name(name), kind, item_ids, label
            )

    def given(self, name: str, *, collection: str = DEFAULT_COLLECTION) -> list[kept.Given]:
        """What people labelled for a classifier."""
        row = self.catalog.collection(collection)
        with self.catalog.read() as session:
            return kept.given_labels(session, row.id, name)

    def given_counts(self, name: str, *, collection: str = DEFAULT_COLLECTION) -> dict[str, int]:
        """How many items have each label that people gave."""
        return dict(Counter(one.label for one in self.given(name, collection=collection)))

    def taught_classifiers(
        self, collection: str = DEFAULT_COLLECTION
    ) -> dict[str, tuple[HitKind, list[str]]]:
        """Kind and classes of everything that is being taught in a collection, by name."""
        row = self.catalog.collection(collection)
        known = row.settings.get(_CLASSES, {})
        return {name: (value["kind"], list(value["labels"])) for name, value in known.items()}

    @permits.verb("write")
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
        from ragcore.encoders.classifier import check_classifier_name

        check_classifier_name(name)
        clean = [kept.check_label(label) for label in labels]
        seen: dict[str, str] = {}
        for label in clean:
            if label.casefold() in seen:
                raise UsageError(f"there is already a class {seen[label.casefold()]!r}")
            seen[label.casefold()] = label
        row = self.catalog.collection(collection)
        before = self.taught_classifiers(collection)
        if name in before and before[name][0] != kind:
            raise UsageError(f"{name!r} is about {before[name][0]}s: choose another name")
        known: dict[str, Any] = dict(row.settings.get(_CLASSES, {}))
        known[name] = {"kind": kind, "labels": clean}
        with self.catalog.write() as session:
            for label in before.get(name, (kind, []))[1]:
                if label not in clean:
                    kept.forget_given(session, row.id, name, label)
        self.catalog.update_collection_settings(collection, **{_CLASSES: known})

    @permits.verb("write")
    def forget_classes(self, name: str, *, collection: str = DEFAULT_COLLECTION) -> None:
        """Forget classes and labels given for a classifier. One that was trained stays."""
        row = self.catalog.collection(collection)
        known = {k: v for k, v in row.settings.get(_CLASSES, {}).items() if k != name}
        with self.catalog.write() as session:
            kept.forget_given(session, row.id, name)
        self.catalog.update_collection_settings(collection, **{_CLASSES: known or None})

    def next_to_label(
        self, name: str, kind: HitKind, *, count: int = 12, collection: str = DEFAULT_COLLECTION
    ) -> list[int]:
        """Ids of the items whose labels would teach most: unsure ones, unlike each other.

        From the catalogue's vectors and what is labelled so far; before there are two classes
        with labels, items that are unlike each other. At most 20,000 are looked at.
        """
        import numpy as np

        from ragcore.tuning.classifier_head import worth_labelling

        row = self.catalog.collection(collection)
        ids, vectors = self._vectors(row.id, kind)
        if not len(ids):
            return []
        said = {
            one.item_id: one.label
            for one in self.given(name, collection=collection)
            if one.kind == kind
        }
        labelled = np.isin(ids, list(said))
        known, taught = vectors[labelled], [said[int(item)] for item in ids[labelled]]
        free = np.flatnonzero(~labelled)
        if len(free) > MANY:
            free = np.sort(np.random.default_rng(0).choice(free, MANY, replace=False))
        chances = self._guesses(known, taught, vectors[free])
        picked = worth_labelling(chances, vectors[free], known, count)
        return [int(item) for item in ids[free[picked]]]

    def items_of(
        self,
        kind: HitKind,
        *,
        collection: str = DEFAULT_COLLECTION,
        limit: int = 100,
        offset: int = 0,
    ) -> list[int]:
        """Ids of a collection's passages or images, the newest first."""
        row = self.catalog.collection(collection)
        with self.catalog.read() as session:
            return kept.item_ids(session, row.id, kind, limit=limit, offset=offset)

    def passage_texts(self, passage_ids: Sequence[int]) -> dict[int, str]:
        """Heading and text of each passage that exists and may be seen, by id, in the order
        given."""
        from ragcore.search.hits import passage_texts

        here = (Passage.id.in_(list(passage_ids)), permits.visible(Passage.collection_id))
        with self.catalog.read() as session:
            seen = session.scalars(select(Passage.id).where(*here)).all()
            found = passage_texts(session, seen)
        return {item: found[item] for item in passage_ids if item in found}

    def _guesses(
        self, known: FloatArray, taught: Sequence[str], asked: FloatArray
    ) -> FloatArray | None:
        """Probabilities of a linear layer on what is labelled so far; None before two classes."""
        import numpy as np

        from ragcore.encoders.classifier import softmax
        from ragcore.tuning.classifier_head import fit_head

        classes, labels = np.unique(np.array(taught, dtype=object).astype(str), return_inverse=True)
        if len(classes) < 2:
            return None
        return softmax(fit_head(known, labels, len(classes), 10.0).logits(asked))

    def _vectors(self, collection_id: int, kind: HitKind) -> tuple[IdArray, FloatArray]:
        """All of a collection's vectors of a kind in its active space."""
        import numpy as np

        from ragcore.catalog.embeddings import iter_embeddings

        space = self.catalog.active_space(collection_id, "text" if kind == "passage" else "image")
        if space is None:
            return np.zeros(0, np.int64), np.zeros((0, 1), np.float32)
        with self.catalog.read() as session:
            parts = list(iter_embeddings(session, collection_id, space.id))
        if not parts:
            return np.zeros(0, np.int64), np.zeros((0, space.dimension), np.float32)
        return np.concatenate([i for i, _ in parts]), np.concatenate([v for _, v in parts])

    def labels_of(
        self, kind: HitKind, item_ids: Sequence[int]
    ) -> Mapping[int, Sequence[kept.Told]]:
        """What classifiers say of items, by id, the surest first."""
        with self.catalog.read() as session:
            return kept.labels_of(session, kind, item_ids)
