"""Files in: uploads and the server's own folders; the jobs that read them, and their events."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from typing import Annotated, Any, BinaryIO

from fastapi import APIRouter, File, Request, UploadFile
from fastapi.responses import JSONResponse

from ragcore.api.access import AdminContext, CollectionContext, ReadContext, WriteContext
from ragcore.api.bodies import BoundedRoute
from ragcore.api.events import EVENT, EventStream, event
from ragcore.api.idempotency import IdempotencyKey, fingerprint, once
from ragcore.api.paging import cursor_at, offset_of
from ragcore.api.problems import Problem
from ragcore.api.routes.common import (
    PREFIX,
    Cursor,
    JobId,
    Limit,
    Responses,
    found,
    library_of,
    limiter_of,
    settings_of,
)
from ragcore.api.schemas import IngestRequest, JobList, JobResponse, Started
from ragcore.errors import UsageError
from ragcore.library import JobInfo, Library

router = APIRouter(
    route_class=BoundedRoute, prefix=f"{PREFIX}/collections/{{collection}}", tags=["ingest"]
)
EVENTS: Responses = {
    200: {
        "description": "Server-sent events, each with one JSON document.",
        "content": {"text/event-stream": {"schema": EVENT}},
    }
}
MOST_FILES = 1000
_LOOK_EVERY = 0.3  # seconds


@router.post("/uploads", status_code=202, response_model=Started)
async def upload(
    request: Request,
    context: WriteContext,
    files: Annotated[list[UploadFile], File(min_length=1, max_length=MOST_FILES)],
    idempotency_key: IdempotencyKey = None,
) -> JSONResponse:
    """Keep files on the server and ingest them in the background."""
    library = library_of(request)
    limit = settings_of(request).ui_upload_mb
    for one in files:
        if (one.size or 0) > limit * 2**20:
            raise Problem(413, f"a file is larger than {limit} MiB (setting ui_upload_mb)")
    given = [(one.filename or "file", one.file) for one in files]

    def make() -> tuple[int, dict[str, Any]]:
        job, paths = library.jobs.start_upload(given, collection=context.name)
        return 202, started(context, job, [path.name for path in paths])

    def run() -> JSONResponse:
        of = fingerprint("upload", context.id, [(name, _digest(file)) for name, file in given])
        return once(request, context.principal.owner, idempotency_key, of, make)

    return await limiter_of(request).run(context.principal, run)


@router.post("/ingests", status_code=202, response_model=Started)
async def ingest(
    request: Request,
    context: AdminContext,
    body: IngestRequest,
    idempotency_key: IdempotencyKey = None,
) -> JSONResponse:
    """Ingest files and folders of the server's own computer in the background."""
    library = library_of(request)
    if context.principal.key_id is not None and not settings_of(request).allowed_roots:
        raise Problem(403, "folders of the server may be ingested when allowed_roots names them")

    def make() -> tuple[int, dict[str, Any]]:
        library.documents.check_paths(body.paths)
        job = library.jobs.start_ingest(
            body.paths, collection=context.name, sync=body.sync, passwords=body.passwords
        )
        return 202, started(context, job)

    of = fingerprint("ingest", context.id, body.model_dump())
    return await limiter_of(request).run(
        context.principal,
        lambda: once(request, context.principal.owner, idempotency_key, of, make),
    )


@router.get("/jobs")
async def list_jobs(
    request: Request, context: ReadContext, limit: Limit = 20, cursor: Cursor = None
) -> JobList:
    """The collection's jobs, newest first."""
    offset = offset_of(cursor)
    library = library_of(request)

    def look() -> JobList:
        rows = library.jobs.recent(
            limit + 1, collection=context.name, since=context.created_at, offset=offset
        )
        return JobList(
            items=[JobResponse.of(row) for row in rows[:limit]],
            next_cursor=cursor_at(offset + limit) if len(rows) > limit else None,
        )

    return await limiter_of(request).run(context.principal, look)


@router.get("/jobs/{job_id}")
async def get_job(request: Request, context: ReadContext, job_id: JobId) -> JobResponse:
    """One job as it stands."""
    library = library_of(request)
    return await limiter_of(request).run(
        context.principal, lambda: JobResponse.of(_visible_job(library, context, job_id))
    )


@router.post("/jobs/{job_id}/cancel", status_code=202)
async def cancel_job(request: Request, context: WriteContext, job_id: JobId) -> JobResponse:
    """Ask a job to stop after the batch at hand. What was stored is kept."""
    library = library_of(request)

    def cancel() -> JobResponse:
        _visible_job(library, context, job_id)
        library.jobs.cancel(job_id)
        return JobResponse.of(library.jobs.get(job_id))

    return await limiter_of(request).run(context.principal, cancel)


@router.post("/jobs/{job_id}/resume", status_code=202, response_model=Started)
async def resume_job(
    request: Request, context: WriteContext, job_id: JobId, idempotency_key: IdempotencyKey = None
) -> JSONResponse:
    """Start an interrupted, failed or cancelled job again, as a new one."""
    library = library_of(request)

    def make() -> tuple[int, dict[str, Any]]:
        _visible_job(library, context, job_id)
        try:
            job = library.jobs.resume(job_id)
        except UsageError as error:
            raise Problem(409, str(error)) from None
        return 202, started(context, job)

    of = fingerprint("resume", context.id, job_id)
    return await limiter_of(request).run(
        context.principal,
        lambda: once(request, context.principal.owner, idempotency_key, of, make),
    )


@router.get("/jobs/{job_id}/events", status_code=200, response_class=EventStream, responses=EVENTS)
async def job_events(request: Request, context: ReadContext, job_id: JobId) -> EventStream:
    """`progress` whenever the job has moved on, and `end` once it is over.

    Each event has the whole job, so that one who comes late or again misses nothing.
    """
    library = library_of(request)
    limiter = limiter_of(request)
    first = await limiter.run(context.principal, lambda: _visible_job(library, context, job_id))

    async def events() -> AsyncIterator[str]:
        job, reported = first, None
        while not limiter.stopping:
            if job.updated_at != reported or not job.running:
                reported = job.updated_at
                name = "progress" if job.running else "end"
                yield event(name, JobResponse.of(job).model_dump(mode="json"))
            if not job.running:
                return
            await asyncio.sleep(_LOOK_EVERY)
            job = await limiter.quick(library.jobs.get, job_id)

    return EventStream(events())


def _visible_job(library: Library, context: CollectionContext, job_id: int) -> JobInfo:
    job = found(lambda: library.jobs.get(job_id))
    # A job remembers its collection's name: one of a deleted namesake is not of this one.
    if job.collection != context.name or job.created_at < context.created_at:
        raise Problem(404, f"there is no job {job_id}")
    return job


def started(context: CollectionContext, job: int, files: list[str] | None = None) -> dict[str, Any]:
    """The body of an answer with status 202."""
    location = f"{PREFIX}/collections/{context.name}/jobs/{job}"
    return {"job": job, "location": location, "files": files or []}


def _digest(file: BinaryIO) -> str:
    file.seek(0)
    digest = hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]
    file.seek(0)
    return digest
