"""What routes share: the parts of the server, types of parameters, guarded look-ups."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any, TypeVar

from fastapi import Path, Query, Request

from ragcore.api.access import CollectionContext
from ragcore.api.metrics import Metrics
from ragcore.api.problems import Problem
from ragcore.api.work_limiter import WorkLimiter
from ragcore.errors import UsageError
from ragcore.library import ImageInfo, Library
from ragcore.settings import Settings
from ragcore.types import DocumentInfo

T = TypeVar("T")
PREFIX = "/api/v1"
_ROW = Path(ge=1, le=2**53 - 1)

DocumentId = Annotated[int, _ROW]
ImageId = Annotated[int, _ROW]
JobId = Annotated[int, _ROW]
SourceId = Annotated[int, _ROW]
PageNumber = Annotated[int, Path(ge=1, le=10_000_000)]
Limit = Annotated[int, Query(ge=1, le=100)]
Cursor = Annotated[
    str | None, Query(max_length=200, description="`next_cursor` of the page before.")
]
Responses = dict[int | str, dict[str, Any]]  # what FastAPI adds to a route's description


def where_of(pairs: Sequence[str]) -> dict[str, str]:
    """Filters of an address, as "favorite=yes" or "taken>=2024". Raises Problem 400."""
    where: dict[str, str] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not value.strip():
            raise Problem(400, f"where takes FIELD=VALUE, not {pair[:80]!r}")
        where[f"{name}=" if name.endswith((">", "<")) else name] = value
    return where


def binary(*media_types: str) -> Responses:
    """The description of an answer that is a file of one of these kinds."""
    schema = {"schema": {"type": "string", "format": "binary"}}
    return {200: {"content": dict.fromkeys(media_types, schema)}}


def library_of(request: Request) -> Library:
    """The library, for whoever asks: their scope and collections only."""
    found: Library = request.app.state.library
    return found.for_principal(request.state.principal)


def settings_of(request: Request) -> Settings:
    """The settings of the server."""
    found: Settings = request.app.state.settings
    return found


def limiter_of(request: Request) -> WorkLimiter:
    """What runs the library's work in threads."""
    found: WorkLimiter = request.app.state.limiter
    return found


def metrics_of(request: Request) -> Metrics:
    """The counters that /metrics exports."""
    found: Metrics = request.app.state.metrics
    return found


def found(call: Callable[[], T]) -> T:
    """`call()`, whose UsageError means that there is no such thing: Problem 404."""
    try:
        return call()
    except UsageError as error:
        raise Problem(404, str(error)) from None


def visible_document(
    library: Library, context: CollectionContext, document_id: int
) -> DocumentInfo:
    """Raises Problem 404 for documents of other collections as for those that are not there."""
    row = found(lambda: library.documents.get(document_id))
    if row.collection_id != context.id:
        raise Problem(404, f"there is no document {document_id}")
    return row


def visible_image(library: Library, context: CollectionContext, image_id: int) -> ImageInfo:
    """Raises Problem 404 for images of other collections as for those that are not there."""
    info = found(lambda: library.images.get(image_id))
    if info.collection_id != context.id:
        raise Problem(404, f"there is no image {image_id}")
    return info
