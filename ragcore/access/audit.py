"""The audit log: who did what over the HTTP API or the pages, and how it ended.

Never what was looked for.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import delete, insert, select

from ragcore.catalog import AuditEntry, Catalog
from ragcore.errors import DatabaseUnavailable, StorageUnavailable

log = logging.getLogger(__name__)

_EMPTY = {"key_id": None, "who": "", "collection": "", "request_id": "", "client": ""}
_WRITE_EVERY = 0.5  # seconds: a search does not wait for the disk
_MOST_WAITING = 100_000  # entries kept while the database is away


class Audit:
    """Entries are gathered and written by a thread; `close` writes the last ones."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._waiting: list[dict[str, object]] = []
        self._lock = threading.Lock()
        self._writing = threading.Lock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def note(self, **entry: object) -> None:
        """Take an entry (columns of `AuditEntry`); it is written within half a second."""
        with self._lock:
            self._waiting.append({**_EMPTY, **entry})
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="ragcore-audit", daemon=True)
                self._thread.start()

    def flush(self) -> None:
        """Write what waits now."""
        with self._writing:
            with self._lock:
                entries, self._waiting = self._waiting, []
            if entries:
                try:
                    with self._catalog.write() as session:
                        session.execute(insert(AuditEntry), entries)
                except (DatabaseUnavailable, StorageUnavailable):
                    with self._lock:  # they are written when the server is back, or has room
                        self._waiting = (entries + self._waiting)[-_MOST_WAITING:]
                    raise

    def recent(
        self, limit: int = 100, *, key_id: int | None = None, refused: bool = False
    ) -> Sequence[AuditEntry]:
        """Newest first; `refused` leaves only those that were not let in (401, 403, 404, 429)."""
        self.flush()
        query = select(AuditEntry).order_by(AuditEntry.id.desc()).limit(limit)
        if key_id is not None:
            query = query.where(AuditEntry.key_id == key_id)
        if refused:
            query = query.where(AuditEntry.status.in_((401, 403, 404, 429)))
        with self._catalog.read() as session:
            return session.scalars(query).all()

    def forget(self, before: datetime) -> int:
        """Delete entries older than this; return how many."""
        with self._catalog.write() as session:
            gone = session.execute(delete(AuditEntry).where(AuditEntry.at < before))
            return int(getattr(gone, "rowcount", 0))

    def close(self) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        try:
            self.flush()
        except (DatabaseUnavailable, StorageUnavailable) as error:
            log.error("%d entries of the audit log are lost: %s", len(self._waiting), error)

    def _run(self) -> None:
        reachable = True
        while not self._stop.wait(_WRITE_EVERY):
            try:
                self.flush()
                reachable = True
            except (DatabaseUnavailable, StorageUnavailable) as error:
                if reachable:
                    log.warning("the audit log waits: %s", error)
                reachable = False
