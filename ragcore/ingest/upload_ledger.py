"""Who uploaded how much: kept beside the uploads, for the quotas of keys and collections."""

from __future__ import annotations

import sqlite3
import time
import uuid
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from ragcore.catalog import sqlite_problem
from ragcore.errors import StorageFull, TooLarge
from ragcore.files import private_file, private_folder, storing

_BUSY_SECONDS = 30.0
_RESERVED_SECONDS = 3600.0  # a reservation of a process that died is forgotten then
_TABLE = """
CREATE TABLE IF NOT EXISTS uploads (
    path TEXT PRIMARY KEY,
    collection TEXT NOT NULL,
    owner TEXT NOT NULL,
    size INTEGER NOT NULL,
    reserved_at REAL
)
"""


class Reservation:
    """Room that is held for one request until its files are entered."""

    def __init__(self, ledger: UploadLedger, name: str, collection: str, owner: str) -> None:
        self._ledger, self.name = ledger, name
        self._collection, self._owner = collection, owner

    def enter(self, files: Iterable[tuple[Path, int]]) -> None:
        """Put files, given as (path, size), in the reservation's place."""
        root = self._ledger.root
        rows = [
            (str(path.relative_to(root)), self._collection, self._owner, size, None)
            for path, size in files
        ]
        with self._ledger.changing() as database:
            database.executemany("INSERT OR REPLACE INTO uploads VALUES (?, ?, ?, ?, ?)", rows)


class UploadLedger:
    """One small database in the folder of the uploads, shared by all processes of a home."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @contextmanager
    def changing(self) -> Iterator[sqlite3.Connection]:
        """A transaction that nobody else is in."""
        path = self.root / ".ledger.db"
        try:
            with storing("the upload was not stored"):
                private_folder(self.root)
                private_file(path)
            with closing(
                sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None)
            ) as found:
                found.execute("BEGIN IMMEDIATE")
                try:
                    found.execute(_TABLE)
                    yield found
                    found.execute("COMMIT")
                except BaseException:
                    if found.in_transaction:
                        found.execute("ROLLBACK")
                    raise
        except sqlite3.Error as error:
            raise sqlite_problem(error.sqlite_errorcode, path) or error from error

    @contextmanager
    def reserve(
        self, collection: str, owner: str, size: int, of_collection: int, of_owner: int
    ) -> Iterator[Reservation]:
        """Hold room for `size` bytes while a request is stored; 0: no quota.

        Raises TooLarge where a quota is smaller than the request, StorageFull where it is used
        up. Files that are gone do not count.
        """
        name = f"reserved {uuid.uuid4().hex}"
        with self.changing() as database:
            self._forget_gone(database)
            for column, value, quota, setting in (
                ("collection", collection, of_collection, "upload_quota_mb"),
                ("owner", owner, of_owner, "upload_quota_key_mb"),
            ):
                if quota:
                    self._check(database, column, value, size, quota, setting)
            database.execute(
                "INSERT INTO uploads VALUES (?, ?, ?, ?, ?)",
                (name, collection, owner, size, time.time()),
            )
        try:
            yield Reservation(self, name, collection, owner)
        finally:
            with self.changing() as database:
                database.execute("DELETE FROM uploads WHERE path = ?", (name,))

    def _check(
        self,
        database: sqlite3.Connection,
        column: str,
        value: str,
        size: int,
        quota: int,
        setting: str,
    ) -> None:
        whose = "the collection" if column == "collection" else "one key"
        limit = f"uploads of {whose} may take {quota >> 20} MiB (setting {setting})"
        if size > quota:
            raise TooLarge(f"{limit}; these are {size / 2**20:.1f} MiB")
        query = f"SELECT coalesce(sum(size), 0) FROM uploads WHERE {column} = ?"  # one of two names
        used = database.execute(query, (value,)).fetchone()[0]
        if used + size > quota:
            raise StorageFull(f"{limit}; {used / 2**20:.1f} MiB are used: remove documents first")

    def _forget_gone(self, database: sqlite3.Connection) -> None:
        rows = database.execute("SELECT path, reserved_at FROM uploads").fetchall()
        now = time.time()
        gone = [
            (path,)
            for path, reserved_at in rows
            if (
                now - reserved_at > _RESERVED_SECONDS
                if reserved_at is not None
                else not (self.root / path).is_file()
            )
        ]
        database.executemany("DELETE FROM uploads WHERE path = ?", gone)
