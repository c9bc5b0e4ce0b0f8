"""Who is asking, and what they may do: checked before the library is asked anything.

`AuthenticationMiddleware` finds the key of a request. The dependencies below compare its scope
and its collections with what a route needs; a collection that a key may not see does not exist
for it. The library itself is opened for the principal besides (`routes.common.library_of`).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, Path, Request
from fastapi.security import HTTPBearer

from ragcore.api.problems import Problem
from ragcore.errors import UsageError
from ragcore.library import Library, Principal

OPEN_PATHS = frozenset({"/healthz", "/readyz"})
bearer = HTTPBearer(
    auto_error=False,
    bearerFormat="rc_…",
    description="A key from `ragcore keys create`. Not needed where the server listens to its "
    "own computer only.",
)


@dataclass(frozen=True, slots=True)
class CollectionContext:
    """A collection, and a principal who may do there what the route does."""

    id: int
    name: str
    created_at: dt.datetime
    principal: Principal


def _principal(request: Request, _bearer: Annotated[Any, Depends(bearer)]) -> Principal:
    found: Principal | None = getattr(request.state, "principal", None)
    if found is None:  # without the middleware nobody is let in by mistake
        raise Problem(401, "give a key: Authorization: Bearer rc_…")
    return found


def require(principal: Principal, scope: str) -> None:
    """Raises Problem 403 unless the principal has the scope."""
    if not principal.may(scope):
        raise Problem(403, f"this needs a key of scope {scope}; yours has {principal.scope}")


def everywhere(principal: Principal, scope: str) -> None:
    """Raises Problem 403 unless the principal has the scope for every collection."""
    require(principal, scope)
    if principal.collection_ids is not None:
        raise Problem(403, "this needs a key that is not limited to some collections")


def needs(scope: str) -> Callable[..., Principal]:
    """A dependency: the principal, with this scope."""

    async def check(principal: Annotated[Principal, Depends(_principal)]) -> Principal:
        require(principal, scope)
        return principal

    async def admit(request: Request) -> None:
        require(_principal(request, None), scope)

    check.admit = admit  # type: ignore[attr-defined]  # asked before the body is read
    return check  # type: ignore[return-value]  # FastAPI awaits it


def within(scope: str) -> Callable[..., CollectionContext]:
    """A dependency: the collection named in the address, where the principal has this scope."""

    async def check(
        request: Request,
        principal: Annotated[Principal, Depends(_principal)],
        collection: Annotated[
            str,
            Path(min_length=1, max_length=100, description="Name of a collection.",
                 examples=["sample"]),
        ],
    ) -> CollectionContext:  # fmt: skip
        return await _enter(request, principal, collection, scope)

    async def admit(request: Request) -> None:
        name = str(request.path_params.get("collection", ""))
        if 1 <= len(name) <= 100:  # the parameter's own validation reports others
            await _enter(request, _principal(request, None), name, scope)

    check.admit = admit  # type: ignore[attr-defined]  # asked before the body is read
    return check  # type: ignore[return-value]  # FastAPI awaits it


async def _enter(
    request: Request, principal: Principal, name: str, scope: str
) -> CollectionContext:
    """The collection, looked up once a request. Raises Problem 404, or 403 without the scope."""
    found: CollectionContext | None = getattr(request.state, "context", None)
    if found is None:
        request.state.collection = name
        found = await request.app.state.limiter.quick(find_collection, request, principal, name)
        request.state.context = found
    require(principal, scope)
    assert found is not None
    return found


def find_collection(request: Request, principal: Principal, name: str) -> CollectionContext:
    """Raises Problem 404, the same for collections that are not there and not to be seen."""
    library: Library = request.app.state.library
    try:
        info = library.for_principal(principal).find_collection(name)
    except UsageError:
        raise Problem(404, f"there is no collection {name[:100]!r} for this key") from None
    return CollectionContext(info.id, info.name, info.created_at, principal)


Reader = Annotated[Principal, Depends(needs("read"))]
Writer = Annotated[Principal, Depends(needs("write"))]
Admin = Annotated[Principal, Depends(needs("admin"))]
ReadContext = Annotated[CollectionContext, Depends(within("read"))]
WriteContext = Annotated[CollectionContext, Depends(within("write"))]
AdminContext = Annotated[CollectionContext, Depends(within("admin"))]
