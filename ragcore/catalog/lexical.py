"""Lexical search in the catalog's own database: words and phrases, ranked by BM25.

The index is kept by triggers, so that text and its lexical entry commit together. SQLite's is
FTS5 (`lexical_sqlite`), PostgreSQL's a tsvector with a GIN index (`lexical_postgres`); both cut,
fold and stem words alike, and score by the same formula.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from types import ModuleType

from sqlalchemy.exc import OperationalError, ProgrammingError
from sqlalchemy.orm import Session

from ragcore.catalog import lexical_postgres, lexical_sqlite
from ragcore.errors import RagcoreError

TABLES = ("passages", "images")

# Scripts written without spaces: a run of them is one word of the index.
_UNSPACED = re.compile(
    r"[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\u0e00-\u0e7f\u0e80-\u0eff\u1780-\u17ff]"
)


@dataclass(frozen=True, slots=True)
class QueryWords:
    """What to look for.

    Any of `words` (in order, without repeats) and of `phrases`, which are compounds like "read
    fwf". Nothing in them is read as syntax.
    """

    words: tuple[str, ...]
    phrases: tuple[str, ...] = ()

    @property
    def terms(self) -> list[tuple[str, bool]]:
        """(words that follow each other, whether the last one is only a word's beginning)."""
        return [
            *((word, is_unspaced(word)) for word in self.words),
            *((phrase, False) for phrase in self.phrases),
        ]


def is_unspaced(word: str) -> bool:
    """Whether a word is of a script without spaces, so that it stands inside longer ones."""
    return _UNSPACED.search(word) is not None


def search_lexical(
    session: Session,
    table: str,
    words: QueryWords,
    *,
    limit: int,
    collection_id: int | None = None,
    allowed: Sequence[int] | None = None,
) -> list[tuple[int, float]]:
    """(id, BM25 score) of the best `limit` rows of "passages" or "images", best first.

    BM25 with k1 = 1.2, b = 0.75; higher is better. All searched columns count alike.
    `collection_id` may be left out where there is only one collection, which is quicker.
    `allowed` limits it to these ids.
    """
    index = _index(session, table)
    if not words.terms or (allowed is not None and not len(allowed)):
        return []
    try:
        rows: list[tuple[int, float]] = index.search(
            session, table, words.terms, limit, collection_id, allowed
        )
    except (OperationalError, ProgrammingError) as error:
        raise RagcoreError(f"lexical search failed: {str(error.orig).splitlines()[0]}") from error
    return rows


def row_count(session: Session, table: str) -> int:
    """Rows of a lexical index, over all collections: the N of BM25's idf."""
    return int(_index(session, table).row_count(session, table))


def document_frequencies(session: Session, table: str, stems: Sequence[str]) -> dict[str, int]:
    """In how many rows each stem occurs; 0 for one that the index does not know."""
    found = _index(session, table).frequencies(session, table, sorted(set(stems)))
    return {stem: found.get(stem, 0) for stem in stems}


def check_lexical(session: Session) -> list[str]:
    """Problems of the lexical indexes against their tables, one line each."""
    return [
        f"lexical index of {table} does not match: {problem}"
        for table in TABLES
        for problem in _index(session, table).check(session, table)
    ]


def rebuild_lexical(session: Session) -> None:
    """Rebuild the lexical indexes from their tables."""
    for table in TABLES:
        _index(session, table).rebuild(session, table)


def _index(session: Session, table: str) -> ModuleType:
    if table not in TABLES:
        raise ValueError(f"no lexical index over {table!r}")
    return lexical_sqlite if session.get_bind().dialect.name == "sqlite" else lexical_postgres
