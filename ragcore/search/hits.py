"""From ids to what a person is shown: rows joined with their documents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from sqlalchemy import Connection, Select, bindparam, select
from sqlalchemy.orm import Session

from ragcore.catalog import Document, Image, Passage, shown_path
from ragcore.search.words import matched_words
from ragcore.text import second_of
from ragcore.types import Hit, Why

Reader = Session | Connection


@dataclass(frozen=True, slots=True)
class ScoredItem:
    """One result before its row was read: relevance in [0, 1] and the scores behind it."""

    id: int
    score: float
    dense: float | None = None
    lexical: float | None = None
    rerank: float | None = None


_DOCUMENT = (
    Document.id,
    Document.title,
    Document.name,
    Document.path,
    Document.media_type,
    Document.paged,
)
_PASSAGE = (
    Passage.id,
    Passage.text,
    Passage.heading,
    Passage.page,
    Passage.page_end,
    Passage.start,
    Passage.end,
)
# Whose paragraphs begin with the time when they are said.
_SPOKEN = ("audio/", "video/", "text/vtt", "application/x-subrip")
_IMAGE = (Image.id, Image.caption, Image.caption_by, Image.text, Image.page, Image.second)
_IN = 10_000  # values per IN list


def passage_hits(
    connection: Reader, found: Sequence[ScoredItem], *, collection: str, words: tuple[str, ...] = ()
) -> list[Hit]:
    """Hits in the order given; passages that have gone meanwhile are left out."""
    rows = _rows(connection, Passage, _PASSAGE, [one.id for one in found])
    hits = []
    for one in found:
        row = rows.get(one.id)
        if row is None:
            continue
        hits.append(
            Hit(
                id=one.id,
                kind="passage",
                text=row.text,
                page=row.page if row.paged else None,
                page_end=row.page_end if row.paged else None,
                span=(row.start, row.end),
                heading=row.heading,
                second=second_of(row.text) if row.media_type.startswith(_SPOKEN) else None,
                **_common(one, row, collection, f"{row.heading}\n{row.text}", words),
            )
        )
    return hits


def image_hits(
    connection: Reader, found: Sequence[ScoredItem], *, collection: str, words: tuple[str, ...] = ()
) -> list[Hit]:
    """As `passage_hits`, for images."""
    rows = _rows(connection, Image, _IMAGE, [one.id for one in found])
    hits = []
    for one in found:
        row = rows.get(one.id)
        if row is None:
            continue
        said = f"{row.caption}\n{row.text}\n{row.name if row.page is None else ''}"
        hits.append(
            Hit(
                id=one.id,
                kind="image",
                text=row.caption or row.text,
                caption_by=row.caption_by if row.caption else "",
                page=row.page,
                page_end=row.page,
                second=row.second,
                **_common(one, row, collection, said, words),
            )
        )
    return hits


def passage_texts(connection: Reader, ids: Sequence[int]) -> Mapping[int, str]:
    """Heading and text of each passage, for a reranker."""
    rows = _rows(connection, Passage, _PASSAGE, ids)
    return {
        item: f"{row.heading}\n{row.text}" if row.heading else row.text
        for item, row in rows.items()
    }


def _common(
    one: ScoredItem, row: Any, collection: str, said: str, words: tuple[str, ...]
) -> dict[str, Any]:
    why = Why(dense=one.dense, lexical=one.lexical, rerank=one.rerank)
    if words:
        why = replace(why, matched=matched_words(said, words))
    return {
        "score": one.score,
        "document_id": row.document_id,
        "document": row.title or row.name,
        "path": shown_path(row.path),
        "media_type": row.media_type,
        "collection": collection,
        "why": why,
    }


def _rows(
    connection: Reader,
    table: type[Passage] | type[Image],
    columns: tuple[Any, ...],
    ids: Sequence[int],
) -> dict[int, Any]:
    result: dict[int, Any] = {}
    query = _statement(table, columns)
    for at in range(0, len(ids), _IN):
        rows = connection.execute(query, {"ids": list(ids[at : at + _IN])})
        result.update((row[0], row) for row in rows)
    return result


@lru_cache(maxsize=4)
def _statement(table: type[Passage] | type[Image], columns: tuple[Any, ...]) -> Select[Any]:
    """Built once: putting it together takes longer than running it."""
    return (
        select(*columns, Document.id.label("document_id"), *_DOCUMENT[1:])
        .join(Document, Document.id == table.document_id)
        .where(table.id.in_(bindparam("ids", expanding=True)))
    )
