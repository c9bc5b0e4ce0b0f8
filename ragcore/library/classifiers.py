"""Classifiers trained on labels: which there are, and having them label a collection."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from ragcore.catalog import DEFAULT_COLLECTION, Collection, Permit, permits
from ragcore.catalog import labels as kept
from ragcore.errors import RagcoreError, UsageError
from ragcore.library.core import Core
from ragcore.library.scopes import scoped
from ragcore.types import CancelToken, ProgressCallback

if TYPE_CHECKING:
    from ragcore.encoders import ClassifierCard
    from ragcore.ingest import LabelReport

log = logging.getLogger(__name__)

_FOLLOWED = "followed_classifiers"  # key of a collection's settings


@scoped
class Classifiers:
    """Trained classifiers.

    One that was trained on a collection belongs to it; others are everybody's to use, and an
    administrator's of all collections to change.
    """

    def __init__(self, core: Core, permit: Permit | None = None) -> None:
        self._core, self._permit = core, permit

    def list(self) -> Sequence[ClassifierCard]:
        """What is known of each trained classifier that may be seen, by name."""
        from ragcore.encoders import list_classifiers

        return [
            card for card in list_classifiers(self._core.settings) if _may_see(self._core, card)
        ]

    def get(self, name: str) -> ClassifierCard:
        """Raises UsageError, naming the known ones, if there is none of this name."""
        known = {card.name: card for card in self.list()}
        if name not in known:
            names = ", ".join(known)
            hint = f"known: {names}" if names else "none yet; `ragcore tune classifier` makes one"
            raise UsageError(f"no classifier named {name[:60]!r} ({hint})")
        return known[name]

    def results(self, name: str) -> dict[str, Any]:
        """The table, notes, mistakes and doubtful labels of a classifier's training.

        Also "folder": where confusion.png, mistakes.png, calibration.png and curve.png are.
        """
        import json

        from ragcore.encoders import classifier_folder

        self.get(name)
        folder = classifier_folder(name, self._core.settings)
        found: dict[str, Any] = {}
        for key, file in (("", "results.json"), ("suspicious", "suspicious.json")):
            try:
                value = json.loads((folder / file).read_text("utf-8"))
            except (OSError, ValueError):
                continue
            found |= {key: value} if key else value
        return found | {"folder": folder}

    def remove(self, name: str) -> None:
        """Delete a classifier and what it said. Labels that people gave stay.

        Raises UsageError if there is none, NotPermitted for one that belongs to no collection
        unless an administrator of all collections asks.
        """
        from ragcore.encoders import remove_classifier

        if not _owner(self._core, self.get(name)):
            permits.require_everywhere("admin")
        remove_classifier(name, self._core.settings)
        with self._core.catalog.write() as session:
            if permits.sees_everything():
                kept.forget_predicted(session, name)
            else:
                for row in self._core.catalog.collections():
                    kept.forget_predicted(session, name, row.id)
        for row in self._core.catalog.collections():
            if name in row.settings.get(_FOLLOWED, ()):
                self.follow(name, collection=row.name, on=False)

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
        from ragcore.encoders import Classifier
        from ragcore.ingest import label_collection

        self.get(name)
        row = self._core.catalog.collection(collection)
        return label_collection(
            self._core.catalog,
            row.id,
            Classifier(name, self._core.settings, self._core.models),
            self._core.settings,
            progress=progress,
            cancel=cancel,
        )

    def follow(self, name: str, *, collection: str = DEFAULT_COLLECTION, on: bool = True) -> None:
        """Let new files of a collection be labelled as they come in, or no longer."""
        if on:
            self.get(name)
        followed = [known for known in self.followed(collection) if known != name]
        followed += [name] if on else []
        self._core.catalog.update_collection_settings(
            collection, **{_FOLLOWED: sorted(followed) or None}
        )

    def followed(self, collection: str = DEFAULT_COLLECTION) -> Sequence[str]:
        """Names of the classifiers that label a collection's new files."""
        return list(self._core.catalog.collection(collection).settings.get(_FOLLOWED, ()))


def label_new(core: Core, collection: str) -> None:
    """Label new files by the classifiers that are switched on.

    One that cannot (it was removed, its model has changed) is a warning in the log: what was
    ingested counts.
    """
    classifiers = Classifiers(core)
    for name in classifiers.followed(collection):
        try:
            classifiers.classify(name, collection=collection)
        except RagcoreError as error:
            log.warning("new files of %s are not labelled by %s: %s", collection, name, error)


def check_may_replace(core: Core, name: str, collection_id: int) -> None:
    """Raises UsageError if a classifier of this name is not the collection's own."""
    from ragcore.encoders import list_classifiers

    for card in list_classifiers(core.settings):
        if card.name != name or _owner(core, card) == collection_id:
            continue
        if not (permits.may("admin") and permits.sees_everything()):
            raise UsageError(f"a classifier cannot be named {name!r}: choose another name")


def _may_see(core: Core, card: ClassifierCard) -> bool:
    owner = _owner(core, card)
    return owner is None or permits.may_see(owner)


def _owner(core: Core, card: ClassifierCard) -> int | None:
    """The collection that a classifier belongs to; None: none. 0: one that is gone."""
    from ragcore.tuning import COLLECTION

    if card.collection_id is not None or not card.data.startswith(COLLECTION):
        return card.collection_id
    # Written before classifiers had owners: by the name of its training data.
    with core.catalog.read() as session:
        named = select(Collection.id).where(Collection.name == card.data.removeprefix(COLLECTION))
        return session.scalar(named) or 0
