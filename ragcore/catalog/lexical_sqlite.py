"""The lexical index in SQLite: FTS5, which scores by BM25 itself."""

from __future__ import annotations

import json
from collections.abc import Sequence

from sqlalchemy import text
from sqlalchemy.exc import DatabaseError
from sqlalchemy.orm import Session

_SEARCHED = {"passages": "text heading title", "images": "text caption name"}
_WEIGHTS = "1.0, 1.0, 1.0, 0.0"  # of these columns, and of the collection's scope


def search(
    session: Session,
    table: str,
    terms: Sequence[tuple[str, bool]],
    limit: int,
    collection_id: int | None,
    allowed: Sequence[int] | None,
) -> list[tuple[int, float]]:
    """See `lexical.search_lexical`."""
    found = f"{{{_SEARCHED[table]}}} : ({expression(terms)})"
    scoped = found if collection_id is None else f"scope:c{collection_id} AND {found}"
    values: dict[str, object] = {"match": scoped, "limit": limit}
    chosen = ""
    if allowed is not None:
        # The plus keeps SQLite from running the whole match once for every id.
        chosen = "AND +rowid IN (SELECT value FROM json_each(:allowed)) "
        values["allowed"] = json.dumps([int(i) for i in allowed])
    query = text(
        f"SELECT rowid, -bm25({table}_fts, {_WEIGHTS}) AS score FROM {table}_fts "
        f"WHERE {table}_fts MATCH :match {chosen}ORDER BY score DESC LIMIT :limit"
    )
    return [(int(row[0]), float(row[1])) for row in session.execute(query, values)]


def expression(terms: Sequence[tuple[str, bool]]) -> str:
    """FTS5's expression for any of the terms: each quoted, so that none is read as syntax."""
    return " OR ".join(
        '"' + words.replace("\0", " ").replace('"', '""') + ('"*' if begins else '"')
        for words, begins in terms
    )


def row_count(session: Session, table: str) -> int:
    """See `lexical.row_count`."""
    return int(session.execute(text(f"SELECT count(*) FROM {table}_fts_docsize")).scalar_one())


def frequencies(session: Session, table: str, stems: Sequence[str]) -> dict[str, int]:
    """See `lexical.frequencies`."""
    query = text(
        f"SELECT term, doc FROM temp.{table}_words "
        "WHERE term IN (SELECT value FROM json_each(:stems))"
    )
    rows = session.execute(query, {"stems": json.dumps(list(stems))})
    return {str(row[0]): int(row[1]) for row in rows}


def check(session: Session, table: str) -> list[str]:
    """See `lexical.check_lexical`."""
    try:
        session.execute(
            text(f"INSERT INTO {table}_fts({table}_fts, rank) VALUES('integrity-check', 1)")
        )
    except DatabaseError as error:  # a mismatch is "database disk image is malformed"
        return [error.__class__.__name__]
    return []


def rebuild(session: Session, table: str) -> None:
    """See `lexical.rebuild_lexical`."""
    session.execute(text(f"INSERT INTO {table}_fts({table}_fts) VALUES('rebuild')"))
