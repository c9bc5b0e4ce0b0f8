"""The OpenAPI description: what FastAPI generates, and the problem documents of every route."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from ragcore.api.access import OPEN_PATHS
from ragcore.api.problems import KINDS, MEDIA_TYPE, ProblemDocument

ABOUT = """Search, ask and look through collections of documents and images.

Keys are made by `ragcore keys create` and given as `Authorization: Bearer rc_…`; a server that
listens to its own computer only needs none. Errors are problem documents (RFC 9457). Every
answer has an `X-Request-Id`, the one that was given or a new one."""

_SCHEMA = {"$ref": "#/components/schemas/ProblemDocument"}
_REQUEST_ID = {
    "X-Request-Id": {
        "description": "The request's id, as in the server's log.",
        "schema": {"type": "string"},
    }
}


def describe(app: FastAPI, *, keys_needed: bool) -> dict[str, Any]:
    """The description of all of `app`'s routes."""
    found = get_openapi(title="ragcore", version=app.version, description=ABOUT, routes=app.routes)
    schemas = found.setdefault("components", {}).setdefault("schemas", {})
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    problem = ProblemDocument.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas.update(problem.pop("$defs", {}))
    schemas["ProblemDocument"] = problem
    for path, method, operation in _operations(found):
        _document_errors(path, method, operation)
        if not keys_needed:
            operation.pop("security", None)
    return found


def _operations(found: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, item in found["paths"].items():
        for method, operation in item.items():
            yield path, method, operation


def _document_errors(path: str, method: str, operation: dict[str, Any]) -> None:
    responses = operation["responses"]
    responses.pop("422", None)
    for response in responses.values():
        response.setdefault("headers", {}).update(_REQUEST_ID)
    for status in _errors(path, method):
        responses[str(status)] = {
            "description": KINDS[status][1],
            "headers": dict(_REQUEST_ID),
            "content": {MEDIA_TYPE: {"schema": _SCHEMA}},
        }


def _errors(path: str, method: str) -> list[int]:
    if path in OPEN_PATHS:
        return [500, 503]
    errors = [400, 401, 403, 404, 422, 429, 500, 503]
    if method != "get":
        errors += [409, 413]
    if path.endswith(("/images/generations", "/imagine")):
        errors.append(501)
    return errors
