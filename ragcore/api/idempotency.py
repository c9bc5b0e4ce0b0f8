"""Idempotency-Key: a request sent twice is carried out once, and answered twice alike.

What was answered is kept in the catalog for a day, so that it also holds over a restart.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from typing import Annotated, Any

from fastapi import Header, Request
from fastapi.responses import JSONResponse

from ragcore.api.problems import Problem
from ragcore.library import Library

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
    request: Request,
    owner: str,
    key: str | None,
    of: str,
    make: Callable[[], tuple[int, dict[str, Any]]],
) -> JSONResponse:
    """`make()`'s (status, body), or what it was the first time. Without a key simply `make()`.

    Raises Problem 409 while the first one is still at it, 422 if it was another request.
    """
    library: Library = request.app.state.library
    if key is None:
        return _response(*make())
    answers = library.admin.idempotent_answers
    earlier = answers.take(owner, key, of)
    if earlier is not None:
        if earlier.fingerprint != of:
            raise Problem(422, "this Idempotency-Key was used for another request")
        if not earlier.status:
            raise Problem(
                409, "the first request with this Idempotency-Key is not finished",
                headers={"Retry-After": "2"},
            )  # fmt: skip
        answer = _response(earlier.status, earlier.body)
        answer.headers["Idempotency-Replayed"] = "true"
        return answer
    try:
        status, body = make()
    except BaseException:
        answers.free(owner, key)  # it did not happen
        raise
    answers.keep(owner, key, status, body)
    return _response(status, body)


def _response(status: int, body: dict[str, Any]) -> JSONResponse:
    headers = {"Location": body["location"]} if "location" in body else {}
    return JSONResponse(body, status, headers)
