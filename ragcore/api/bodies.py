"""Bodies: read after access is checked, up to the limit of the route, parsed off the event loop.

Reading JSON holds the interpreter's lock from its first to its last character. So its size, and
the number of its parts, are limited before it is parsed.
"""

from __future__ import annotations

import binascii
import json
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from typing import Any, TypeVar

from anyio import to_thread
from fastapi import Request, params
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from starlette.responses import Response
from starlette.types import Message, Receive

from ragcore.api.problems import Problem

JSON_BYTES = 2**20
IMAGE_BYTES = 48 * 2**20  # an image in base64 and what goes with it
FORM_EXTRA = 2**20  # what a form has besides its files
MAX_PARTS = 100_000  # brackets, commas, colons and escapes of a JSON document
_AT_ONCE = 2**16  # bytes that are parsed in no time

Endpoint = TypeVar("Endpoint", bound=Callable[..., Any])
Admit = Callable[[Request], Awaitable[None]]


def takes_images(endpoint: Endpoint) -> Endpoint:
    """Decorates a route whose JSON may hold images in base64."""
    endpoint.takes_images = True  # type: ignore[attr-defined]
    return endpoint


class BoundedRequest(Request):
    """A request whose body has at most `limit` bytes."""

    def __init__(self, request: Request, limit: int) -> None:
        super().__init__(request.scope, _counted(request.receive, limit))

    async def json(self) -> Any:
        if not hasattr(self, "_json"):
            body = await self.body()
            if len(body) > _AT_ONCE:
                self._json = await to_thread.run_sync(parse_json, body)
            else:
                self._json = parse_json(body)
        return self._json


class BoundedRoute(APIRoute):
    """A route that asks who is calling before it reads what they send."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()
        gates = list(_gates(self.dependant))
        form = self.body_field is not None and isinstance(self.body_field.field_info, params.Form)
        images = getattr(self.endpoint, "takes_images", False)

        async def bounded(request: Request) -> Response:
            for admit in gates:
                await admit(request)
            limit = IMAGE_BYTES if images else JSON_BYTES
            if form:
                limit = request.app.state.settings.ui_upload_mb * 2**20 + FORM_EXTRA
            declared = request.headers.get("content-length", "0")
            if declared.isdigit() and int(declared) > limit:
                raise _too_large(limit)
            return await handle(BoundedRequest(request, limit))

        return bounded


def parse_json(body: bytes) -> Any:
    """Raises Problem for a document of too many parts, ValueError for what is no JSON."""
    if sum(map(body.count, (b"[", b"{", b",", b":", b"\\"))) > MAX_PARTS:
        raise Problem(413, f"the JSON has more than {MAX_PARTS:,} parts")
    try:
        return json.loads(body)
    except RecursionError:
        raise Problem(400, "the JSON is nested too deeply") from None


def decode_image(text: str, what: str) -> bytes:
    """An image file in base64. Raises Problem 400, saying `what` is none."""
    try:
        return binascii.a2b_base64(text.rpartition("base64,")[2].encode("ascii"), strict_mode=True)
    except (binascii.Error, ValueError):
        raise Problem(400, f"{what} is not an image file in base64") from None


def _gates(dependant: Dependant) -> Iterator[Admit]:
    """What the dependencies of a route ask of a caller, see `ragcore.api.access`."""
    for one in dependant.dependencies:
        admit: Admit | None = getattr(one.call, "admit", None)
        if admit is not None:
            yield admit
        yield from _gates(one)


def _counted(receive: Receive, limit: int) -> Receive:
    seen = 0

    async def counted() -> Message:
        nonlocal seen
        message = await receive()
        seen += len(message.get("body", b""))
        if seen > limit:
            raise _too_large(limit)
        return message

    return counted


def _too_large(limit: int) -> Problem:
    return Problem(413, f"the body is larger than {limit // 2**20} MiB")
