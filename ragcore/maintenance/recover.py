"""What can be read of a damaged catalog, into a new home.

SQLite's pages are damaged one by one: a table is read by its keys in ranges that are halved
around what cannot be read. Documents of which something is lost are read again from their files
by the next ingest.
"""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Table, func, insert, literal, select, update
from sqlalchemy.exc import SQLAlchemyError

from ragcore.catalog import (
    Base,
    Catalog,
    Change,
    Document,
    DocumentPage,
    Embedding,
    Image,
    Passage,
    catch_up,
    integrity,
    read_only_uri,
)
from ragcore.errors import RagcoreError, UsageError
from ragcore.files import private_folder
from ragcore.maintenance.backup import kept_files
from ragcore.settings import Settings
from ragcore.types import Progress, ProgressCallback

_ROWS = 500  # read at once, as long as nothing is damaged
_MOST_ROWS = 1 << 22  # looked for in a table whose end is damaged
# The change log is rebuilt.
_TABLES = [one for one in Base.metadata.sorted_tables if one.name != Change.__tablename__]
_COUNTED = (
    (DocumentPage, Document.page_count),
    (Passage, Document.passage_count),
    (Image, Document.image_count),
)


@dataclass(slots=True)
class Recovered:
    """Rows by table: those that were read, and about how many were not.

    `documents` has the paths of those that lost something.
    """

    rows: dict[str, int] = field(default_factory=dict)
    lost: dict[str, int] = field(default_factory=dict)
    documents: list[str] = field(default_factory=list)
    files: int = 0

    @property
    def whole(self) -> bool:
        return not self.documents and not any(self.lost.values())


def readable(catalog: Path) -> Recovered:
    """What could be recovered of a catalog, without writing anything.

    Raises RagcoreError where not even its list of tables can be read.
    """
    found = Recovered()
    with closing(_open(catalog)) as source:
        for table in _TABLES:
            reader = _Reader(source, table)
            found.rows[table.name] = sum(len(rows) for rows in reader)
            found.lost[table.name] = reader.lost
    return found


def recover(
    settings: Settings, target: Path, *, progress: ProgressCallback | None = None
) -> Recovered:
    """Write what can be read of the library in `settings.home` into the new folder `target`.

    The old home is not changed. Raises UsageError for a catalog in a database server, where
    there is no library, or a `target` that is not empty; RagcoreError where nothing can be read.
    """
    if settings.database_url:
        raise UsageError("a catalog in a database server is recovered by that server's own tools")
    catalog = settings.home / "catalogue.db"
    if not catalog.is_file():
        raise UsageError(f"there is no library in {settings.home}")
    target = target.expanduser().absolute()
    if target.is_relative_to(settings.home):
        raise UsageError(f"{target} is inside the damaged home: give a folder elsewhere")
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise UsageError(f"{target} is not empty: give a new folder")
    private_folder(target)
    found = Recovered()
    copy = Catalog(f"sqlite:///{target / 'catalogue.db'}")
    try:
        with closing(_open(catalog)) as source, copy.write() as session:
            connection = session.connection()
            for number, table in enumerate(_TABLES):
                if progress is not None:
                    progress(Progress("recover", number, len(_TABLES), current=table.name))
                _copy(source, connection, table, found)
            _log_embeddings(connection)
            _mark_losses(connection, found)
            catch_up(connection)
        integrity.repair_rows(copy)  # vectors whose passage or image is lost
    finally:
        copy.close()
    found.files = _copy_files(settings, target)
    if progress is not None:
        progress(Progress("done", found.files, found.files))
    return found


def _open(catalog: Path) -> sqlite3.Connection:
    source = sqlite3.connect(read_only_uri(catalog).replace("&immutable=1", ""), uri=True)
    try:
        source.execute("PRAGMA cell_size_check=ON")
        source.execute("SELECT name FROM sqlite_master").fetchall()
    except sqlite3.Error as error:
        source.close()
        raise RagcoreError(
            f"nothing of {catalog} can be read ({error}): restore a backup"
        ) from error
    return source


