"""The trash: documents that were taken out of their collection, until they are put back or go.

What is in the trash of collection 7 is in collection -7, with all that came from it. Nothing that
looks at a collection finds it there, and no permit opens a collection below zero.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import delete, insert, select, update
from sqlalchemy.orm import Session

from ragcore.catalog.documents import KnownFile, known_files, remove_documents
from ragcore.catalog.models import (
    Change,
    Collection,
    Document,
    Embedding,
    GivenLabel,
    Image,
    ImageMark,
    ImageMetadataRow,
    ItemLabel,
    Passage,
    SpaceRow,
    TrashEntry,
    now,
)

_IN = 10_000  # values per IN list


@dataclass(frozen=True, slots=True)
class TrashedDocument:
    """A document in the trash. `images` and `passages` are what came from it."""

    id: int
    name: str
    path: str
    media_type: str
    size: int
    passages: int
    images: int
    trashed_at: dt.datetime


def put_into_trash(session: Session, collection_id: int, document_ids: Iterable[int]) -> int:
    """Move documents into the trash; return how many there were.

    One of the same path that is there already goes: the newer one takes its place.
    """
    ids = _present(session, collection_id, document_ids)
    if not ids:
        return 0
    if session.get(Collection, -collection_id) is None:
        name = f"/trash of {collection_id}"  # no name that could be given
        session.add(Collection(id=-collection_id, name=name, settings={}))
        session.flush()
    for at in range(0, len(ids), _IN):
        part = ids[at : at + _IN]
        paths = select(Document.path).where(Document.id.in_(part))
        here = (Document.collection_id == -collection_id, Document.path.in_(paths))
        remove_documents(session, -collection_id, session.scalars(select(Document.id).where(*here)))
        _move(session, part, collection_id, -collection_id)
        moment = now()
        session.execute(
            insert(TrashEntry), [{"document_id": one, "trashed_at": moment} for one in part]
        )
    return len(ids)


def list_trash(session: Session, collection_id: int) -> list[TrashedDocument]:
    """What is in a collection's trash, the newest first."""
    query = (
        select(
            Document.id, Document.name, Document.path, Document.media_type, Document.size,
            Document.passage_count, Document.image_count, TrashEntry.trashed_at,
        )
        .join(TrashEntry, TrashEntry.document_id == Document.id)
        .where(Document.collection_id == -collection_id)
        .order_by(TrashEntry.trashed_at.desc(), Document.id.desc())
    )  # fmt: skip
    return [TrashedDocument(*row) for row in session.execute(query)]


def restore(
    session: Session, collection_id: int, document_ids: Iterable[int]
) -> tuple[int, list[str]]:
    """Put documents back.

    Return how many, and the paths of those that stay in the trash because the collection has a
    document of that path by now.
    """
    ids = _present(session, -collection_id, document_ids)
    back, taken = 0, list[str]()
    for at in range(0, len(ids), _IN):
        rows = session.execute(
            select(Document.id, Document.path).where(Document.id.in_(ids[at : at + _IN]))
        ).all()
        there = known_files(session, collection_id, [path for _, path in rows])
        taken += [path for _, path in rows if path in there]
        part = [document for document, path in rows if path not in there]
        session.execute(delete(TrashEntry).where(TrashEntry.document_id.in_(part)))
        _move(session, part, -collection_id, collection_id)
        back += len(part)
    return back, taken


def empty_trash(
    session: Session,
    collection_id: int,
    *,
    document_ids: Iterable[int] | None = None,
    before: dt.datetime | None = None,
) -> list[str]:
    """Remove what is in the trash, or these documents of it, or what came there before a moment.

    Return their paths.
    """
    query = (
        select(Document.id, Document.path)
        .join(TrashEntry, TrashEntry.document_id == Document.id)
        .where(Document.collection_id == -collection_id)
    )
    if before is not None:
        query = query.where(TrashEntry.trashed_at < before)
    wanted = None if document_ids is None else set(document_ids)
    gone = [row for row in session.execute(query) if wanted is None or row.id in wanted]
    remove_documents(session, -collection_id, [row.id for row in gone])
    return [row.path for row in gone]


def trashed_files(session: Session, collection_id: int) -> dict[str, KnownFile]:
    """The files of what is in a collection's trash, by path."""
    return known_files(session, -collection_id)


def _present(session: Session, collection_id: int, document_ids: Iterable[int]) -> list[int]:
    wanted = sorted(set(document_ids))
    found: list[int] = []
    for at in range(0, len(wanted), _IN):
        here = (Document.collection_id == collection_id, Document.id.in_(wanted[at : at + _IN]))
        found += session.scalars(select(Document.id).where(*here))
    return found


def _move(session: Session, document_ids: Sequence[int], old: int, new: int) -> None:
    """Documents with all that came from them, into another collection."""
    if not document_ids:
        return
    spaces = session.execute(select(SpaceRow.id, SpaceRow.modality)).all()
    kinds: tuple[tuple[type[Passage] | type[Image], str], ...] = (
        (Passage, "text"), (Image, "image"),
    )  # fmt: skip
    for table, modality in kinds:
        items = list(session.scalars(select(table.id).where(table.document_id.in_(document_ids))))
        session.execute(
            update(table).where(table.document_id.in_(document_ids)).values(collection_id=new)
        )
        for at in range(0, len(items), _IN):
            part = items[at : at + _IN]
            for space in [space for space, of in spaces if of == modality]:
                _move_vectors(session, part, space, old, new)
            labeled: tuple[Any, ...] = (GivenLabel, ItemLabel)
            for labels in labeled:
                column = labels.passage_id if modality == "text" else labels.image_id
                session.execute(update(labels).where(column.in_(part)).values(collection_id=new))
            if table is Image:
                about: tuple[Any, ...] = (ImageMetadataRow, ImageMark)
                for rows in about:
                    here = rows.image_id.in_(part)
                    session.execute(update(rows).where(here).values(collection_id=new))
    session.execute(update(Document).where(Document.id.in_(document_ids)).values(collection_id=new))


def _move_vectors(
    session: Session, items: Sequence[int], space_id: int, old: int, new: int
) -> None:
    """The vectors, and the log by which the collection's index follows; a trash has none."""
    here = (Embedding.space_id == space_id, Embedding.item_id.in_(items))
    present = session.scalars(select(Embedding.item_id).where(*here)).all()
    if not present:
        return
    session.execute(update(Embedding).where(*here).values(collection_id=new))
    row = {"collection_id": abs(new), "space_id": space_id, "removed": new < 0}
    session.execute(insert(Change), [{**row, "item_id": item} for item in present])
