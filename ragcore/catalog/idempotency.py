"""Answers to requests that carried a key of the sender's, kept for a day.

Sent twice, a request is carried out once, also over a restart.
"""

from __future__ import annotations

import datetime as dt
import uuid
from dataclasses import dataclass
from typing import Any

from sqlalchemy import delete, select, update
from sqlalchemy.exc import IntegrityError

from ragcore.catalog.catalog import Catalog
from ragcore.catalog.models import IdempotentAnswer, now

STORED_FOR = dt.timedelta(days=1)
_GIVEN_UP = dt.timedelta(minutes=2)  # after it, another process may take over what is unfinished
_PROCESS = uuid.uuid4().hex


@dataclass(frozen=True, slots=True)
class StoredAnswer:
    """The answer that an owner's key had.

    `fingerprint` is the request's; `status` is 0 while it is not finished.
    """

    fingerprint: str
    status: int
    body: dict[str, Any]


class IdempotentAnswers:
    """Answers by owner and key."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    def take(self, owner: str, key: str, fingerprint: str) -> StoredAnswer | None:
        """Take the key for this request and return None, or return what has it."""
        row = IdempotentAnswer(owner=owner, key=key, fingerprint=fingerprint, process=_PROCESS)
        try:
            with self._catalog.write() as session:
                session.execute(
                    delete(IdempotentAnswer).where(IdempotentAnswer.created_at < now() - STORED_FOR)
                )
                session.add(row)
            return None
        except IntegrityError:
            pass
        with self._catalog.write() as session:
            this = (IdempotentAnswer.owner == owner, IdempotentAnswer.key == key)
            earlier = session.scalar(select(IdempotentAnswer).where(*this))
            if earlier is None:
                return StoredAnswer(fingerprint, 0, {})
            lost = earlier.process != _PROCESS and earlier.created_at < now() - _GIVEN_UP
            if earlier.fingerprint != fingerprint or earlier.status or not lost:
                return StoredAnswer(earlier.fingerprint, earlier.status or 0, earlier.body or {})
            earlier.process, earlier.created_at = _PROCESS, now()
        return None

    def keep(self, owner: str, key: str, status: int, body: dict[str, Any]) -> None:
        """Remember the answer of a key that was taken."""
        this = (IdempotentAnswer.owner == owner, IdempotentAnswer.key == key)
        with self._catalog.write() as session:
            session.execute(update(IdempotentAnswer).where(*this).values(status=status, body=body))

    def free(self, owner: str, key: str) -> None:
        """The request did not happen: the key may be used again."""
        this = (IdempotentAnswer.owner == owner, IdempotentAnswer.key == key)
        with self._catalog.write() as session:
            session.execute(delete(IdempotentAnswer).where(*this))