class _Reader:
    """Iterates over the rows of a table that can be read, in parts; counts those that cannot."""

    def __init__(self, source: sqlite3.Connection, table: Table) -> None:
        self._source, self._table = source, table
        self.lost = 0
        with suppress(sqlite3.Error):
            rows = source.execute(f"PRAGMA table_info({table.name})").fetchall()
            present = {row[1] for row in rows}
            self.columns = [name for name in table.c.keys() if name in present]  # noqa: SIM118

    def __iter__(self) -> Iterator[list[tuple[Any, ...]]]:
        if self._table.name != Embedding.__tablename__:
            yield from self._between("rowid", "", self._last_row("rowid", self._table.name))
            return
        # Kept in the order of its key, without row numbers.
        for (space,) in self._source.execute("SELECT id FROM spaces").fetchall():
            last = max(self._last_row("id", name) for name in ("passages", "images"))
            yield from self._between("item_id", f"space_id = {int(space)} AND ", last)

    def _last_row(self, key: str, table: str) -> int:
        queries = (
            f"SELECT max({key}) FROM {table}",
            f"SELECT max(seq) FROM sqlite_sequence WHERE name = '{table}'",
        )
        for query in queries:
            with suppress(sqlite3.Error):
                return int(self._source.execute(query).fetchone()[0] or 0)
        return _MOST_ROWS

    def _between(self, key: str, where: str, last: int) -> Iterator[list[tuple[Any, ...]]]:
        """Rows up to this key; a range that cannot be read is halved until it is one row."""
        names = ", ".join(f'"{name}"' for name in self.columns)
        table = f"{self._table.name} NOT INDEXED" if key == "rowid" else self._table.name
        query = (
            f"SELECT {key}, {names} FROM {table} "
            f"WHERE {where}{key} BETWEEN ? AND ? ORDER BY {key} LIMIT {_ROWS}"
        )
        stack = [(1, last)] if last else []
        while stack:
            low, high = stack.pop()
            try:
                rows = self._source.execute(query, (low, high)).fetchall()
            except sqlite3.Error:
                if low == high:
                    self.lost += 1
                else:
                    middle = (low + high) // 2
                    stack += [(middle + 1, high), (low, middle)]
                continue
            if len(rows) == _ROWS and rows[-1][0] < high:
                stack.append((rows[-1][0] + 1, high))
            sound = [row[1:] for row in rows if not _has_gap(row)]
            self.lost += len(rows) - len(sound)
            if sound:
                yield sound


def _has_gap(row: Sequence[Any]) -> bool:
    """Whether a text has zeros in it: a page that holds the rest of it is lost."""
    return any(isinstance(value, str) and "\0" in value for value in row)


def _copy(source: sqlite3.Connection, target: Connection, table: Table, found: Recovered) -> None:
    """Copy a table's rows as they stand; rows that the new catalog refuses count as lost."""
    reader = _Reader(source, table)
    names = ", ".join(f'"{name}"' for name in reader.columns)
    marks = ", ".join("?" * len(reader.columns))
    statement = f"INSERT INTO {table.name} ({names}) VALUES ({marks})"
    recovered = refused = 0
    for rows in reader:
        try:
            with target.begin_nested():
                target.exec_driver_sql(statement, rows)
            recovered += len(rows)
            continue
        except SQLAlchemyError:  # one of them: without its parent, or of no sense
            pass
        for row in rows:
            try:
                with target.begin_nested():
                    target.exec_driver_sql(statement, row)
                recovered += 1
            except SQLAlchemyError:
                refused += 1
    found.rows[table.name], found.lost[table.name] = recovered, reader.lost + refused


def _log_embeddings(target: Connection) -> None:
    """Vector indexes are made again from the log of changes: every embedding is a new one."""
    names = ("collection_id", "space_id", "item_id")
    rows = select(*(getattr(Embedding, name) for name in names), literal(False))
    target.execute(insert(Change).from_select([*names, "removed"], rows))


def _mark_losses(target: Connection, found: Recovered) -> None:
    """Documents whose parts are not all there are read again by the next ingest."""
    damaged: dict[int, str] = {}
    for table, column in _COUNTED:
        counted = (
            select(func.count())
            .select_from(table)
            .where(table.document_id == Document.id)
            .scalar_subquery()
        )
        damaged |= dict(
            target.execute(select(Document.id, Document.path).where(column != counted)).all()
        )
        target.execute(update(Document).values({column: counted}))
    for number in damaged:
        target.execute(update(Document).where(Document.id == number).values(mtime_ns=-1, sha256=""))
    found.documents = sorted(damaged.values())


def _copy_files(settings: Settings, target: Path) -> int:
    """Uploads, images, settings and keys; what cannot be read is left out."""
    count = 0
    for name, path in kept_files(settings, target):
        goal = target / name
        with suppress(OSError):
            private_folder(goal.parent)
            shutil.copyfile(path, goal)
            goal.chmod(0o600)
            count += 1
    return count
