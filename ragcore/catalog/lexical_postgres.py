"""The lexical index in PostgreSQL: a tsvector with a GIN index, and BM25 on top of it.

PostgreSQL's own ranks know nothing of how rare a word is. So the GIN index finds the rows that
hold any of the words and how many hold each; BM25 is computed from that. The number of times that
a word stands in a row is `ts_rank_cd` of that word alone with all weights 1: every occurrence is
a cover of length one, and counts 1.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import text
from sqlalchemy.orm import Session

_K1, _B = 1.2, 0.75
_LONGEST = 2046  # bytes of a lexeme


class _Term(NamedTuple):
    query: str  # as PostgreSQL writes a tsquery
    rows: int  # that hold it, over all collections


def search(
    session: Session,
    table: str,
    terms: Sequence[tuple[str, bool]],
    limit: int,
    collection_id: int | None,
    allowed: Sequence[int] | None,
) -> list[tuple[int, float]]:
    """See `lexical.search_lexical`."""
    known = [term for term in _counted(session, table, terms) if term.rows]
    if not known:
        return []
    total, length = session.execute(text(f"SELECT rows, length FROM {table}_fts_totals")).one()
    values: dict[str, object] = {
        "any": " | ".join(f"({term.query})" for term in known),
        "limit": limit,
        "average": max(length, 1) / max(total, 1),
    }
    parts = []
    for n, term in enumerate(known):
        values |= {f"term{n}": term.query, f"idf{n}": _idf(total, term.rows)}
        count = f"ts_rank_cd('{{1, 1, 1, 1}}', words, CAST(:term{n} AS tsquery))"
        parts.append(f":idf{n} * {count} * {_K1 + 1} / ({count} + norm)")
    chosen = ""
    if collection_id is not None:
        chosen += " AND collection_id = :collection"
        values["collection"] = collection_id
    if allowed is not None:
        chosen += " AND id = ANY(:allowed)"
        values["allowed"] = [int(i) for i in allowed]
    query = text(
        f"SELECT id, {' + '.join(parts)} AS score FROM (SELECT id, words, "
        f"{_K1} * ({1 - _B} + {_B} * length / CAST(:average AS float8)) AS norm FROM {table}_fts "
        f"WHERE words @@ CAST(:any AS tsquery){chosen}) AS found "
        "ORDER BY score DESC, id LIMIT :limit"
    )
    return [(int(row[0]), float(row[1])) for row in session.execute(query, values)]


def _counted(session: Session, table: str, terms: Sequence[tuple[str, bool]]) -> list[_Term]:
    query = text(
        f"SELECT CAST(query AS text), (SELECT count(*) FROM {table}_fts WHERE words @@ query) "
        "FROM (SELECT ragcore_query(term, begins) AS query FROM "
        "unnest(CAST(:terms AS text[]), CAST(:begins AS boolean[])) AS given(term, begins)) AS cut "
        "WHERE numnode(query) > 0"
    )
    values = {"terms": [term for term, _ in terms], "begins": [begins for _, begins in terms]}
    return [_Term(str(row[0]), int(row[1])) for row in session.execute(query, values)]


def _idf(total: int, rows: int) -> float:
    """As FTS5's: never 0, so that a word that stands in most rows still counts for something."""
    return max(math.log((max(total, rows) - rows + 0.5) / (rows + 0.5)), 1e-6)


def row_count(session: Session, table: str) -> int:
    """See `lexical.row_count`."""
    return int(session.execute(text(f"SELECT rows FROM {table}_fts_totals")).scalar_one())


def frequencies(session: Session, table: str, stems: Sequence[str]) -> dict[str, int]:
    """See `lexical.frequencies`."""
    # Its stemmer shortens words of two letters as well: they are looked up as words.
    lexeme = (
        "CASE WHEN length(stem) < 3 THEN ragcore_query(stem, false) "
        "ELSE CAST(quote_literal(stem) AS tsquery) END"
    )
    query = text(
        f"SELECT stem, (SELECT count(*) FROM {table}_fts WHERE words @@ {lexeme}) "
        "FROM unnest(CAST(:stems AS text[])) AS given(stem)"
    )
    # Longer words are in no index: PostgreSQL takes none of more than 2,046 bytes.
    known = [stem for stem in stems if stem and len(stem.encode()) <= _LONGEST]
    rows = session.execute(query, {"stems": known})
    return {str(row[0]): int(row[1]) for row in rows}


def check(session: Session, table: str) -> list[str]:
    """See `lexical.check_lexical`."""
    wrong = session.execute(
        text(
            f"SELECT count(*) FROM {table}_fts_source AS source FULL JOIN {table}_fts AS kept "
            "USING (id) WHERE source.words IS DISTINCT FROM kept.words "
            "OR source.length IS DISTINCT FROM kept.length "
            "OR source.collection_id IS DISTINCT FROM kept.collection_id"
        )
    ).scalar_one()
    sums = session.execute(
        text(
            f"SELECT rows = (SELECT count(*) FROM {table}_fts) AND length = "
            f"(SELECT coalesce(sum(length), 0) FROM {table}_fts) FROM {table}_fts_totals"
        )
    ).scalar()
    problems = [f"{wrong} rows differ"] if wrong else []
    return problems + ([] if sums else ["its sums are wrong"])


def rebuild(session: Session, table: str) -> None:
    """See `lexical.rebuild_lexical`."""
    sums = f"SELECT count(*), coalesce(sum(length), 0) FROM {table}_fts"
    for statement in (
        f"DELETE FROM {table}_fts",
        f"INSERT INTO {table}_fts SELECT * FROM {table}_fts_source",
        f"DELETE FROM {table}_fts_totals",
        f"INSERT INTO {table}_fts_totals {sums}",
    ):
        session.execute(text(statement))
