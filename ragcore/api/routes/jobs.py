"""Files in: uploads and the server's own folders; the jobs that read them, and their events."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from typing import Annotated, Any, BinaryIO

from fastapi import APIRouter, File, Request, UploadFile
from fastapi.responses import JSONResponse

from ragcore.api.access import AdminHere, Here, ReaderHere, WriterHere
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
    settings_of,
    work_of,
)
from ragcore.api.shapes import IngestRequest, JobList, JobShape, Started
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
    here: WriterHere,
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
        job, paths = library.jobs.start_upload(given, collection=here.name)
        return 202, started(here, job, [path.name for path in paths])

    def run() -> JSONResponse:
        of = fingerprint("upload", here.id, [(name, _digest(file)) for name, file in given])
        return once(request, here.principal.owner, idempotency_key, of, make)

    return await work_of(request).run(here.principal, run)


@router.post("/ingests", status_code=202, response_model=Started)
async def ingest(
    request: Request, here: AdminHere, body: IngestRequest, idempotency_key: IdempotencyKey = None
) -> JSONResponse:
    """Ingest files and folders of the server's own computer in the background."""
    library = library_of(request)
    if here.principal.key_id is not None and not settings_of(request).allowed_roots:
        raise Problem(403, "folders of the server may be ingested when allowed_roots names them")

    def make() -> tuple[int, dict[str, Any]]:
        library.documents.check_paths(body.paths)
        job = library.jobs.start_ingest(
            body.paths, collection=here.name, sync=body.sync, passwords=body.passwords
        )
        return 202, started(here, job)

    of = fingerprint("ingest", here.id, body.model_dump())
    return await work_of(request).run(
        here.principal,
        lambda: once(request, here.principal.owner, idempotency_key, of, make),
    )


@router.get("/jobs")
async def list_jobs(
    request: Request, here: ReaderHere, limit: Limit = 20, cursor: Cursor = None
) -> JobList:
    """The collection's jobs, newest first."""
    offset = offset_of(cursor)
    library = library_of(request)

    def look() -> JobList:
        rows = library.jobs.recent(
            limit + 1, collection=here.name, since=here.created_at, offset=offset
        )
        return JobList(
            items=[JobShape.of(row) for row in rows[:limit]],
            next_cursor=cursor_at(offset + limit) if len(rows) > limit else None,
        )

    return await work_of(request).run(here.principal, look)


@router.get("/jobs/{job_id}")
async def get_job(request: Request, here: ReaderHere, job_id: JobId) -> JobShape:
    """One job as it stands."""
    library = library_of(request)
    return await work_of(request).run(
        here.principal, lambda: JobShape.of(_job_here(library, here, job_id))
    )


@router.post("/jobs/{job_id}/cancel", status_code=202)
async def cancel_job(request: Request, here: WriterHere, job_id: JobId) -> JobShape:
    """Ask a job to stop after the batch at hand. What was stored is kept."""
    library = library_of(request)

    def cancel() -> JobShape:
        _job_here(library, here, job_id)
        library.jobs.cancel(job_id)
        return JobShape.of(library.jobs.get(job_id))

    return await work_of(request).run(here.principal, cancel)


@router.post("/jobs/{job_id}/resume", status_code=202, response_model=Started)
async def resume_job(
    request: Request, here: WriterHere, job_id: JobId, idempotency_key: IdempotencyKey = None
) -> JSONResponse:
    """Start an interrupted, failed or cancelled job again, as a new one."""
    library = library_of(request)

    def make() -> tuple[int, dict[str, Any]]:
        _job_here(library, here, job_id)
        try:
            job = library.jobs.resume(job_id)
        except UsageError as error:
            raise Problem(409, str(error)) from None
        return 202, started(here, job)

    of = fingerprint("resume", here.id, job_id)
    return await work_of(request).run(
        here.principal,
        lambda: once(request, here.principal.owner, idempotency_key, of, make),
    )


@router.get("/jobs/{job_id}/events", status_code=200, response_class=EventStream, responses=EVENTS)
async def job_events(request: Request, here: ReaderHere, job_id: JobId) -> EventStream:
    """`progress` whenever the job has moved on, and `end` once it is over. Each event has the
    whole job, so that one who comes late or again misses nothing."""
    library = library_of(request)
    work = work_of(request)
    first = await work.run(here.principal, lambda: _job_here(library, here, job_id))

    async def events() -> AsyncIterator[str]:
        job, told = first, None
        while not work.stopping:
            if job.updated_at != told or not job.running:
                told = job.updated_at
                name = "progress" if job.running else "end"
                yield event(name, JobShape.of(job).model_dump(mode="json"))
            if not job.running:
                return
            await asyncio.sleep(_LOOK_EVERY)
            job = await work.quick(library.jobs.get, job_id)

    return EventStream(events())


def _job_here(library: Library, here: Here, job_id: int) -> JobInfo:
    job = found(lambda: library.jobs.get(job_id))
    # A job remembers its collection's name: one of a deleted namesake is not of this one.
    if job.collection != here.name or job.created_at < here.created_at:
        raise Problem(404, f"there is no job {job_id}")
    return job


def started(here: Here, job: int, files: list[str] | None = None) -> dict[str, Any]:
    """The body of an answer with status 202."""
    location = f"{PREFIX}/collections/{here.name}/jobs/{job}"
    return {"job": job, "location": location, "files": files or []}


def _digest(file: BinaryIO) -> str:
    file.seek(0)
    digest = hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]
    file.seek(0)
    return digest
