"""Collections: list, make, rename, delete."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from ragcore.api.access import (
    AdminContext,
    ReadContext,
    Reader,
    Writer,
    everywhere,
)
from ragcore.api.bodies import BoundedRoute
from ragcore.api.idempotency import IdempotencyKey, fingerprint, once
from ragcore.api.problems import Problem
from ragcore.api.routes.common import PREFIX, library_of, limiter_of
from ragcore.api.schemas import Changes, CollectionList, CollectionResponse, Deleted, NewCollection
from ragcore.errors import UsageError
from ragcore.library import Library, check_name

router = APIRouter(route_class=BoundedRoute, prefix=f"{PREFIX}/collections", tags=["collections"])


def _shape(library: Library, name: str) -> CollectionResponse:
    return CollectionResponse.of(library.find_collection(name), library.documents.statistics(name))


@router.get("")
async def list_collections(request: Request, principal: Reader) -> CollectionList:
    """The collections that this key may see, by name."""
    library = library_of(request)

    def look() -> CollectionList:
        names = [row.name for row in library.collections()]
        return CollectionList(items=[_shape(library, name) for name in names])

    return await limiter_of(request).run(principal, look)


@router.post("", status_code=201, response_model=CollectionResponse)
async def create_collection(
    request: Request, body: NewCollection, principal: Writer, idempotency_key: IdempotencyKey = None
) -> JSONResponse:
    """Make an empty collection. It needs a key that is not limited to some collections."""
    everywhere(principal, "write")
    request.state.collection = body.name
    library = library_of(request)

    def make() -> tuple[int, dict[str, Any]]:
        check_name(body.name)
        try:
            library.create_collection(body.name)
        except UsageError as error:
            raise Problem(409, str(error)) from None
        shape = _shape(library, body.name).model_dump(mode="json")
        return 201, {**shape, "location": f"{PREFIX}/collections/{body.name}"}

    return await limiter_of(request).run(
        principal,
        lambda: once(
            request,
            principal.owner,
            idempotency_key,
            fingerprint("collection", body.name),
            make,
        ),
    )


@router.get("/{collection}")
async def get_collection(request: Request, context: ReadContext) -> CollectionResponse:
    """One collection and what it holds."""
    library = library_of(request)
    return await limiter_of(request).run(context.principal, lambda: _shape(library, context.name))


@router.patch("/{collection}")
async def change_collection(
    request: Request, body: Changes, context: AdminContext
) -> CollectionResponse:
    """Give a collection another name, adapter or style of answers. Keys that may see it still may.

    Another name needs a key that is not limited to some collections.
    """
    library = library_of(request)

    def change() -> CollectionResponse:
        if body.name is not None:
            everywhere(context.principal, "admin")
            check_name(body.name)
        if body.adapter is not None:
            library.adapters.use(body.adapter, context.name)
        if body.style is not None:
            library.admin.set_style(context.name, body.style.style())
        if body.name is None:
            return _shape(library, context.name)
        try:
            library.admin.rename_collection(context.name, body.name)
        except UsageError as error:
            raise Problem(409, str(error)) from None
        return _shape(library, body.name)

    return await limiter_of(request).run(context.principal, change)


@router.delete("/{collection}")
async def delete_collection(request: Request, context: AdminContext) -> Deleted:
    """Delete a collection with its indexes and uploads. Other files it was made from stay."""
    library = library_of(request)

    def delete() -> Deleted:
        count = library.documents.statistics(context.name).documents
        library.admin.delete_collection(context.name)
        return Deleted(deleted=context.name, documents=count)

    return await limiter_of(request).run(context.principal, delete)
