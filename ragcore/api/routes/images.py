"""Images: files of their own, and those found inside documents."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from ragcore.api.access import ReadContext
from ragcore.api.bodies import BoundedRoute
from ragcore.api.paging import cursor_at, offset_of
from ragcore.api.routes.common import (
    PREFIX,
    Cursor,
    ImageId,
    Limit,
    binary,
    found,
    library_of,
    limiter_of,
    visible_document,
    visible_image,
    where_of,
)
from ragcore.api.schemas import ImageList, ImageResponse

router = APIRouter(
    route_class=BoundedRoute, prefix=f"{PREFIX}/collections/{{collection}}/images", tags=["images"]
)
WEBP = binary("image/webp")
_KEPT = {"Cache-Control": "private, max-age=3600"}


@router.get("")
async def list_images(
    request: Request,
    context: ReadContext,
    document_id: Annotated[int | None, Query(ge=1, le=2**53 - 1)] = None,
    where: Annotated[
        list[str], Query(max_length=20, description="Filters, each FIELD=VALUE: favorite=yes.")
    ] = [],  # noqa: B006  # FastAPI copies it
    limit: Limit = 50,
    cursor: Cursor = None,
) -> ImageList:
    """The collection's images, newest first, or those of one document in its order."""
    offset, chosen = offset_of(cursor), where_of(where)
    library = library_of(request)

    def look() -> ImageList:
        if document_id is not None:
            visible_document(library, context, document_id)
        rows = library.images.list(
            context.name, document_id=document_id, where=chosen, limit=limit + 1, offset=offset
        )
        ids = [row.id for row in rows]
        about, marks = library.images.metadata(ids), library.images.marks(ids)
        return ImageList(
            items=[
                ImageResponse.of(row, about.get(row.id), marks.get(row.id)) for row in rows[:limit]
            ],
            next_cursor=cursor_at(offset + limit) if len(rows) > limit else None,
        )

    return await limiter_of(request).run(context.principal, look)


@router.get("/{image_id}")
async def get_image(request: Request, context: ReadContext, image_id: ImageId) -> ImageResponse:
    """What is known of an image."""
    library = library_of(request)

    def look() -> ImageResponse:
        info = visible_image(library, context, image_id)
        about, marks = library.images.metadata([info.id]), library.images.marks([info.id])
        return ImageResponse.of(info, about.get(info.id), marks.get(info.id))

    return await limiter_of(request).run(context.principal, look)


@router.get("/{image_id}/thumbnail", response_class=Response, responses=WEBP)
async def get_thumbnail(request: Request, context: ReadContext, image_id: ImageId) -> Response:
    """WebP of at most 320 pixels a side."""
    library = library_of(request)

    def look() -> bytes:
        visible_image(library, context, image_id)
        return found(lambda: library.images.thumbnail(image_id))

    data = await limiter_of(request).run(context.principal, look)
    return Response(data, media_type="image/webp", headers=_KEPT)


@router.get("/{image_id}/picture", deprecated=True, response_class=Response)
@router.get("/{image_id}/view", response_class=Response, responses=WEBP)
async def view_image(
    request: Request,
    context: ReadContext,
    image_id: ImageId,
    side: Annotated[int, Query(ge=64, le=2400)] = 1600,
) -> Response:
    """The image as WebP, re-encoded, at most `side` pixels a side."""
    library = library_of(request)

    def look() -> bytes:
        visible_image(library, context, image_id)
        return found(lambda: library.images.view(image_id, side=side))

    data = await limiter_of(request).run(context.principal, look)
    return Response(data, media_type="image/webp", headers=_KEPT)
