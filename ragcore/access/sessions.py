"""Who is logged in to the pages, in the catalog: listed, ended, and over with their account."""

from __future__ import annotations

import datetime as dt
import hmac
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from sqlalchemy import delete, func, select, update

from ragcore.access.keys import KeyInfo, Keys
from ragcore.catalog import ApiKey, BrowserSession, Catalog, now
from ragcore.errors import StorageUnavailable, UsageError

_NOTE_USE_EVERY = dt.timedelta(minutes=1)
MOST_OF_ONE = 50  # sessions of an account; the one that was longest unused makes room


@dataclass(frozen=True, slots=True)
class SessionInfo:
    """A login that is not over. `client` is the address and `browser` what it calls itself."""

    id: int
    key_id: int
    name: str
    client: str
    browser: str
    created_at: dt.datetime
    last_seen_at: dt.datetime
    expires_at: dt.datetime


class Sessions:
    """The sessions of one catalog. A session is known by the SHA-256 of its cookie's secret."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._keys = Keys(catalog)

    def begin(
        self, info: KeyInfo, sha256: str, lifetime: dt.timedelta, *, client: str, browser: str
    ) -> None:
        """Remember that somebody has logged in; what is over is forgotten."""
        row = BrowserSession(
            key_id=info.id,
            sha256=sha256,
            stamp=info.stamp,
            client=client[:64],
            browser=browser[:200],
            expires_at=now() + lifetime,
        )
        of_one = select(BrowserSession.id).where(BrowserSession.key_id == info.id)
        newest = of_one.order_by(BrowserSession.last_seen_at.desc()).limit(MOST_OF_ONE - 1)
        with self._catalog.write() as session:
            keep = session.scalars(newest).all()
            session.execute(
                delete(BrowserSession).where(
                    (BrowserSession.expires_at <= now())
                    | ((BrowserSession.key_id == info.id) & BrowserSession.id.not_in(keep))
                )
            )
            session.add(row)

    def find(self, sha256: str) -> KeyInfo | None:
        """The live account of a session; None if there is none, or it is over."""
        with self._catalog.read() as session:
            row = session.scalar(select(BrowserSession).where(BrowserSession.sha256 == sha256))
        if row is None or row.expires_at <= now():
            return None
        info = self._keys.get(row.key_id)
        if info is None or not hmac.compare_digest(info.stamp, row.stamp):
            return None
        if now() - row.last_seen_at > _NOTE_USE_EVERY:
            with suppress(StorageUnavailable), self._catalog.write() as session:
                session.execute(
                    update(BrowserSession)
                    .where(BrowserSession.id == row.id)
                    .values(last_seen_at=now())
                )
        return info

    def end(self, sha256: str) -> bool:
        """End the session of this secret; False if there was none."""
        with self._catalog.write() as session:
            gone = session.execute(delete(BrowserSession).where(BrowserSession.sha256 == sha256))
            return bool(getattr(gone, "rowcount", 0))

    def all(self) -> Sequence[SessionInfo]:
        """Every session that is not over, the one last used first."""
        live = {info.id: info for info in self._keys.all() if info.state == "live"}
        query = select(BrowserSession).where(BrowserSession.expires_at > now())
        with self._catalog.read() as session:
            rows = session.scalars(query.order_by(BrowserSession.last_seen_at.desc())).all()
        return [
            SessionInfo(
                id=row.id,
                key_id=row.key_id,
                name=live[row.key_id].name,
                client=row.client,
                browser=row.browser,
                created_at=row.created_at,
                last_seen_at=row.last_seen_at,
                expires_at=row.expires_at,
            )
            for row in rows
            if row.key_id in live and row.stamp == live[row.key_id].stamp
        ]

    def revoke(self, session_id: int) -> None:
        """End one session by its number. Raises UsageError if there is none."""
        with self._catalog.write() as session:
            gone = session.execute(delete(BrowserSession).where(BrowserSession.id == session_id))
        if not getattr(gone, "rowcount", 0):
            raise UsageError(
                f"there is no session {session_id}: `ragcore keys sessions` lists them"
            )

    def revoke_all_of(self, key_id: int) -> int:
        """End every session of an account; return how many there were."""
        with self._catalog.write() as session:
            if session.get(ApiKey, key_id) is None:
                raise UsageError(f"there is no key {key_id}: `ragcore keys list` lists them")
            of_one = BrowserSession.key_id == key_id
            count = session.scalar(select(func.count()).select_from(BrowserSession).where(of_one))
            session.execute(delete(BrowserSession).where(of_one))
        return int(count or 0)
