"""Lexical search in the catalogue's own database: SQLite FTS5 with BM25.

The index is kept by triggers, so that text and its lexical entry commit together.
`match` is FTS5's query language; `ragcore.search` builds it safely from a person's words.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from sqlalchemy import text
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from ragcore.errors import RagcoreError

TABLES = {"passages": "text heading title", "images": "text caption name"}  # searched columns

# Order of the columns in the migrations; the last one is the collection's scope, unscored.
PASSAGE_WEIGHTS = (1.0, 1.0, 1.0)  # text, heading, title
IMAGE_WEIGHTS = (1.0, 1.0, 1.0)  # text, caption, name


def search_lexical(
    session: Session,
    table: str,
    match: str,
    *,
    limit: int,
    collection_id: int | None = None,
    allowed: Sequence[int] | None = None,
    weights: Sequence[float] = PASSAGE_WEIGHTS,
) -> list[tuple[int, float]]:
    """(id, BM25 score) of the best `limit` rows of "passages" or "images", best first.

    BM25 with k1 = 1.2, b = 0.75 (fixed in FTS5); higher is better. `collection_id` may be left
    out where there is only one collection, which is quicker. `allowed` limits it to these ids.
    """
    if table not in TABLES:
        raise ValueError(f"no lexical index over {table!r}")
    if not match or (allowed is not None and not len(allowed)):
        return []
    columns = ", ".join(f"{weight:.6f}" for weight in (*weights, 0.0))
    found = f"{{{TABLES[table]}}} : ({match})"
    scoped = found if collection_id is None else f"scope:c{collection_id} AND {found}"
    values: dict[str, object] = {"match": scoped, "limit": limit}
    chosen = ""
    if allowed is not None:
        # The plus keeps SQLite from running the whole match once for every id.
        chosen = "AND +rowid IN (SELECT value FROM json_each(:allowed)) "
        values["allowed"] = json.dumps([int(i) for i in allowed])
    query = text(
        f"SELECT rowid, -bm25({table}_fts, {columns}) AS score FROM {table}_fts "
        f"WHERE {table}_fts MATCH :match {chosen}ORDER BY score DESC LIMIT :limit"
    )
    try:
        rows = session.execute(query, values).all()
    except OperationalError as error:
        raise RagcoreError(f"lexical search failed: {str(error.orig).splitlines()[0]}") from error
    return [(int(row[0]), float(row[1])) for row in rows]


def row_count(session: Session, table: str) -> int:
    """Rows of a lexical index, over all collections: the N of BM25's idf."""
    if table not in TABLES:
        raise ValueError(f"no lexical index over {table!r}")
    return int(session.execute(text(f"SELECT count(*) FROM {table}_fts_docsize")).scalar_one())


def document_frequencies(session: Session, table: str, stems: Sequence[str]) -> dict[str, int]:
    """In how many rows each stem occurs; 0 for one that the index does not know."""
    if table not in TABLES:
        raise ValueError(f"no lexical index over {table!r}")
    query = text(
        f"SELECT term, doc FROM temp.{table}_words "
        "WHERE term IN (SELECT value FROM json_each(:stems))"
    )
    rows = session.execute(query, {"stems": json.dumps(sorted(set(stems)))}).all()
    found = {str(row[0]): int(row[1]) for row in rows}
    return {stem: found.get(stem, 0) for stem in stems}


def check_lexical(session: Session) -> list[str]:
    """Problems of the lexical indexes against their tables, one line each."""
    problems = []
    for table in ("passages", "images"):
        try:
            session.execute(
                text(f"INSERT INTO {table}_fts({table}_fts, rank) VALUES('integrity-check', 1)")
            )
        except (
            Exception
        ) as error:  # SQLite reports a mismatch as "database disk image is malformed"
            problems.append(f"lexical index of {table} does not match: {error.__class__.__name__}")
    return problems


def rebuild_lexical(session: Session) -> None:
    """Make the lexical indexes anew from their tables."""
    for table in ("passages", "images"):
        session.execute(text(f"INSERT INTO {table}_fts({table}_fts) VALUES('rebuild')"))
