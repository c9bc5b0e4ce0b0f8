"""A whole catalog from one database to another, SQLite or PostgreSQL, without embedding again.

Rows keep their ids and the log of changes its numbers, so that vector indexes, files of images
and uploads beside the catalog stay right. The lexical index is made by the target's own
triggers.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, Table, func, insert, select

from ragcore.catalog.catalog import Catalog
from ragcore.catalog.models import Base, Passage
from ragcore.catalog.numbers import last_id, set_last_id
from ragcore.catalog.postgres import shown
from ragcore.errors import Cancelled, RagcoreError, UsageError
from ragcore.types import CancelToken, Progress, ProgressCallback

_ROWS = 1_000  # read and written at once


@dataclass(slots=True)
class Transferred:
    """What was copied: rows by table, and the checksum over the text of all passages."""

    rows: dict[str, int] = field(default_factory=dict)
    text_sha256: str = ""
    seconds: float = 0.0


def copy_catalog(
    source: Catalog,
    target: Catalog,
    *,
    progress: ProgressCallback | None = None,
    cancel: CancelToken | None = None,
) -> Transferred:
    """Copy everything that `source` holds into the empty `target`; all of it or nothing.

    Both are locked for writers meanwhile; `source` is not changed, and answers searches. Before
    it is committed, every row is read back from the target and compared with what was read from
    the source, by number and checksum. Raises UsageError where the target is not empty,
    RagcoreError where the copy differs, Cancelled.
    """
    if source.engine.url == target.engine.url:
        raise UsageError("that is the database that the catalog is in already")
    started = time.monotonic()
    done = Transferred()
    with source.write() as reading, target.write() as writing:
        old, new = reading.connection(), writing.connection()
        _check_empty(new)
        reporter = _ProgressReporter(_tables(old), progress, cancel)
        for table in Base.metadata.sorted_tables:
            read = _copy(old, new, table, reporter)
            stored = _Digest(table)
            for rows in _batches(new, table):
                stored.add(rows)
                reporter.check()
            if (read.rows, read.sum()) != (stored.rows, stored.sum()):
                raise RagcoreError(
                    f"the copy of {table.name} differs from the original ({read.rows} rows, "
                    f"{stored.rows} in the copy); nothing was changed"
                )
            set_last_id(new, table, last_id(old, table))
            done.rows[table.name] = read.rows
            if table.name == Passage.__tablename__:
                done.text_sha256 = read.texts.hexdigest()
    done.seconds = time.monotonic() - started
    reporter.end()
    return done


class _ProgressReporter:
    """Progress over all tables."""

    def __init__(
        self, total: int, progress: ProgressCallback | None, cancel: CancelToken | None
    ) -> None:
        self._total, self._done = total, 0
        self._progress, self._cancel = progress, cancel

    def count(self, rows: int, table: str) -> None:
        self._done += rows
        if self._progress is not None:
            self._progress(Progress("move", self._done, self._total, current=table))
        self.check()

    def check(self) -> None:
        if self._cancel is not None and self._cancel.cancelled:
            raise Cancelled("the move was cancelled; nothing was changed")

    def end(self) -> None:
        if self._progress is not None:
            self._progress(Progress("done", self._done, self._total))


class _Digest:
    """Number and checksum of a table's rows in the order of their keys, whatever the database."""

    def __init__(self, table: Table) -> None:
        self.rows = 0
        self.texts = hashlib.sha256()
        self._all = hashlib.sha256()
        self._text = table.c.keys().index("text") if "text" in table.c else None

    def add(self, rows: Sequence[Sequence[Any]]) -> None:
        for row in rows:
            values = [_plain(value) for value in row]
            self._all.update(repr(values).encode("utf-8", "surrogatepass"))
            if self._text is not None:
                self.texts.update(f"{values[self._text]}\f".encode("utf-8", "surrogatepass"))
        self.rows += len(rows)

    def sum(self) -> str:
        return self._all.hexdigest()


def _plain(value: Any) -> Any:
    """A column's value as it is in both databases."""
    if isinstance(value, dt.datetime):
        return value.astimezone(dt.UTC).isoformat()
    if isinstance(value, str):
        return value.replace("\0", "")  # PostgreSQL's text cannot hold it
    if isinstance(value, dict | list):
        return json.dumps(value, sort_keys=True)
    return bytes(value) if isinstance(value, memoryview) else value


def _copy(old: Connection, new: Connection, table: Table, reporter: _ProgressReporter) -> _Digest:
    digest = _Digest(table)
    # With RETURNING, many rows become one statement: the triggers run once for all of them.
    statement = insert(table).returning(*table.primary_key.columns)
    names = table.c.keys()
    for rows in _batches(old, table):
        new.execute(statement, [dict(zip(names, row, strict=True)) for row in rows]).all()
        digest.add(rows)
        reporter.count(len(rows), table.name)
    return digest


def _batches(connection: Connection, table: Table) -> Iterator[Sequence[Sequence[Any]]]:
    query = select(table).order_by(*table.primary_key.columns)
    options = {"yield_per": _ROWS}
    for rows in connection.execute(query, execution_options=options).partitions():
        yield [tuple(row) for row in rows]


def _tables(connection: Connection) -> int:
    """Rows of all tables."""
    counts = [select(func.count()).select_from(table) for table in Base.metadata.sorted_tables]
    return sum(connection.scalar(count) or 0 for count in counts)


def _check_empty(connection: Connection) -> None:
    for table in Base.metadata.sorted_tables:
        if connection.scalar(select(func.count()).select_from(table)):
            raise UsageError(
                f"{shown(connection.engine.url)} holds a library already: give an empty database"
            )
