"""Work that outlives the page that started it."""

from __future__ import annotations

import itertools
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from ragcore.catalog import Catalog
from ragcore.errors import Cancelled, RagcoreError, UsageError
from ragcore.ingest.jobs import JobRunner
from ragcore.settings import Settings
from ragcore.types import CancelToken, Progress, ProgressCallback
from tests.waiting import wait_until


@pytest.fixture
def catalog(settings: Settings) -> Iterator[Catalog]:
    opened = Catalog(settings.catalog_url)
    yield opened
    opened.close()


@pytest.fixture
def jobs(catalog: Catalog) -> Iterator[JobRunner]:
    made = JobRunner(catalog)
    yield made
    made.close(timeout=60)


def until_cancelled(progress: ProgressCallback, cancel: CancelToken) -> dict[str, Any]:
    """Work that ends only when it is stopped."""
    steps = itertools.count()

    def stopped() -> bool:
        done = next(steps)
        progress(Progress("read", done, 10_000, current=f"/{done}"))
        return cancel.cancelled

    wait_until(stopped, "the cancel")
    raise Cancelled("stopped")


def test_job_that_ends_well_leaves_its_report(jobs: JobRunner) -> None:
    def work(progress: ProgressCallback, cancel: CancelToken) -> dict[str, Any]:
        progress(Progress("done", 3, 3))
        return {"added": 3}

    job = jobs.start("ingest", "papers", {"paths": ["/x"]}, work)
    info = jobs.wait(job, 120)
    assert (info.state, info.report, info.error) == ("done", {"added": 3}, "")
    assert (info.request, info.collection) == ({"paths": ["/x"]}, "papers")
    assert info.progress["stage"] == "done"
    assert info.finished_at is not None
    assert info.finished_at >= info.created_at


@pytest.mark.parametrize(
    ("error", "shown"),
    [
        (RagcoreError("no room on the disk"), "no room on the disk"),
        (KeyError("x"), "KeyError: 'x'"),
    ],
)
def test_job_that_fails_says_why(jobs: JobRunner, error: Exception, shown: str) -> None:
    def work(_progress: ProgressCallback, _cancel: CancelToken) -> dict[str, Any]:
        raise error

    info = jobs.wait(jobs.start("ingest", "", {}, work), 20)
    assert (info.state, info.error) == ("failed", shown)


def test_progress_can_be_read_while_it_runs(jobs: JobRunner) -> None:
    job = jobs.start("ingest", "", {}, until_cancelled)
    wait_until(lambda: jobs.get(job).progress.get("done", 0) > 0)
    assert jobs.get(job).running
    jobs.cancel(job)
    assert jobs.wait(job, 120).state == "cancelled"


def test_another_process_can_cancel(catalog: Catalog, jobs: JobRunner) -> None:
    job = jobs.start("ingest", "", {}, until_cancelled)
    other = JobRunner(catalog)  # knows nothing of the thread, as in another process
    other.cancel(job)
    assert jobs.wait(job, 120).state == "cancelled"


def test_report_that_says_cancelled_is_a_cancelled_job(jobs: JobRunner) -> None:
    job = jobs.start("ingest", "", {}, lambda _progress, _cancel: {"cancelled": True})
    assert jobs.wait(job, 120).state == "cancelled"


def test_closing_interrupts_but_a_persons_cancel_stays_one(catalog: Catalog) -> None:
    jobs = JobRunner(catalog)
    left, cancelled = (jobs.start("ingest", "", {}, until_cancelled) for _ in range(2))
    jobs.cancel(cancelled)
    jobs.wait(cancelled, 120)
    jobs.close(timeout=120)
    assert jobs.get(left).state == "interrupted"
    assert jobs.get(cancelled).state == "cancelled"


def test_job_of_a_killed_process_is_found_interrupted(settings: Settings, jobs: JobRunner) -> None:
    program = f"""
import threading
from ragcore.catalog import Catalog
from ragcore.ingest.jobs import JobRunner
never = threading.Event()
catalog = Catalog({settings.catalog_url!r})
JobRunner(catalog).start("ingest", "papers", {{"paths": []}}, lambda p, c: never.wait())
print("started", flush=True)
never.wait()
"""
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    [info] = jobs.recent()
    assert info.running, "its process is alive"
    process.kill()
    process.wait()
    process.stdout.close()
    [info] = jobs.recent()
    assert info.state == "interrupted"
    assert jobs.supersede(info.id)
    assert not jobs.supersede(info.id), "of two who resume it, one starts the new job"


def test_new_jobs_are_never_taken_for_dead_ones(jobs: JobRunner) -> None:
    stop = threading.Event()
    wrong: list[str] = []

    def look() -> None:
        while not stop.is_set():
            wrong.extend(job.state for job in jobs.recent() if job.state == "interrupted")

    watcher = threading.Thread(target=look)
    watcher.start()
    for _ in range(30):
        jobs.start("ingest", "", {}, lambda _progress, _cancel: {})
    stop.set()
    watcher.join()
    assert wrong == []


def test_recent_jobs_come_newest_first(jobs: JobRunner) -> None:
    started = [jobs.start(kind, "", {}, lambda _p, _c: {}) for kind in ("a", "b", "a")]
    for job in started:
        jobs.wait(job, 120)
    assert [job.id for job in jobs.recent()] == started[::-1]
    assert [job.id for job in jobs.recent(kind="a")] == [started[2], started[0]]
    assert len(jobs.recent(1)) == 1


def test_unknown_job_is_a_usage_error(jobs: JobRunner) -> None:
    with pytest.raises(UsageError, match="there is no job 7"):
        jobs.get(7)
    assert not jobs.supersede(7)


def test_a_third_job_waits_for_its_turn_and_can_be_cancelled_there(jobs: JobRunner) -> None:
    begun: list[int] = []

    def work(progress: ProgressCallback, cancel: CancelToken) -> dict[str, Any]:
        with jobs.turn(progress, cancel):
            begun.append(1)
            return until_cancelled(progress, cancel)

    first, second = (jobs.start("ingest", "", {}, work) for _ in range(2))
    wait_until(lambda: len(begun) == 2)
    third, fourth = (jobs.start("ingest", "", {}, work) for _ in range(2))
    wait_until(lambda: jobs.get(third).progress.get("stage") == "wait")
    jobs.cancel(third)
    assert jobs.wait(third, 120).state == "cancelled"
    assert len(begun) == 2
    jobs.cancel(first)
    wait_until(lambda: len(begun) == 3)
    for job in (second, fourth):
        jobs.cancel(job)
        assert jobs.wait(job, 120).state == "cancelled"
