"""Sources of collections: places, how often they are looked at, and what they brought."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from ragcore.catalog import permits
from ragcore.catalog.models import (
    Collection,
    CollectionSource,
    Document,
    SourceDocument,
    now,
)
from ragcore.errors import UsageError


def add_source(
    session: Session, collection_id: int, url: str, options: Mapping[str, str], every: int
) -> int:
    """Enter a source; return its id. `every` is in seconds (0: only when asked).

    Raises UsageError if the collection has it already.
    """
    here = (CollectionSource.collection_id == collection_id, CollectionSource.url == url)
    known = session.scalar(select(CollectionSource.id).where(*here))
    if known is not None:
        raise UsageError(f"{url} is source {known} of this collection already")
    row = CollectionSource(
        collection_id=collection_id,
        url=url,
        options=dict(options),
        every=every,
        next_run=now() if every else None,
    )
    session.add(row)
    session.flush()
    return row.id


def list_sources(
    session: Session, collection_id: int | None = None
) -> list[tuple[CollectionSource, str]]:
    """Sources with the names of their collections, of one collection or of all that may be seen."""
    query = select(CollectionSource, Collection.name).join(
        Collection, Collection.id == CollectionSource.collection_id
    )
    if collection_id is not None:
        query = query.where(CollectionSource.collection_id == collection_id)
    allowed = permits.current().collection_ids
    if allowed is not None:
        query = query.where(CollectionSource.collection_id.in_(allowed))
    return [(row, name) for row, name in session.execute(query.order_by(CollectionSource.id))]


def get_source(session: Session, source_id: int) -> CollectionSource:
    """Raises UsageError if there is none of this number."""
    row = session.get(CollectionSource, source_id)
    if row is None:
        raise UsageError(f"there is no source {source_id}: `ragcore sources list` shows them")
    return row


def pause_source(session: Session, source_id: int, paused: bool) -> None:
    """Raises UsageError if there is none. One that goes on is due at once."""
    row = get_source(session, source_id)
    row.paused = paused
    row.next_run = now() if row.every and not paused else None


def remove_source(session: Session, source_id: int) -> list[int]:
    """Forget a source; return the ids of the documents that it brought, which stay.

    Raises UsageError if there is none.
    """
    get_source(session, source_id)
    brought = sorted(source_documents(session, source_id))
    session.execute(delete(CollectionSource).where(CollectionSource.id == source_id))
    return brought


def source_documents(session: Session, source_id: int | None = None) -> set[int]:
    """The ids of the documents that a source brought, or any one."""
    query = select(SourceDocument.document_id)
    if source_id is not None:
        query = query.where(SourceDocument.source_id == source_id)
    return set(session.scalars(query))


def join_source(session: Session, source_id: int, collection_id: int, path: str) -> None:
    """Note that a source brought the document at a path. Nothing if either is gone."""
    here = (Document.collection_id == collection_id, Document.path == path)
    document_id = session.scalar(select(Document.id).where(*here))
    if document_id is not None and session.get(CollectionSource, source_id) is not None:
        session.merge(SourceDocument(document_id=document_id, source_id=source_id))


def take_by_hand(session: Session, document_ids: Sequence[int]) -> None:
    """From now on the documents count as added by hand: no sync removes them."""
    session.execute(
        update(Document)
        .where(Document.id.in_(document_ids), Document.origin != "")
        .values(origin="")
    )
    session.execute(delete(SourceDocument).where(SourceDocument.document_id.in_(document_ids)))


def record_run(session: Session, source_id: int, report: Mapping[str, Any], error: str) -> None:
    """Note how a run ended, and when the next one is due. Nothing if the source is gone."""
    row = session.get(CollectionSource, source_id)
    if row is None:
        return
    row.last_run, row.error = now(), error
    if report or not error:
        row.report = dict(report)
    wanted = row.every and not row.paused
    row.next_run = row.last_run + dt.timedelta(seconds=row.every) if wanted else None


def claim_due(session: Session) -> Sequence[int]:
    """The ids of the sources that are due; no other process gets them before their next time."""
    at, claimed = now(), []
    due = CollectionSource.next_run <= at
    query = select(CollectionSource.id, CollectionSource.next_run, CollectionSource.every)
    for source_id, next_run, every in session.execute(
        query.where(due, CollectionSource.paused.is_(False)).order_by(CollectionSource.next_run)
    ).all():
        changed = session.execute(
            update(CollectionSource)
            .where(CollectionSource.id == source_id, CollectionSource.next_run == next_run)
            .values(next_run=at + dt.timedelta(seconds=every))
        )
        if changed.rowcount:  # type: ignore[attr-defined]  # a cursor's result
            claimed.append(source_id)
    return claimed
