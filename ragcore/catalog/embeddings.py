"""The float16 embeddings in the catalog, and the log from which indexes catch up."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
from sqlalchemy import delete, func, insert, select
from sqlalchemy.orm import Session

from ragcore.catalog.models import Change, Embedding

if TYPE_CHECKING:
    from ragcore.types import FloatArray, IdArray

_BATCH = 20_000
_IN = 10_000  # values per IN list: SQLite allows 32,766 variables in a statement


def add_embeddings(
    session: Session, collection_id: int, space_id: int, ids: Sequence[int], vectors: FloatArray
) -> None:
    """Store unit vectors [n, d] of new items, and log them."""
    if len(ids) != len(vectors):
        raise ValueError(f"{len(ids)} ids for {len(vectors)} vectors")
    if not len(ids):
        return
    halves = np.ascontiguousarray(vectors, dtype=np.float16)
    common = {"collection_id": collection_id, "space_id": space_id}
    session.execute(
        insert(Embedding),
        [
            {**common, "item_id": int(item), "vector": half.tobytes()}
            for item, half in zip(ids, halves, strict=True)
        ],
    )
    session.execute(
        insert(Change), [{**common, "item_id": int(item), "removed": False} for item in ids]
    )


def remove_embeddings(
    session: Session, collection_id: int, modality_ids: Sequence[int], space_ids: Sequence[int]
) -> None:
    """Delete items' vectors from these spaces, and log it."""
    for at in range(0, len(modality_ids), _IN):
        part = modality_ids[at : at + _IN]
        for space_id in space_ids:
            here = (Embedding.space_id == space_id, Embedding.item_id.in_(part))
            present = session.scalars(select(Embedding.item_id).where(*here)).all()
            if not present:
                continue
            session.execute(delete(Embedding).where(*here))
            row = {"collection_id": collection_id, "space_id": space_id, "removed": True}
            session.execute(insert(Change), [{**row, "item_id": item} for item in present])


def last_change(session: Session, collection_id: int, space_id: int) -> int:
    """Number of the newest change, 0 if there is none."""
    here = (Change.collection_id == collection_id, Change.space_id == space_id)
    return session.scalar(select(func.max(Change.seq)).where(*here)) or 0


def changes_since(
    session: Session, collection_id: int, space_id: int, seq: int
) -> tuple[int, IdArray, IdArray]:
    """(newest seq, ids to add, ids to remove) after `seq`, each id at its last state."""
    rows = session.execute(
        select(Change.seq, Change.item_id, Change.removed)
        .where(Change.collection_id == collection_id, Change.space_id == space_id, Change.seq > seq)
        .order_by(Change.seq)
    ).all()
    state = {item: removed for _, item, removed in rows}
    added = np.array([i for i, removed in state.items() if not removed], dtype=np.int64)
    gone = np.array([i for i, removed in state.items() if removed], dtype=np.int64)
    return (rows[-1][0] if rows else seq), added, gone


def count_embeddings(session: Session, collection_id: int, space_id: int) -> int:
    """How many vectors a collection has in a space."""
    here = (Embedding.collection_id == collection_id, Embedding.space_id == space_id)
    return session.scalar(select(func.count()).select_from(Embedding).where(*here)) or 0


def embedding_ids(session: Session, collection_id: int, space_id: int) -> IdArray:
    """All ids that have a vector, ascending."""
    query = (
        select(Embedding.item_id)
        .where(Embedding.collection_id == collection_id, Embedding.space_id == space_id)
        .order_by(Embedding.item_id)
    )
    return np.fromiter(session.scalars(query), dtype=np.int64)


def load_embeddings(
    session: Session, space_id: int, ids: IdArray
) -> Iterator[tuple[IdArray, FloatArray]]:
    """Yield (ids [n], float32 vectors [n, d]) in batches; ids without a vector are left out."""
    for at in range(0, len(ids), _IN):
        part = [int(i) for i in ids[at : at + _IN]]
        rows = session.execute(
            select(Embedding.item_id, Embedding.vector).where(
                Embedding.space_id == space_id, Embedding.item_id.in_(part)
            )
        ).all()
        if rows:
            yield _unpack(rows)


def iter_embeddings(
    session: Session, collection_id: int, space_id: int
) -> Iterator[tuple[IdArray, FloatArray]]:
    """Yield all of a collection's vectors in a space, by ascending id, in batches."""
    after = -1
    while True:
        rows = session.execute(
            select(Embedding.item_id, Embedding.vector)
            .where(
                Embedding.collection_id == collection_id,
                Embedding.space_id == space_id,
                Embedding.item_id > after,
            )
            .order_by(Embedding.item_id)
            .limit(_BATCH)
        ).all()
        if not rows:
            return
        yield _unpack(rows)
        after = rows[-1][0]


def _unpack(rows: Sequence[tuple[int, bytes]]) -> tuple[IdArray, FloatArray]:
    ids = np.array([item for item, _ in rows], dtype=np.int64)
    joined = b"".join(vector for _, vector in rows)
    halves = np.frombuffer(joined, dtype=np.float16).reshape(len(rows), -1)
    return ids, halves.astype(np.float32)
