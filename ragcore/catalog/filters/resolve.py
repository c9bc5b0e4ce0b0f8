"""Filters resolved in SQL to the ids that a search may find."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from sqlalchemy import ColumnElement, Select, or_, select
from sqlalchemy.orm import Session

from ragcore.catalog.filters.field import Item
from ragcore.catalog.filters.table import FILTERS, KEYS, Filter
from ragcore.catalog.models import Document, Image, Passage

if TYPE_CHECKING:
    from ragcore.types import HitKind, IdArray


def item_ids(session: Session, chosen: Filter, collection_id: int, kind: HitKind) -> IdArray:
    """Ascending ids of the collection's passages or images that meet every condition."""
    item: Item = Passage if kind == "passage" else Image
    query = items(chosen, collection_id, item).order_by(item.id)
    return np.fromiter((row[0] for row in session.execute(query)), dtype=np.int64)


def items(chosen: Filter, collection_id: int, item: Item) -> Select[int]:
    """The query of those ids."""
    query = select(item.id).where(item.collection_id == collection_id)
    of_documents = _conditions(chosen, item, "document")
    if of_documents:
        query = query.join(Document, Document.id == item.document_id).where(*of_documents)
    return query.where(*_conditions(chosen, item, "item"))


def documents_with(chosen: Filter, collection_id: int) -> list[ColumnElement[bool]]:
    """The conditions of documents that meet `chosen`, or have a passage or image that does."""
    met = _conditions(chosen, Passage, "document")
    with_item: list[ColumnElement[bool]] = []
    tables: tuple[Item, ...] = (Passage, Image)
    for item in tables:
        if of_items := _conditions(chosen, item, "item"):
            here = (item.collection_id == collection_id, *of_items)
            with_item.append(Document.id.in_(select(item.document_id).where(*here)))
    return [*met, or_(*with_item)] if with_item else met


def documents_in(session: Session, chosen: Filter, collection_id: int) -> Sequence[Document]:
    """The collection's documents with a passage that meets every condition, by title.

    Where only documents have conditions, also those without passages. Documents that cannot be
    found are left out.
    """
    query = select(Document).where(
        Document.collection_id == collection_id,
        Document.state != "failed",
        *_conditions(chosen, Passage, "document"),
    )
    of_items = _conditions(chosen, Passage, "item")
    if of_items:
        here = (Passage.collection_id == collection_id, *of_items)
        query = query.where(Document.id.in_(select(Passage.document_id).where(*here)))
    return session.scalars(query.order_by(Document.title, Document.name, Document.id)).all()


def facets(session: Session, collection_id: int) -> dict[str, dict[str, int]]:
    """Counts by value of each field that has some to choose from, by its name."""
    return {
        field.name: field.facet(session, collection_id)
        for field in FILTERS
        if field.facet is not None
    }


def _conditions(chosen: Filter, item: Item, on: str) -> list[ColumnElement[bool]]:
    given: dict[str, dict[str, Any]] = {}
    for key, text in chosen.items():
        field, operator = KEYS[key]
        value = field.type.parse(text)
        if field.part_of:
            given.setdefault(field.part_of, {})[field.name] = value
        else:
            given.setdefault(field.name, {})[operator] = value
    return [
        field.condition(item, given[field.name])
        for field in FILTERS
        if field.on == on and field.name in given and field.condition is not None
    ]
