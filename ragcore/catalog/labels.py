"""Labels of passages and images: those that people gave, and those of classifiers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from sqlalchemy import ColumnElement, delete, exists, func, insert, or_, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from ragcore.catalog.models import GivenLabel, Image, ItemLabel, Passage
from ragcore.catalog.permits import visible
from ragcore.errors import UsageError
from ragcore.text import check_shown

if TYPE_CHECKING:
    from ragcore.types import HitKind, IdArray

_IN = 10_000  # values per IN list
MAX_LABEL = 200  # characters


@dataclass(frozen=True, slots=True)
class AssignedLabel:
    """A label that a person gave."""

    kind: HitKind
    item_id: int
    label: str


@dataclass(frozen=True, slots=True)
class PredictedLabel:
    """A label that a classifier gave, with its confidence in [0, 1]."""

    classifier: str
    label: str
    confidence: float


def give_label(
    session: Session,
    collection_id: int,
    classifier: str,
    kind: HitKind,
    item_ids: Sequence[int],
    label: str | None,
) -> int:
    """Label items of the collection for a classifier to learn from; None takes the labels away.

    Items that are not there (any more) are passed over; returns how many were. Raises UsageError
    for an empty or too long label.
    """
    if label is not None:
        label = check_label(label)
    given, table = _column(GivenLabel, kind), _table(kind)
    done = 0
    for at in range(0, len(item_ids), _IN):
        wanted = [int(item) for item in item_ids[at : at + _IN]]
        here = (table.collection_id == collection_id, table.id.in_(wanted))
        present = session.scalars(select(table.id).where(*here)).all()
        session.execute(
            delete(GivenLabel).where(given.in_(present), GivenLabel.classifier == classifier)
        )
        if label is not None and present:
            common = {"collection_id": collection_id, "classifier": classifier, "label": label}
            rows = [{**common, given.key: item} for item in present]
            session.execute(insert(GivenLabel), rows)
        done += len(present)
    return done


def check_label(label: str) -> str:
    """The label without needless space. Raises UsageError if it is empty or too long."""
    label = check_shown(" ".join(label.split()), "a label")
    if not label:
        raise UsageError("a label needs a name")
    if len(label) > MAX_LABEL:
        raise UsageError(f"the label {label[:40]!r}… is too long: at most {MAX_LABEL} characters")
    return label


def given_labels(session: Session, collection_id: int, classifier: str) -> list[AssignedLabel]:
    """Everything that people labelled for a classifier, in the order that they did so."""
    rows = session.execute(
        select(GivenLabel.passage_id, GivenLabel.image_id, GivenLabel.label)
        .where(GivenLabel.collection_id == collection_id, GivenLabel.classifier == classifier)
        .order_by(GivenLabel.id)
    )
    return [
        AssignedLabel("image", int(image or 0), label)
        if passage is None
        else AssignedLabel("passage", passage, label)
        for passage, image, label in rows
    ]


def forget_given(
    session: Session, collection_id: int, classifier: str, label: str | None = None
) -> None:
    """Forget the labels that people gave for a classifier: all, or those of one name."""
    here = [GivenLabel.collection_id == collection_id, GivenLabel.classifier == classifier]
    if label is not None:
        here.append(GivenLabel.label == label)
    session.execute(delete(GivenLabel).where(*here))


def store_predicted(
    session: Session,
    collection_id: int,
    classifier: str,
    made_by: str,
    kind: HitKind,
    predicted: Sequence[tuple[int, str, float]],
) -> int:
    """Store predicted labels in place of the earlier ones; return how many are stored.

    `predicted` has (id, label, confidence) of each item. Items removed meanwhile are skipped.
    """
    column, table = _column(ItemLabel, kind), _table(kind)
    stored = 0
    for at in range(0, len(predicted), _IN):
        part = {item: (label, confidence) for item, label, confidence in predicted[at : at + _IN]}
        here = (table.collection_id == collection_id, table.id.in_(list(part)))
        present = session.scalars(select(table.id).where(*here)).all()
        session.execute(
            delete(ItemLabel).where(column.in_(present), ItemLabel.classifier == classifier)
        )
        common = {"collection_id": collection_id, "classifier": classifier, "made_by": made_by}
        rows = [
            {**common, column.key: item, "label": part[item][0], "confidence": part[item][1]}
            for item in present
        ]
        if rows:
            session.execute(insert(ItemLabel), rows)
        stored += len(rows)
    return stored


def unlabelled(
    session: Session, collection_id: int, classifier: str, made_by: str, kind: HitKind
) -> IdArray:
    """Ids of the items that this training of a classifier has not labelled yet, ascending."""
    table, column = _table(kind), _column(ItemLabel, kind)
    labelled = exists().where(
        column == table.id, ItemLabel.classifier == classifier, ItemLabel.made_by == made_by
    )
    query = select(table.id).where(table.collection_id == collection_id, ~labelled)
    return np.fromiter(session.scalars(query.order_by(table.id)), dtype=np.int64)


def item_ids(
    session: Session, collection_id: int, kind: HitKind, *, limit: int, offset: int = 0
) -> list[int]:
    """Ids of a collection's passages or images, the newest first."""
    table = _table(kind)
    query = select(table.id).where(table.collection_id == collection_id)
    return list(session.scalars(query.order_by(table.id.desc()).limit(limit).offset(offset)))


