"""Errors as problem documents (RFC 9457): a status, one line of what to do, never a trace."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from sqlalchemy.exc import OperationalError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from ragcore.errors import (
    Cancelled,
    DatabaseUnavailable,
    ModelUnavailable,
    NotPermitted,
    RagcoreError,
    SearchTimeout,
    StorageUnavailable,
    TooLarge,
    UnreadableFile,
    UsageError,
    VectorsUnavailable,
)
from ragcore.files import storage_error
from ragcore.redaction import redact

log = logging.getLogger("ragcore.api")

MEDIA_TYPE = "application/problem+json"
# status: (last part of the type, title)
KINDS: Mapping[int, tuple[str, str]] = {
    400: ("usage", "The request cannot be carried out as it stands"),
    401: ("key-needed", "A valid API key is needed"),
    403: ("not-permitted", "This key may not do that"),
    404: ("not-found", "There is no such thing, or this key may not see it"),
    405: ("method", "The address does not take this method"),
    406: ("not-acceptable", "No such form of the answer"),
    409: ("conflict", "The request conflicts with the present state"),
    413: ("too-large", "The request is too large"),
    415: ("media-type", "The body is of a kind that is not taken here"),
    422: ("invalid", "The request does not have the form that is described"),
    429: ("too-many", "Too many requests"),
    500: ("internal", "Something went wrong here"),
    501: ("not-implemented", "This is not built yet"),
    507: ("storage-full", "There is no room to store this"),
    503: ("unavailable", "Not possible at the moment"),
}


class FieldProblem(BaseModel):
    """What is wrong with one part of a request."""

    where: str = Field(examples=["body.limit"])
    message: str = Field(examples=["Input should be less than or equal to 100"])


class ProblemDocument(BaseModel):
    """The body of every error answer (RFC 9457)."""

    type: str = Field(examples=["urn:ragcore:problem:not-found"])
    title: str
    status: int
    detail: str = Field(description="One line that says what to do.")
    request_id: str = Field(description="The answer's X-Request-Id, as in the server's log.")
    errors: list[FieldProblem] | None = Field(default=None, description="With status 422.")


class Problem(HTTPException):
    """An error answer, raised anywhere while a request is handled."""

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        headers: Mapping[str, str] | None = None,
        errors: list[dict[str, str]] | None = None,
    ) -> None:
        super().__init__(status, detail, dict(headers or {}))
        self.status, self.errors = status, errors

    def document(self, request_id: str, *, openai: bool = False) -> dict[str, Any]:
        """The body; with the member `error` that OpenAI's clients read, where they call."""
        kind, title = KINDS.get(self.status, ("about", "Error"))
        detail = redact(str(self.detail))
        found: dict[str, Any] = {
            "type": f"urn:ragcore:problem:{kind}",
            "title": title,
            "status": self.status,
            "detail": detail,
            "request_id": request_id,
        }
        if self.errors:
            found["errors"] = self.errors
        if openai:
            found["error"] = {
                "message": detail,
                "type": kind.replace("-", "_"),
                "param": None,
                "code": kind.replace("-", "_"),
            }
        return found

    def response(self, request_id: str, *, openai: bool = False) -> Response:
        body = json.dumps(self.document(request_id, openai=openai), ensure_ascii=False)
        headers = {"Cache-Control": "no-store", **(self.headers or {})}
        return Response(
            body.encode("utf-8", "replace"), self.status, headers, media_type=MEDIA_TYPE
        )


def problem_of(error: Exception) -> Problem:
    """The problem that stands for any error; those that are not expected are logged."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, RequestValidationError):
        return Problem(422, "see `errors` for what is wrong where", errors=_field_problems(error))
    if isinstance(error, HTTPException):
        return Problem(error.status_code, str(error.detail), headers=error.headers)
    message = " ".join(str(error).split())
    if isinstance(error, NotPermitted):
        return Problem(403, message)
    if isinstance(error, TooLarge):
        return Problem(413, message)
    if isinstance(error, UsageError):
        return Problem(400, message)
    if isinstance(error, OSError) and (found := storage_error(error, "nothing was stored")):
        return Problem(507, str(found))
    if isinstance(error, StorageUnavailable):
        return Problem(507, message)
    if isinstance(error, UnreadableFile):
        return Problem(422, message)
    if isinstance(error, Cancelled | ModelUnavailable | SearchTimeout | VectorsUnavailable):
        return Problem(503, message, headers={"Retry-After": "5"})
    if isinstance(error, OperationalError | DatabaseUnavailable):
        reason = error.orig if isinstance(error, OperationalError) else error
        log.error("the catalog cannot be used: %s", str(reason).splitlines()[0])
        detail = "the catalog cannot be used at the moment; try again"
        return Problem(503, detail, headers={"Retry-After": "2"})
    if isinstance(error, RagcoreError):
        return Problem(500, message)
    log.exception("unexpected error", exc_info=error)
    return Problem(500, "the server's log has the details under this request's id")


def _field_problems(error: RequestValidationError) -> list[dict[str, str]]:
    found = []
    for one in error.errors()[:20]:
        where = ".".join(str(part) for part in one["loc"])
        found.append({"where": where[:200], "message": str(one["msg"])[:500]})
    return found


def request_id_of(scope: Mapping[str, Any]) -> str:
    """The id of a request, "" where it has none."""
    return str(scope.get("state", {}).get("request_id", ""))


def is_openai(path: str) -> bool:
    """Whether an address is one of those that OpenAI's clients call."""
    return path.startswith("/v1/")


def install(app: FastAPI) -> None:
    """Answer every error of `app` with a problem document."""

    async def answer(request: Request, error: Exception) -> Response:
        path = request.url.path
        return problem_of(error).response(request_id_of(request.scope), openai=is_openai(path))

    for kind in (Problem, RequestValidationError, HTTPException, RagcoreError, OperationalError):
        app.add_exception_handler(kind, answer)
