"""Work in the background: started, followed, cancelled, resumed."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO

from ragcore.access import is_live
from ragcore.catalog import DEFAULT_COLLECTION, Permit, permits
from ragcore.errors import UsageError
from ragcore.files import remove_strays, strays
from ragcore.ingest import JobInfo, Work
from ragcore.library.classifiers import Classifiers, check_may_replace
from ragcore.library.core import Core
from ragcore.library.images import Images
from ragcore.library.ingesting import check_may_read, ingest, reembed
from ragcore.library.labels import Labels
from ragcore.library.samples import SAMPLE, copy_documents
from ragcore.library.scopes import scoped
from ragcore.library.sources import SYNC_JOB, Sources
from ragcore.library.training import Training
from ragcore.types import CancelToken, ProgressCallback

log = logging.getLogger(__name__)

_ATTEMPTS = 3  # starts of an ingest that is resumed without being asked


@scoped
class Jobs:
    """Long work of a collection, in threads of this process.

    Each `start_…` returns the job's number at once.

    Raises UsageError for an unknown job or collection.
    """

    def __init__(self, core: Core, permit: Permit | None = None) -> None:
        self._core, self._permit = core, permit

    def get(self, job_id: int) -> JobInfo:
        """A job as it stands."""
        return _shown(self._core.jobs.get(job_id))

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
        found = self._core.jobs.recent(
            limit, kind=kind, collection=collection, since=since, offset=offset
        )
        return [_shown(job) for job in found]

    def counts(self) -> dict[tuple[str, str], int]:
        """Number of jobs by (kind, state)."""
        return self._core.jobs.counts()

    def wait(self, job_id: int, timeout: float | None = None) -> JobInfo:
        """Wait for a job of this process to end, at most `timeout` seconds."""
        return _shown(self._core.jobs.wait(job_id, timeout))

    def cancel(self, job_id: int) -> None:
        """Ask a job to stop, also one of another process."""
        self._core.jobs.cancel(job_id)

    # --- starting ----------------------------------------------------------------

    def start(self, kind: str, collection: str, request: dict[str, Any], work: Work) -> int:
        """Any `work(progress, cancel)`, which returns the job's report.

        See `resume` for which kinds can be resumed.
        """
        return self._core.jobs.start(kind, collection, request, work)

    def start_ingest(
        self,
        paths: Iterable[str | Path],
        *,
        collection: str = DEFAULT_COLLECTION,
        sync: bool = False,
        passwords: Sequence[str] = (),
        attempt: int = 1,
    ) -> int:
        """`Library.ingest` in the background.

        `attempt` counts how often it was started. Passwords are not written to the catalog: a
        resumed job asks for them again.
        """
        names = [str(path) for path in paths]
        check_may_read(self._core, names, collection)
        return self._start_ingest(names, collection, sync, passwords, attempt)

    def _start_ingest(
        self,
        names: Sequence[str],
        collection: str,
        sync: bool = False,
        passwords: Sequence[str] = (),
        attempt: int = 1,
        after: str = "",
    ) -> int:
        self._core.catalog.create_collection(collection, exist_ok=True)

        def work(progress: ProgressCallback, cancel: CancelToken) -> dict[str, Any]:
            with self._core.jobs.turn(progress, cancel):
                report = ingest(
                    self._core,
                    names,
                    collection=collection,
                    sync=sync,
                    passwords=passwords,
                    progress=progress,
                    cancel=cancel,
                )
            if report.added or report.updated or report.removed:
                self._draw_maps(collection)
            return asdict(report)

        request = {"paths": list(names), "sync": sync, "attempt": attempt, "after": after}
        return self._core.jobs.start("ingest", collection, request, work)

    def start_upload(
        self,
        files: Sequence[tuple[str, BinaryIO]],
        *,
        collection: str = DEFAULT_COLLECTION,
        passwords: Sequence[str] = (),
    ) -> tuple[int, Sequence[Path]]:
        """Store files given as (name, open file) and ingest them.

        Return the job's number and the files' paths. If the job cannot be started, no file is kept.

        They count for the quota of whoever asks. Raises what `Uploads.save` raises.
        """
        job = 0

        def begin(paths: Sequence[Path]) -> None:
            nonlocal job
            job = self._start_ingest([*map(str, paths)], collection, passwords=passwords)

        paths = self._core.uploads.save(collection, files, owner=permits.uploader(), begin=begin)
        return job, paths

    def start_reading_again(
        self, document_ids: Iterable[int], *, collection: str = DEFAULT_COLLECTION
    ) -> int:
        """Read documents' files again, changed or not."""
        from ragcore.catalog import forget_content

        row = self._core.catalog.collection(collection)
        with self._core.catalog.write() as session:
            paths = forget_content(session, row.id, list(document_ids))
        return self._start_ingest(paths, collection)

    def start_again(self, job_id: int, *, passwords: Sequence[str] = ()) -> int:
        """Ingest the files again that an ingest could not read, with passwords for locked ones.

        Raises UsageError where it could read all of them.
        """
        job = self._core.jobs.get(job_id)
        paths = [str(one["path"]) for one in job.report.get("failed", [])]
        if job.running or not paths:
            raise UsageError(f"job {job_id} has no files that could not be read")
        return self._start_ingest(paths, job.collection, passwords=passwords)

    def start_sample(self, *, collection: str = SAMPLE) -> int:
        """Ingest copies of the sample documents that come with ragcore."""
        self._core.catalog.create_collection(collection, exist_ok=True)  # refused before the copy
        folder = copy_documents(self._core.settings.home / "demo")
        return self._start_ingest([str(folder)], collection)

    def start_captioning(self, collection: str = DEFAULT_COLLECTION) -> int:
        """`Images.caption_collection` in the background."""

        def work(progress: ProgressCallback, cancel: CancelToken) -> dict[str, Any]:
            with self._core.jobs.turn(progress, cancel):
                report = Images(self._core).caption_collection(
                    collection, progress=progress, cancel=cancel
                )
            return asdict(report)

        self._core.catalog.collection(collection)
        return self._core.jobs.start("caption", collection, {"attempt": 1}, work)

    def start_classify(self, name: str, *, collection: str = DEFAULT_COLLECTION) -> int:
        """`Classifiers.classify` in the background."""
        classifiers = Classifiers(self._core)
        classifiers.get(name)
        self._core.catalog.collection(collection)

        def work(progress: ProgressCallback, cancel: CancelToken) -> dict[str, Any]:
            return asdict(
                classifiers.classify(name, collection=collection, progress=progress, cancel=cancel)
            )

        return self._core.jobs.start("classify", collection, {"classifier": name}, work)

    def start_training(
        self,
        name: str,
        *,
        collection: str = DEFAULT_COLLECTION,
        ways: Sequence[str] = ("features",),
    ) -> int:
        """Train a classifier on what is labeled in a collection.

        A cancelled or stopped one is continued by the next of the same labels. Raises UsageError
        below two classes with examples, and for the name of another collection's classifier.
        """
        from ragcore.tuning import ClassifierRecipe, parse_recipe

        values = {"name": name, "ways": tuple(ways), "curve": (1, 5, 20, 100)}
        recipe = parse_recipe(
            values | {"data": {"train": f"collection:{collection}"}}, ClassifierRecipe
        )
        check_may_replace(self._core, name, self._core.catalog.collection(collection).id)
        if len(Labels(self._core).given_counts(name, collection=collection)) < 2:
            raise UsageError("label examples of two classes or more, then train")

        def work(progress: ProgressCallback, cancel: CancelToken) -> dict[str, Any]:
            with self._core.jobs.turn(progress, cancel):
                report = Training(self._core).classifier(recipe, progress=progress, cancel=cancel)
            return {"classifier": name, "kept": report.kept, "seconds": report.seconds}

        request = {"classifier": name, "ways": list(ways)}
        return self._core.jobs.start("teach", collection, request, work)

    def start_reembed(self, collection: str = DEFAULT_COLLECTION) -> int:
        """`Admin.reembed` in the background."""

        def work(progress: ProgressCallback, cancel: CancelToken) -> dict[str, Any]:
            return asdict(reembed(self._core, collection, progress=progress, cancel=cancel))

        self._core.catalog.collection(collection)
        return self._core.jobs.start("reembed", collection, {"attempt": 1}, work)

    # --- resuming ----------------------------------------------------------------

    def resume(self, job_id: int, *, passwords: Sequence[str] = ()) -> int:
        """Start an interrupted, failed or cancelled job again; return the new job's number."""
        job = self._core.jobs.get(job_id)
        if job.running:
            raise UsageError(f"job {job_id} is still running")
        if not self._core.jobs.supersede(job_id):
            raise UsageError(f"job {job_id} is {job.state}: there is nothing to resume")
        if job.kind == SYNC_JOB:
            return Sources(self._core, self._permit).start_sync(job.request["source"])
        if job.kind == "reembed":
            return self.start_reembed(job.collection)
        if job.kind == "caption":
            return self.start_captioning(job.collection)
        if job.kind == "classify":
            return self.start_classify(job.request["classifier"], collection=job.collection)
        if job.kind == "teach":
            return self.start_training(
                job.request["classifier"], collection=job.collection, ways=job.request["ways"]
            )
        attempt = int(job.request.get("attempt", 1)) + 1
        return self._start_ingest(
            job.request["paths"], job.collection, job.request["sync"], passwords, attempt, job.state
        )

    def resume_interrupted(self) -> Sequence[int]:
        """Resume ingests that a stopped process left; return the new jobs' numbers.

        One that was interrupted three times is left to a person: it may be the cause. So is one of
        an account that is over meanwhile.
        """
        remove_strays(strays(self._core.settings.uploads))
        recent = self._core.jobs.recent(50, kind="ingest")
        left = [job for job in recent if job.state == "interrupted"]
        started = []
        for job in reversed(left):
            with self._core.catalog.read() as session:
                live = is_live(session, job.key_id)
            if live and int(job.request.get("attempt", 1)) < _ATTEMPTS:
                everybodys = Permit(key_id=job.key_id)
                with suppress(UsageError), permits.within(everybodys):  # or another was quicker
                    started.append(self.resume(job.id))
        return started

    def _draw_maps(self, collection: str) -> None:
        """Lay the collection's maps out now, so that nobody waits for them later."""
        try:
            self._core.maps.make(collection, "passages")
            self._core.maps.make(collection, "images")
        except Exception:  # what was ingested counts, and a page that asks for a map shows why
            log.warning("the maps of %s could not be drawn", collection, exc_info=True)


def _shown(job: JobInfo) -> JobInfo:
    """As the work at hand may see it: readers see no folders of the server."""
    if permits.may("write"):
        return job
    parts = (_shown_paths(one) for one in (job.request, job.progress, job.report))
    request, progress, report = parts
    return replace(job, request=request, progress=progress, report=report)


def _shown_paths(values: dict[str, Any]) -> dict[str, Any]:
    shown = dict(values)
    if "current" in shown:
        shown["current"] = permits.shown_path(str(shown["current"]))
    if "paths" in shown:
        shown["paths"] = [permits.shown_path(path) for path in shown["paths"]]
    for name in ("failed", "incomplete", "skipped"):
        if isinstance(shown.get(name), list):
            shown[name] = [{**one, "path": permits.shown_path(one["path"])} for one in shown[name]]
    return shown
