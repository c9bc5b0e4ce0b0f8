"""Idempotency-Key: a request sent twice is carried out once, and answered twice alike.

What was answered is kept in the catalogue for a day, so that it also holds over a restart.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import uuid
from collections.abc import Callable
from typing import Annotated, Any

from fastapi import Header
from fastapi.responses import JSONResponse
from sqlalchemy import delete, select, update
from sqlalchemy.exc import IntegrityError

from ragcore.api.problems import Problem
from ragcore.catalog import Catalog
from ragcore.catalog.models import IdempotentAnswer, now

KEPT = dt.timedelta(days=1)
_GIVEN_UP = dt.timedelta(minutes=2)  # after it, another process may take over what is unfinished
_PROCESS = uuid.uuid4().hex

IdempotencyKey = Annotated[
    str | None,
    Header(
        min_length=1,
        max_length=255,
        pattern=r"^[\x21-\x7e]+$",
        description="The same key with the same request gets the first one's answer again.",
        examples=["7f1c2a52-upload-1"],
    ),
]


def fingerprint(*parts: Any) -> str:
    """What makes two requests the same."""
    return hashlib.sha256(json.dumps(parts, default=str).encode()).hexdigest()


def once(
    catalog: Catalog,
    owner: str,
    key: str | None,
    of: str,
    make: Callable[[], tuple[int, dict[str, Any]]],
) -> JSONResponse:
    """`make()`'s (status, body), or what it was the first time. Without a key simply `make()`.

    Raises Problem 409 while the first one is still at it, 422 if it was another request.
    """
    if key is None:
        return _response(*make())
    earlier = _enter(catalog, owner, key, of)
    if earlier is not None:
        answer = _response(earlier.status, earlier.body)
        answer.headers["Idempotency-Replayed"] = "true"
        return answer
    this = (IdempotentAnswer.owner == owner, IdempotentAnswer.key == key)
    try:
        status, body = make()
    except BaseException:
        with catalog.write() as session:  # it did not happen: the key is free again
            session.execute(delete(IdempotentAnswer).where(*this))
        raise
    with catalog.write() as session:
        session.execute(update(IdempotentAnswer).where(*this).values(status=status, body=body))
    return _response(status, body)


def _enter(catalog: Catalog, owner: str, key: str, of: str) -> IdempotentAnswer | None:
    """Take the key for us and return None, or return the answer that it had."""
    row = IdempotentAnswer(owner=owner, key=key, fingerprint=of, process=_PROCESS)
    try:
        with catalog.write() as session:
            session.execute(
                delete(IdempotentAnswer).where(IdempotentAnswer.created_at < now() - KEPT)
            )
            session.add(row)
        return None
    except IntegrityError:
        pass
    with catalog.write() as session:
        this = (IdempotentAnswer.owner == owner, IdempotentAnswer.key == key)
        earlier = session.scalar(select(IdempotentAnswer).where(*this))
        if earlier is not None and earlier.fingerprint != of:
            raise Problem(422, "this Idempotency-Key was used for another request")
        if earlier is not None and earlier.status:
            return earlier
        lost = earlier is not None and (
            earlier.process != _PROCESS and earlier.created_at < now() - _GIVEN_UP
        )
        if earlier is None or not lost:
            raise Problem(
                409, "the first request with this Idempotency-Key is not finished",
                headers={"Retry-After": "2"},
            )  # fmt: skip
        earlier.process, earlier.created_at = _PROCESS, now()
    return None


def _response(status: int, body: dict[str, Any]) -> JSONResponse:
    headers = {"Location": body["location"]} if "location" in body else {}
    return JSONResponse(body, status, headers)
