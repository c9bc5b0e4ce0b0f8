"""The trash of a collection: what was taken out, to be put back or to go for good."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, ConfigDict, Field

from ragcore.api.access import WriteContext
from ragcore.api.bodies import BoundedRoute
from ragcore.api.paging import cursor_at, offset_of
from ragcore.api.routes.common import PREFIX, Cursor, Limit, library_of, limiter_of, settings_of
from ragcore.api.schemas import StrictModel
from ragcore.library import Library

router = APIRouter(
    route_class=BoundedRoute,
    prefix=f"{PREFIX}/collections/{{collection}}/trash",
    tags=["documents"],
)
MOST_IDS = 10_000  # of one request
Number = Annotated[int, Field(ge=1, le=2**53 - 1)]


class Chosen(StrictModel):
    """Documents by number."""

    document_ids: list[Number] = Field(min_length=1, max_length=MOST_IDS)


class ChosenOrAll(StrictModel):
    """Documents by number, or all of the trash."""

    document_ids: list[Number] | None = Field(
        default=None, min_length=1, max_length=MOST_IDS, description="Without it: everything."
    )


class TrashedDocumentResponse(BaseModel):
    """A document in the trash; `passages` and `images` are what came from it."""

    model_config = ConfigDict(from_attributes=True)

    id: int
    name: str
    path: str
    media_type: str
    size: int
    passages: int
    images: int
    trashed_at: datetime


class TrashList(BaseModel):
    """The newest first. `days`: how long documents stay; 0: until the trash is emptied."""

    items: list[TrashedDocumentResponse]
    total: int
    next_cursor: str | None
    days: int


class Trashed(BaseModel):
    """How many documents that was done with; those that are not there are passed over."""

    documents: int


@router.get("")
async def list_trash(
    request: Request, context: WriteContext, limit: Limit = 50, cursor: Cursor = None
) -> TrashList:
    """What is in the trash. Nothing finds it."""
    offset = offset_of(cursor)
    library, days = library_of(request), settings_of(request).trash_days

    def look() -> TrashList:
        rows = library.trash.list(context.name)
        more = offset + limit < len(rows)
        return TrashList(
            items=[
                TrashedDocumentResponse.model_validate(one) for one in rows[offset : offset + limit]
            ],
            total=len(rows),
            next_cursor=cursor_at(offset + limit) if more else None,
            days=days,
        )

    return await limiter_of(request).run(context.principal, look)


@router.post("")
async def put_into_trash(request: Request, context: WriteContext, body: Chosen) -> Trashed:
    """Take documents out of the collection into its trash. Files stay where they are."""
    library = library_of(request)

    def put() -> Trashed:
        return Trashed(documents=library.trash.put(body.document_ids, collection=context.name))

    return await limiter_of(request).run(context.principal, put)


@router.post("/restore")
async def restore_from_trash(request: Request, context: WriteContext, body: ChosenOrAll) -> Trashed:
    """Put documents back, as they were. Nothing is, where one's path is taken again (400)."""
    library = library_of(request)

    def restore() -> Trashed:
        ids = _listed(library, context.name) if body.document_ids is None else body.document_ids
        return Trashed(documents=library.trash.restore(ids, collection=context.name))

    return await limiter_of(request).run(context.principal, restore)


@router.delete("")
async def empty_trash(
    request: Request,
    context: WriteContext,
    document_id: Annotated[
        list[Number] | None, Query(max_length=100, description="Only these; without: everything.")
    ] = None,
) -> Trashed:
    """Remove documents in the trash for good. Their files stay, uploads go."""
    library = library_of(request)

    def empty() -> Trashed:
        count = library.trash.empty(document_ids=document_id, collection=context.name)
        return Trashed(documents=count)

    return await limiter_of(request).run(context.principal, empty)


def _listed(library: Library, collection: str) -> Sequence[int]:
    return [one.id for one in library.trash.list(collection)]
