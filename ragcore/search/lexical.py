"""Lexical candidates: BM25 in the catalog, and how much of a query a text covers."""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import numpy as np
from sqlalchemy import text

from ragcore.catalog import (
    Catalog,
    QueryWords,
    document_frequencies,
    row_count,
    search_lexical,
)
from ragcore.search.calibration import BM25_CEILING
from ragcore.search.words import stem

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from ragcore.types import FloatArray, IdArray

Table = Literal["passages", "images"]

# Words that stand in very many rows cost time and rank little: in a large collection the rarest
# words are taken until their rows add up to this, and two of them in any case.
_POSTINGS = 20_000
_ROWS_FRESH = 2_000  # rows counted again when the newest id has grown by this many


@dataclass(frozen=True, slots=True)
class LexicalHits:
    """Ids with BM25 scores, best first; `ceiling` is the most that a text could score."""

    ids: IdArray
    scores: FloatArray
    ceiling: float

    def coverage(self, ids: IdArray) -> FloatArray:
        """Share of the ceiling, in [0, 1], for each id; 0 for those that were not found."""
        if not len(self.ids) or self.ceiling <= 0:
            return np.zeros(len(ids), np.float32)
        order = np.argsort(self.ids)
        at = np.minimum(np.searchsorted(self.ids[order], ids), len(order) - 1)
        found = self.ids[order][at] == ids
        share = np.minimum(self.scores[order][at] / self.ceiling, 1)
        return np.where(found, share, 0).astype(np.float32)

    def score_of(self) -> dict[int, float]:
        return dict(zip(self.ids.tolist(), self.scores.tolist(), strict=True))


NO_HITS = LexicalHits(np.empty(0, np.int64), np.empty(0, np.float32), 0.0)


@dataclass(slots=True)
class LexicalSearch:
    """BM25 search of passages or images. Safe to share between threads."""

    catalog: Catalog
    _rows: dict[str, tuple[int, int]] = field(default_factory=dict)  # table: (newest id, count)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def search(
        self,
        table: Table,
        words: QueryWords,
        *,
        collection_id: int,
        limit: int,
        allowed: IdArray | None = None,
    ) -> LexicalHits:
        """The best `limit` rows that hold any of the words."""
        if not words.words or (allowed is not None and not len(allowed)):
            return NO_HITS
        with self.catalog.search() as session:
            stems = {word: stem(word) for word in words.words}
            frequencies = document_frequencies(session, table, list(stems.values()))
            newest, collections = _overview(session, table)
            total = self._count(session, table, newest)
            idf = {word: _idf(total, frequencies[root]) for word, root in stems.items()}
            informative = QueryWords(_informative(words.words, idf), words.phrases)
            found = search_lexical(
                session,
                table,
                informative,
                limit=limit,
                collection_id=collection_id if collections > 1 else None,
                allowed=None if allowed is None else allowed.tolist(),
            )
        ceiling = BM25_CEILING * sum(value for value, _ in idf.values())
        return LexicalHits(
            np.array([item for item, _ in found], dtype=np.int64),
            np.array([score for _, score in found], dtype=np.float32),
            ceiling,
        )

    def _count(self, session: Session, table: Table, newest: int) -> int:
        """Rows of the index; counted now and then, since counting reads them all."""
        with self._lock:
            known = self._rows.get(table)
        if known is None or abs(newest - known[0]) > min(_ROWS_FRESH, 0.02 * known[1]):
            known = (newest, row_count(session, table))
            with self._lock:
                self._rows[table] = known
        return known[1]


def _overview(session: Session, table: Table) -> tuple[int, int]:
    """(newest id, number of collections): with only one, hits need no distinction."""
    query = text(f"SELECT (SELECT max(id) FROM {table}), (SELECT count(*) FROM collections)")
    newest, collections = session.execute(query).one()
    return int(newest or 0), int(collections)


def _idf(total: int, rows: int) -> tuple[float, int]:
    """(idf by FTS5's formula, rows that hold the word)."""
    value = math.log((max(total, rows) - rows + 0.5) / (rows + 0.5))
    return max(value, 1e-6), rows


def _informative(words: tuple[str, ...], idf: dict[str, tuple[float, int]]) -> tuple[str, ...]:
    """The words to look up: rarest first, as long as not too many rows are to be scored."""
    informative, rows = set(), 0
    for n, word in enumerate(sorted(words, key=lambda w: idf[w][1])):
        rows += idf[word][1]
        if n >= 2 and rows > _POSTINGS:
            break
        informative.add(word)
    return tuple(word for word in words if word in informative)
