"""The audit log: who did what over the HTTP API, and how it ended. Never what was looked for."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import delete, insert, select

from ragcore.catalog.catalog import Catalog
from ragcore.catalog.models import AuditEntry

_WRITE_EVERY = 0.5  # seconds: a search does not wait for the disk


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
            self._waiting.append(entry)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="ragcore-audit", daemon=True)
                self._thread.start()

    def flush(self) -> None:
        """Write what waits now."""
        with self._writing:
            with self._lock:
                entries, self._waiting = self._waiting, []
            if entries:
                with self._catalog.write() as session:
                    session.execute(insert(AuditEntry), entries)

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
        self.flush()

    def _run(self) -> None:
        while not self._stop.wait(_WRITE_EVERY):
            self.flush()
