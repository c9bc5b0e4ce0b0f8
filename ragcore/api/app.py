"""The ASGI application: routes, middleware, and what lives as long as the server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import cache

from fastapi import FastAPI

from ragcore import __version__
from ragcore.api import problems
from ragcore.api.accounts_watch import AccountsWatch
from ragcore.api.description import describe
from ragcore.api.image_jobs import ImageJobs
from ragcore.api.limits import RateLimit
from ragcore.api.metrics import Metrics
from ragcore.api.middleware import AuthenticationMiddleware, RequestMiddleware
from ragcore.api.routes import (
    albums,
    classifiers,
    collections,
    documents,
    images,
    imagine,
    jobs,
    models,
    openai,
    openai_audio,
    openai_files,
    openai_images,
    openai_rerank,
    openai_responses,
    openai_stores,
    search,
    seeing,
    sources,
    system,
    trash,
)
from ragcore.api.work_limiter import WorkLimiter
from ragcore.library import Library, SourceSchedule

LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1")
ROUTERS = (
    collections, documents, trash, images, albums, jobs, sources, search, seeing, classifiers,
    models, openai, openai_audio, openai_files, openai_images, openai_rerank, openai_responses,
    openai_stores, imagine, system,
)  # fmt: skip


def create_app(
    library: Library,
    *,
    keys_needed: bool = True,
    hosts: Sequence[str] = LOOPBACK_NAMES,
    prepare: bool = True,
) -> FastAPI:
    """An application over `library`, which is closed with it.

    Without `keys_needed` everybody who can reach it may do everything, under one of the names
    `hosts` only: for servers that listen to their own computer. `prepare` loads the models at
    the start and goes on with ingests that an earlier server left.
    """
    settings = library.admin.settings
    limiter = WorkLimiter(most_waiting=settings.api_waiting, longest_wait=settings.api_longest_wait)
    metrics = Metrics()
    audit = library.admin.audit if keys_needed else None
    keys = library.admin.keys if keys_needed else None
    watch = AccountsWatch(keys, limiter) if keys is not None else None
    app = FastAPI(
        title="ragcore",
        version=__version__,
        lifespan=_lifespan(library, limiter, watch, prepare=prepare),
        openapi_url="/api/v1/openapi.json",
        docs_url=None,  # its page would be loaded from elsewhere
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.library, app.state.limiter, app.state.metrics = library, limiter, metrics
    app.state.settings = settings
    app.state.images = ImageJobs(limiter, watch, most_cost=settings.max_image_cost)
    problems.install(app)
    for module in ROUTERS:
        app.include_router(module.router)
    app.add_middleware(
        AuthenticationMiddleware,
        keys=keys,
        hosts=hosts,
        rate=RateLimit(settings.api_rate if keys_needed else 0),
        limiter=limiter,
        watch=watch,
    )
    app.add_middleware(RequestMiddleware, metrics=metrics, audit=audit)

    described = cache(lambda: describe(app, keys_needed=keys_needed))
    app.openapi = described  # type: ignore[method-assign]  # FastAPI's own way of changing it
    return app


def _lifespan(
    library: Library, limiter: WorkLimiter, watch: AccountsWatch | None, *, prepare: bool
) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    """What lives as long as the server: models, sources on a schedule, the watch on accounts."""
    schedule = SourceSchedule(library.sources)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        if prepare:
            await asyncio.to_thread(library.jobs.resume_interrupted)
            library.models.prepare()
            schedule.start()
        watching = asyncio.create_task(watch.run()) if watch is not None else None
        try:
            yield
        finally:
            if watching is not None:
                watching.cancel()
            limiter.cancel()
            await asyncio.to_thread(schedule.stop)
            await asyncio.to_thread(library.close)

    return lifespan
