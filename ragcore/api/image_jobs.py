"""Images being made in the background: kept in memory until an hour after they are done."""

from __future__ import annotations

import asyncio
import datetime as dt
import secrets
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, aclosing, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ragcore.api.accounts_watch import AccountsWatch
from ragcore.api.problems import Problem, problem_of
from ragcore.api.work_limiter import WorkLimiter
from ragcore.errors import Cancelled
from ragcore.library import Principal
from ragcore.types import CancelToken

if TYPE_CHECKING:
    from ragcore.library import Imagined, ImagineStep

KEPT_SECONDS = 3600.0
MOST_OF_ONE = 16  # unfinished, of one principal
MOST_KEPT = 400  # of all; the oldest that are done make room
Make = Callable[[CancelToken], "Iterator[ImagineStep | Imagined]"]


@dataclass
class ImageJob:
    """One request on its way. Written by its task only; `changes` counts what happened."""

    id: str
    owner: str
    total: int
    cost: float = 0.0  # steps times images times megapixels
    state: str = "queued"  # running, done, failed, cancelled
    step: int = 0
    preview: Any = field(default=None, repr=False)  # RGB uint8 [n, h, w, 3] of the newest preview
    preview_step: int = 0
    result: Imagined | None = field(default=None, repr=False)
    error: str = ""
    changes: int = 0
    created_at: dt.datetime = field(default_factory=lambda: dt.datetime.now(dt.UTC))
    ended: float = 0.0  # on the monotonic clock
    task: asyncio.Task[None] | None = field(default=None, repr=False)

    @property
    def running(self) -> bool:
        return self.state in ("queued", "running")


class ImageJobs:
    """The jobs of one server. All calls come from its event loop."""

    def __init__(
        self, limiter: WorkLimiter, watch: AccountsWatch | None = None, *, most_cost: float
    ) -> None:
        """`most_cost`.

        What the unfinished jobs of one owner may cost together, in steps times images times
        megapixels.
        """
        self._limiter = limiter
        self._watch = watch
        self._most_cost = most_cost
        self._jobs: dict[str, ImageJob] = {}

    def wait_seconds(self) -> int:
        """About how long a job that is started now waits for its turn."""
        return self._limiter.wait_seconds("image")

    def start(self, principal: Principal, steps: int, cost: float, make: Make) -> ImageJob:
        """Begin to make images.

        Raises Problem 400 for one job that costs too much, 429 or 503 where too many are
        unfinished.
        """
        if cost > self._most_cost:
            raise Problem(
                400,
                f"this takes {cost:.0f} steps x images x megapixels, at most {self._most_cost:g} "
                "are allowed (setting max_image_cost): use fewer steps, fewer or smaller images",
            )
        self._tidy()
        unfinished = [job for job in self._jobs.values() if job.running]
        if sum(job.owner == principal.owner for job in unfinished) >= MOST_OF_ONE:
            detail = f"{MOST_OF_ONE} images of yours are not finished; wait, or cancel some"
            raise Problem(429, detail, headers=self._later())
        if sum(job.cost for job in unfinished if job.owner == principal.owner) + cost > (
            self._most_cost
        ):
            detail = "your unfinished images cost all that one key may use; wait, or cancel some"
            raise Problem(429, detail, headers=self._later())
        if len(self._jobs) >= MOST_KEPT:
            detail = "too many images are being made already; try again"
            raise Problem(503, detail, headers=self._later())
        job = ImageJob(secrets.token_hex(8), principal.owner, steps, cost)
        self._jobs[job.id] = job
        job.task = asyncio.create_task(self._run(job, principal, make))
        return job

    def _later(self) -> dict[str, str]:
        return {"Retry-After": str(self.wait_seconds())}

    def get(self, principal: Principal, job_id: str) -> ImageJob:
        """Raises Problem 404, the same for jobs of others."""
        self._tidy()
        job = self._jobs.get(job_id)
        if job is None or job.owner != principal.owner:
            raise Problem(404, f"there are no images {job_id}")
        return job

    def of(self, principal: Principal) -> list[ImageJob]:
        """This principal's, newest first."""
        self._tidy()
        return [job for job in reversed(self._jobs.values()) if job.owner == principal.owner]

    def cancel(self, job: ImageJob) -> None:
        """Stop between two steps."""
        if job.task is not None and job.running:
            job.task.cancel()

    def forget(self, job: ImageJob) -> None:
        self.cancel(job)
        self._jobs.pop(job.id, None)

    async def _run(self, job: ImageJob, principal: Principal, make: Make) -> None:
        events: AsyncIterator[Any] = self._limiter.stream(principal, make, kind="image")
        watched: AbstractContextManager[None] = nullcontext()
        if self._watch is not None and principal.key_id is not None:
            watched = self._watch.ending(principal.key_id, lambda: self.cancel(job))
        try:
            with watched:
                async with aclosing(events):  # type: ignore[type-var]  # an asynchronous generator
                    async for event in events:
                        self._took(job, event)
            job.state = "done"
        except (asyncio.CancelledError, Cancelled):
            job.state = "cancelled"
        except Exception as error:
            job.state, job.error = "failed", problem_of(error).detail
        finally:
            job.ended, job.changes, job.task = time.monotonic(), job.changes + 1, None
            job.preview = None

    @staticmethod
    def _took(job: ImageJob, event: Any) -> None:
        job.changes += 1
        job.state = "running"
        if hasattr(event, "images"):
            job.result = event
            return
        job.step, job.total = event.number, event.total
        if event.preview is not None:
            job.preview, job.preview_step = event.preview, event.number

    def _tidy(self) -> None:
        """Forget what was done long ago, and the oldest that is done where there are too many."""
        now = time.monotonic()
        done = [job for job in self._jobs.values() if not job.running]
        for job in done:
            if now - job.ended > KEPT_SECONDS or len(self._jobs) >= MOST_KEPT:
                self._jobs.pop(job.id, None)
