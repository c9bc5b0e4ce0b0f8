"""Long work that outlives the page that started it: rows in the catalog, threads here.

A job's row is its memory: what was asked, how far it is, how it ended. A job whose process is
gone is found `interrupted` and can be started again; ingest itself knows what is done already.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from contextvars import copy_context
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

import psutil
from sqlalchemy import ColumnElement, and_, false, func, or_, select, update
from sqlalchemy.orm import Session

from ragcore.access import is_live
from ragcore.catalog import Catalog, Job, now, permits
from ragcore.errors import (
    Cancelled,
    DatabaseUnavailable,
    RagcoreError,
    StorageUnavailable,
    UsageError,
)
from ragcore.logs import about, fields
from ragcore.types import CancelToken, Progress, ProgressCallback

log = logging.getLogger(__name__)

_SAVE_EVERY = 0.5  # seconds between two writes of a job's progress
MOST_AT_ONCE = 2  # ingests of one process: each has readers of its own
Work = Callable[[ProgressCallback, CancelToken], dict[str, Any]]


@dataclass(frozen=True, slots=True)
class JobInfo:
    """A job as it stands. `progress` has the fields of `ragcore.types.Progress`."""

    id: int
    kind: str
    collection: str
    state: str  # running, done, failed, cancelled, interrupted, resumed (see report "resumed_as")
    request: dict[str, Any]
    progress: dict[str, Any]
    report: dict[str, Any]
    error: str
    created_at: datetime
    updated_at: datetime
    finished_at: datetime | None = field(default=None)
    stopping: bool = False  # asked to cancel, and not there yet
    key_id: int | None = None  # the account that started it

    @property
    def running(self) -> bool:
        return self.state == "running"


class JobRunner:
    """The jobs of one catalog, some of them running in this process."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._threads: dict[int, tuple[threading.Thread, CancelToken]] = {}
        self._lock = threading.Lock()
        self._turns = threading.BoundedSemaphore(MOST_AT_ONCE)

    def start(self, kind: str, collection: str, request: dict[str, Any], work: Work) -> int:
        """Run `work` in a thread of this process; return the job's id at once."""
        token = CancelToken()
        row = Job(
            kind=kind,
            collection=collection,
            request=request,
            process=_this_process(),
            key_id=permits.account(),
        )
        with self._lock:  # nobody may find the row before its thread is known
            with self._catalog.write() as session:
                session.add(row)
                session.flush()
                job_id = row.id
            thread = threading.Thread(
                target=copy_context().run,  # who may see what goes with it
                args=(self._run, job_id, kind, work, token),
                name=f"ragcore-job-{job_id}",
                daemon=True,
            )
            self._threads[job_id] = (thread, token)
        thread.start()
        return job_id

    def get(self, job_id: int) -> JobInfo:
        """Raises UsageError if there is no such job."""
        self._mark_interrupted()
        with self._catalog.read() as session:
            row = session.scalar(select(Job).where(Job.id == job_id, *self._visible()))
        if row is None:
            raise UsageError(f"there is no job {job_id}")
        return _info(row)

    def recent(
        self,
        limit: int = 20,
        *,
        kind: str | None = None,
        collection: str | None = None,
        since: datetime | None = None,
        offset: int = 0,
    ) -> Sequence[JobInfo]:
        """Newest first, those made before `since` left out."""
        self._mark_interrupted()
        query = (
            select(Job).where(*self._visible()).order_by(Job.id.desc()).limit(limit).offset(offset)
        )
        if kind is not None:
            query = query.where(Job.kind == kind)
        if collection is not None:
            query = query.where(Job.collection == collection)
        if since is not None:
            query = query.where(Job.created_at >= since)
        with self._catalog.read() as session:
            return [_info(row) for row in session.scalars(query)]

    def counts(self) -> dict[tuple[str, str], int]:
        """Number of jobs by (kind, state)."""
        self._mark_interrupted()
        query = select(Job.kind, Job.state, func.count()).where(*self._visible())
        with self._catalog.read() as session:
            rows = session.execute(query.group_by(Job.kind, Job.state)).all()
        return {(kind, state): count for kind, state, count in rows}

    def cancel(self, job_id: int) -> None:
        """Ask a job to stop, also one of another process. Raises UsageError if there is none."""
        self.get(job_id)
        with self._catalog.write() as session:
            session.execute(update(Job).where(Job.id == job_id).values(cancel_requested=True))
        with self._lock:
            if job_id in self._threads:
                self._threads[job_id][1].cancel()

    def supersede(self, job_id: int) -> bool:
        """Mark a job that is over as `resumed`, before another is started in its place.

        False if it was marked already: of two who try, one starts the new job.
        """
        with self._catalog.write() as session:
            row = session.get(Job, job_id)
            if row is None or row.state not in ("interrupted", "failed", "cancelled"):
                return False
            row.state, row.updated_at = "resumed", now()
            return True

    @contextmanager
    def turn(self, progress: ProgressCallback, cancel: CancelToken) -> Iterator[None]:
        """Within it, few jobs of this process are at work; others wait. Raises Cancelled."""
        while not self._turns.acquire(timeout=_SAVE_EVERY):
            progress(Progress("wait", 0, 0))  # also looks whether another process cancels it
            if cancel.cancelled:
                raise Cancelled("the job was cancelled before its turn")
        try:
            yield
        finally:
            self._turns.release()

    def wait(self, job_id: int, timeout: float | None = None) -> JobInfo:
        """Wait for a job of this process to end."""
        with self._lock:
            running = self._threads.get(job_id)
        if running is not None:
            running[0].join(timeout)
        return self.get(job_id)

    def close(self, timeout: float = 30) -> None:
        """Cancel what runs in this process; such jobs stay `interrupted`, to be resumed."""
        with self._lock:
            running = dict(self._threads)
        for thread, token in running.values():
            token.cancel()
            thread.join(timeout)
        if not running:
            return
        with suppress(StorageUnavailable), self._catalog.write() as session:
            session.execute(
                update(Job)
                .where(Job.id.in_(running), Job.state == "cancelled", ~Job.cancel_requested)
                .values(state="interrupted")
            )

    def _run(self, job_id: int, kind: str, work: Work, token: CancelToken) -> None:
        with about(job_id=job_id, job=kind):
            self._work(job_id, work, token)

    def _work(self, job_id: int, work: Work, token: CancelToken) -> None:
        saved = 0.0

        def progress(step: Progress) -> None:
            nonlocal saved
            if time.monotonic() - saved < _SAVE_EVERY and step.stage not in ("store", "done"):
                return
            saved = time.monotonic()
            if self._catalog.commit(lambda session: _note(session, job_id, step)):
                token.cancel()

        state, error, report = "done", "", {}
        began = time.monotonic()
        try:
            log.info("job begins")
            report = work(progress, token)
            if report.get("cancelled"):
                state = "cancelled"
        except Cancelled:
            state = "cancelled"
        except RagcoreError as reason:
            state, error = "failed", str(reason)
        except Exception as reason:  # a job's thread has no caller to report to
            state, error = "failed", f"{type(reason).__name__}: {reason}"
            log.exception("job broke off")
        extra = fields(state=state, seconds=round(time.monotonic() - began, 2))
        log.log(logging.WARNING if error else logging.INFO, "job ends %s", error, extra=extra)
        try:
            self._catalog.commit(lambda session: _end(session, job_id, state, error, report))
        except (DatabaseUnavailable, StorageUnavailable) as reason:  # it is found interrupted
            log.error("the end of job %d (%s) could not be kept: %s", job_id, state, reason)
        finally:
            with self._lock:
                self._threads.pop(job_id, None)

    def _visible(self) -> list[ColumnElement[bool]]:
        """What narrows jobs to those of collections that may be seen."""
        if permits.sees_everything():
            return []
        # A job remembers its collection's name: one of a deleted namesake is not of the new one.
        return [
            or_(
                false(),
                *(
                    and_(Job.collection == row.name, Job.created_at >= row.created_at)
                    for row in self._catalog.collections()
                ),
            )
        ]

    def _mark_interrupted(self) -> None:
        """Find jobs that say `running` though their process is gone."""
        with self._catalog.read() as session:
            rows = session.execute(select(Job.id, Job.process).where(Job.state == "running")).all()
        dead = [job_id for job_id, process in rows if not self._is_alive(job_id, process)]
        if dead:
            with suppress(StorageUnavailable), self._catalog.write() as session:
                session.execute(
                    update(Job)
                    .where(Job.id.in_(dead), Job.state == "running")
                    .values(state="interrupted", finished_at=now())
                )

    def _is_alive(self, job_id: int, process: str) -> bool:
        if process == _this_process():
            with self._lock:
                return job_id in self._threads
        host, pid, started = process.rsplit(":", 2)
        if host != socket.gethostname():
            return True  # only that machine knows
        try:
            return f"{psutil.Process(int(pid)).create_time():.2f}" == started
        except psutil.Error:
            return False


def _note(session: Session, job_id: int, step: Progress) -> bool:
    """Keep how far a job is.

    Return whether it must stop: it was asked to, or the account that it is done for is over.
    """
    row = session.get_one(Job, job_id)
    row.progress, row.updated_at = asdict(step), now()
    if not row.cancel_requested and not is_live(session, row.key_id):
        row.cancel_requested = True
    return row.cancel_requested


def _end(session: Session, job_id: int, state: str, error: str, report: dict[str, Any]) -> None:
    row = session.get_one(Job, job_id)
    row.state, row.error, row.report = state, error, report
    row.updated_at = row.finished_at = now()


def _this_process() -> str:
    started = psutil.Process().create_time()
    return f"{socket.gethostname()}:{os.getpid()}:{started:.2f}"


def _info(row: Job) -> JobInfo:
    return JobInfo(
        id=row.id,
        kind=row.kind,
        collection=row.collection,
        state=row.state,
        request=row.request,
        progress=row.progress,
        report=row.report,
        error=row.error,
        created_at=row.created_at,
        updated_at=row.updated_at,
        finished_at=row.finished_at,
        stopping=row.state == "running" and row.cancel_requested,
        key_id=row.key_id,
    )