def labels_of(
    session: Session, kind: HitKind, item_ids: Sequence[int]
) -> dict[int, list[PredictedLabel]]:
    """What classifiers say of items that may be seen, by id, the surest first."""
    column = _column(ItemLabel, kind)
    found: dict[int, list[PredictedLabel]] = {}
    for at in range(0, len(item_ids), _IN):
        part = [int(item) for item in item_ids[at : at + _IN]]
        query = select(column, ItemLabel.classifier, ItemLabel.label, ItemLabel.confidence)
        here = (column.in_(part), visible(ItemLabel.collection_id))
        rows = session.execute(query.where(*here).order_by(ItemLabel.confidence.desc()))
        for item, classifier, label, confidence in rows:
            found.setdefault(int(item or 0), []).append(
                PredictedLabel(classifier, label, confidence)
            )
    return found


def label_counts(
    session: Session, collection_id: int, *, classifier: str | None = None, least: float = 0.0
) -> dict[str, int]:
    """How many items have each label with at least this confidence, the commonest first."""
    here: list[ColumnElement[bool]] = [
        ItemLabel.collection_id == collection_id, ItemLabel.confidence >= least,
    ]  # fmt: skip
    if classifier is not None:
        here.append(ItemLabel.classifier == classifier)
    query = select(ItemLabel.label, func.count()).where(*here).group_by(ItemLabel.label)
    rows = session.execute(query.order_by(func.count().desc(), ItemLabel.label)).all()
    return dict(rows)


def forget_predicted(session: Session, classifier: str, collection_id: int | None = None) -> None:
    """Forget what a classifier said of a collection's items, or of all."""
    here = [ItemLabel.classifier == classifier]
    if collection_id is not None:
        here.append(ItemLabel.collection_id == collection_id)
    session.execute(delete(ItemLabel).where(*here))


def has_label(
    kind: HitKind, label: str | None, least: float | None, classifier: str | None
) -> ColumnElement[bool]:
    """The condition that a passage's or image's row has such a label of a classifier."""
    column, table = _column(ItemLabel, kind), _table(kind)
    here: list[ColumnElement[bool]] = [column == table.id]
    if label is not None:
        # the database's lower() may know ASCII only: what is written alike is always found
        here.append(or_(ItemLabel.label == label, func.lower(ItemLabel.label) == label.lower()))
    if least is not None:
        here.append(ItemLabel.confidence >= least)
    if classifier is not None:
        here.append(ItemLabel.classifier == classifier)
    return exists().where(*here)


# --- keeping labels over a new reading of their document ---------------------


@dataclass(frozen=True, slots=True)
class _SavedLabel:
    kind: Literal["passage", "image"]
    content: str
    classifier: str
    label: str


def keep_given(session: Session, document_ids: Sequence[int]) -> list[_SavedLabel]:
    """The labels that people gave in these documents, by what was labelled: its text or pixels."""
    saved = []
    for kind in ("passage", "image"):
        table = _table(kind)
        content = Passage.text if kind == "passage" else Image.pixels_sha256
        query = (
            select(content, GivenLabel.classifier, GivenLabel.label)
            .join(table, _column(GivenLabel, kind) == table.id)
            .where(table.document_id.in_(document_ids))
            .order_by(GivenLabel.id)
        )
        saved += [_SavedLabel(kind, *row) for row in session.execute(query)]
    return saved


def give_again(
    session: Session, collection_id: int, document_id: int, saved: Sequence[_SavedLabel]
) -> None:
    """Give the labels back to the passages and images that are as they were before."""
    for one in saved:
        table = _table(one.kind)
        content = Passage.text if one.kind == "passage" else Image.pixels_sha256
        query = select(table.id).where(table.document_id == document_id, content == one.content)
        item = session.scalar(query.order_by(table.id).limit(1))
        if item is not None:
            give_label(session, collection_id, one.classifier, one.kind, [item], one.label)


def _table(kind: HitKind) -> type[Passage] | type[Image]:
    return Passage if kind == "passage" else Image


def _column(
    table: type[GivenLabel] | type[ItemLabel], kind: HitKind
) -> InstrumentedAttribute[int | None]:
    return table.passage_id if kind == "passage" else table.image_id
