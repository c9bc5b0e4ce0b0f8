"""Sources of a collection: places that it is kept in step with.

A source is a place that the server connects to: every route needs a key with the scope admin that
is not limited to some collections.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

from ragcore.api.access import AdminContext, CollectionContext, everywhere
from ragcore.api.bodies import BoundedRoute
from ragcore.api.problems import Problem
from ragcore.api.routes.common import PREFIX, SourceId, found, library_of, limiter_of
from ragcore.api.routes.jobs import started
from ragcore.api.schemas import Started, StrictModel
from ragcore.library import Library, SourceInfo

router = APIRouter(
    route_class=BoundedRoute,
    prefix=f"{PREFIX}/collections/{{collection}}/sources",
    tags=["ingest"],
)


class SourceOptions(StrictModel):
    """Of web addresses."""

    crawl: bool = Field(default=False, description="Also take the pages that it links to.")
    depth: int | None = Field(default=None, ge=0, le=1000, description="Links in a row.")
    pages: int | None = Field(default=None, ge=1, le=10_000_000, description="Pages, at most.")

    def given(self) -> dict[str, str]:
        numbers = {"depth": self.depth, "pages": self.pages}
        crawl = {"crawl": "yes"} if self.crawl else {}
        return crawl | {name: str(one) for name, one in numbers.items() if one is not None}


class NewSource(StrictModel):
    """A source to add to a collection, and how often it runs."""

    url: str = Field(min_length=1, max_length=4000, examples=["https://example.org/handbook"])
    options: SourceOptions = SourceOptions()
    every: int = Field(
        default=0, ge=0, le=366 * 86400, description="Seconds between two runs; 0: when asked."
    )


class SourceChange(StrictModel):
    """Whether a source is paused."""

    paused: bool


class SourceResponse(BaseModel):
    """A source of a collection, with what its last run did.

    `report` has the counts of the last run that came about (added, updated, unchanged, removed,
    failed, skipped) and its first `failures`; `error` is why the last one did not.
    """

    id: int
    url: str
    options: dict[str, str]
    every: int
    paused: bool
    last_run: datetime | None
    next_run: datetime | None
    report: dict[str, Any]
    error: str

    @classmethod
    def of(cls, info: SourceInfo) -> SourceResponse:
        return cls(
            id=info.id,
            url=info.url,
            options=dict(info.options),
            every=info.every,
            paused=info.paused,
            last_run=info.last_run,
            next_run=info.next_run,
            report=dict(info.report),
            error=info.error,
        )


class SourceList(BaseModel):
    """The sources of a collection."""

    items: list[SourceResponse]


class SourceRemoved(BaseModel):
    """`documents`: how many documents went with it."""

    removed: int
    documents: int


@router.get("")
async def list_sources(request: Request, context: AdminContext) -> SourceList:
    """The sources with what their last runs did, and when the next ones are due."""
    everywhere(context.principal, "admin")
    library = library_of(request)
    return await limiter_of(request).run(
        context.principal,
        lambda: SourceList(
            items=[SourceResponse.of(one) for one in library.sources.list(context.name)]
        ),
    )


@router.post("", status_code=201)
async def add_source(request: Request, context: AdminContext, body: NewSource) -> SourceResponse:
    """Enter a source; nothing is fetched yet. Credentials stand in a file of the server."""
    everywhere(context.principal, "admin")
    library = library_of(request)
    return await limiter_of(request).run(
        context.principal,
        lambda: SourceResponse.of(
            library.sources.add(
                body.url, collection=context.name, options=body.options.given(), every=body.every
            )
        ),
    )


@router.get("/{source_id}")
async def get_source(
    request: Request, context: AdminContext, source_id: SourceId
) -> SourceResponse:
    """One source with its last report."""
    everywhere(context.principal, "admin")
    library = library_of(request)
    return await limiter_of(request).run(
        context.principal, lambda: SourceResponse.of(_visible_source(library, context, source_id))
    )


@router.patch("/{source_id}")
async def change_source(
    request: Request, context: AdminContext, source_id: SourceId, body: SourceChange
) -> SourceResponse:
    """Leave a source alone (`paused`), or go on with it: then it is due at once."""
    everywhere(context.principal, "admin")
    library = library_of(request)

    def change() -> SourceResponse:
        _visible_source(library, context, source_id)
        call = library.sources.pause if body.paused else library.sources.resume
        return SourceResponse.of(call(source_id))

    return await limiter_of(request).run(context.principal, change)


@router.post("/{source_id}/sync", status_code=202, response_model=Started)
async def sync_source(request: Request, context: AdminContext, source_id: SourceId) -> JSONResponse:
    """Fetch what is new or changed, and remove what the source brought and no longer lists."""
    everywhere(context.principal, "admin")
    library = library_of(request)

    def start() -> JSONResponse:
        _visible_source(library, context, source_id)
        return JSONResponse(started(context, library.sources.start_sync(source_id)), 202)

    return await limiter_of(request).run(context.principal, start)


@router.delete("/{source_id}")
async def remove_source(
    request: Request,
    context: AdminContext,
    source_id: SourceId,
    documents: Annotated[
        bool, Query(description="Also remove the documents that it brought.")
    ] = False,
) -> SourceRemoved:
    """Forget a source. Its documents stay, as if they had been added by hand."""
    everywhere(context.principal, "admin")
    library = library_of(request)

    def remove() -> SourceRemoved:
        _visible_source(library, context, source_id)
        count = library.sources.remove(source_id, documents=documents)
        return SourceRemoved(removed=source_id, documents=count)

    return await limiter_of(request).run(context.principal, remove)


def _visible_source(library: Library, context: CollectionContext, source_id: int) -> SourceInfo:
    info = found(lambda: library.sources.get(source_id))
    if info.collection != context.name:
        raise Problem(404, f"there is no source {source_id}")
    return info
