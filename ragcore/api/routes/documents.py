"""Documents: list, look at, fetch, remove; their pages as text and as images."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import FileResponse
from starlette.background import BackgroundTask

from ragcore.api.access import CollectionContext, ReadContext, WriteContext
from ragcore.api.bodies import BoundedRoute
from ragcore.api.paging import cursor_at, offset_of
from ragcore.api.problems import Problem
from ragcore.api.routes.common import (
    PREFIX,
    Cursor,
    DocumentId,
    Limit,
    PageNumber,
    binary,
    found,
    library_of,
    limiter_of,
    visible_document,
)
from ragcore.api.schemas import Deleted, DocumentList, DocumentResponse, PageResponse
from ragcore.library import Library

router = APIRouter(
    route_class=BoundedRoute,
    prefix=f"{PREFIX}/collections/{{collection}}/documents",
    tags=["documents"],
)

# What browsers show without running it; everything else is bytes to be saved.
_SHOWN = {"application/pdf", "image/png", "image/jpeg", "image/webp", "image/gif", "text/plain"}
_UNTRUSTED: Mapping[str, str] = {
    "Content-Security-Policy": "sandbox; default-src 'none'; style-src 'unsafe-inline'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "private, no-cache",
}
PNG = binary("image/png")
FILE = binary(*sorted([*_SHOWN, "application/octet-stream"]))


@router.get("")
async def list_documents(
    request: Request,
    context: ReadContext,
    search: Annotated[str, Query(max_length=500, description="Part of name, title or path.")] = "",
    state: Annotated[Literal["ready", "stale", "failed"] | None, Query()] = None,
    media_type: Annotated[str | None, Query(max_length=100)] = None,
    incomplete: Annotated[
        bool | None, Query(description="Those of which something was not read, or the others.")
    ] = None,
    order: Annotated[
        Literal["name", "newest", "modified", "size", "pages", "state"], Query()
    ] = "name",
    limit: Limit = 50,
    cursor: Cursor = None,
) -> DocumentList:
    """The collection's documents, those that failed as well."""
    offset = offset_of(cursor)
    library = library_of(request)

    def look() -> DocumentList:
        rows, total = library.documents.list(
            context.name,
            search=search,
            state=state,
            media_type=media_type,
            incomplete=incomplete,
            order=order,
            limit=limit,
            offset=offset,
        )
        more = offset + len(rows) < total
        return DocumentList(
            items=[DocumentResponse.of(row) for row in rows],
            total=total,
            next_cursor=cursor_at(offset + limit) if more else None,
        )

    return await limiter_of(request).run(context.principal, look)


@router.get("/{document_id}")
async def get_document(
    request: Request, context: ReadContext, document_id: DocumentId
) -> DocumentResponse:
    """One document."""
    library = library_of(request)
    return await limiter_of(request).run(
        context.principal,
        lambda: DocumentResponse.of(visible_document(library, context, document_id)),
    )


@router.delete("/{document_id}")
async def remove_document(
    request: Request, context: WriteContext, document_id: DocumentId
) -> Deleted:
    """Take a document out of the collection. Its file stays, an upload goes."""
    library = library_of(request)

    def remove() -> Deleted:
        row = visible_document(library, context, document_id)
        count = library.documents.remove([document_id], collection=context.name)
        return Deleted(deleted=row.name, documents=count)

    return await limiter_of(request).run(context.principal, remove)


@router.get("/{document_id}/file", response_class=Response, responses=FILE)
async def get_file(request: Request, context: ReadContext, document_id: DocumentId) -> Response:
    """The file itself, to be saved. Pages and scripts in it are never run by a browser."""
    library = library_of(request)
    row = await limiter_of(request).run(
        context.principal, lambda: visible_document(library, context, document_id)
    )
    resources = ExitStack()
    path = await limiter_of(request).run(
        context.principal,
        lambda: found(lambda: resources.enter_context(library.documents.original(document_id))),
    )
    kind = row.media_type if row.media_type in _SHOWN else "application/octet-stream"
    return FileResponse(
        path,
        media_type=kind,
        filename=row.name,
        headers=dict(_UNTRUSTED),
        background=BackgroundTask(resources.close),
    )


@router.get("/{document_id}/pages/{number}")
async def get_page(
    request: Request, context: ReadContext, document_id: DocumentId, number: PageNumber
) -> PageResponse:
    """A page's text. Pages count from 1."""
    library = library_of(request)

    def look() -> PageResponse:
        visible_document(library, context, document_id)
        return PageResponse.of(found(lambda: library.documents.page(document_id, number)))

    return await limiter_of(request).run(context.principal, look)


@router.get("/{document_id}/pages/{number}/picture", deprecated=True, response_class=Response)
@router.get("/{document_id}/pages/{number}/image", response_class=Response, responses=PNG)
async def get_page_image(
    request: Request,
    context: ReadContext,
    document_id: DocumentId,
    number: PageNumber,
    width: Annotated[int, Query(ge=50, le=2000)] = 1000,
    start: Annotated[int | None, Query(ge=0, le=2**40, description="Mark from here …")] = None,
    end: Annotated[int | None, Query(ge=0, le=2**40, description="… to here.")] = None,
) -> Response:
    """A page as PNG, with a span of the document's text (as in a citation) marked on it."""
    if (start is None) != (end is None) or (start is not None and end is not None and start > end):
        raise Problem(400, "give start and end together, start first")
    span = (start, end) if start is not None and end is not None else None
    library = library_of(request)
    data = await limiter_of(request).run(
        context.principal, lambda: _page_image(library, context, document_id, number, span, width)
    )
    return Response(data, media_type="image/png", headers={"Cache-Control": "private, no-cache"})


def _page_image(
    library: Library,
    context: CollectionContext,
    document_id: int,
    number: int,
    span: tuple[int, int] | None,
    width: int,
) -> bytes:
    visible_document(library, context, document_id)
    return found(lambda: library.documents.page_image(document_id, number, span=span, width=width))
