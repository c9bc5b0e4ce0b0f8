"""Places that collections are kept in step with: entered once, looked at again and again."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from typing import Any

from ragcore.catalog import DEFAULT_COLLECTION, CollectionSource, Permit, permits, remove_documents
from ragcore.catalog import sources as rows
from ragcore.errors import Cancelled, RagcoreError, UsageError
from ragcore.library.core import Core
from ragcore.library.ingesting import check_may_read, ingest
from ragcore.library.scopes import scoped
from ragcore.redaction import has_secret, redact
from ragcore.sources import is_remote, open_source
from ragcore.types import CancelToken, IngestReport, ProgressCallback

log = logging.getLogger("ragcore.sources")

SHORTEST = 60  # seconds between two runs of a source
_LOOK_EVERY = 5.0  # seconds between two looks for sources that are due
SYNC_JOB = "sync"  # the kind of a job that syncs a source
_MOST_FAILURES = 20  # of a run that are kept


@dataclass(frozen=True, slots=True)
class SourceInfo:
    """A source of a collection. `every` is in seconds (0: only when asked).

    `report` has the counts of the last run that came about: added, updated, removed, unchanged,
    failed, skipped, and the first failures as {"path", "error"}; `error` is why the last run did
    not come about ("": it did).
    """

    id: int
    collection: str
    url: str
    every: int
    paused: bool
    options: Mapping[str, str] = field(default_factory=dict)
    last_run: datetime | None = None
    next_run: datetime | None = None
    report: Mapping[str, Any] = field(default_factory=dict)
    error: str = ""


@scoped
class Sources:
    """Sources of collections. Errors: UsageError for an unknown collection or source."""

    def __init__(self, core: Core, permit: Permit | None = None) -> None:
        self._core, self._permit = core, permit

    def list(self, collection: str | None = None) -> Sequence[SourceInfo]:
        """The sources of one collection, or of all."""
        catalog = self._core.catalog
        only = None if collection is None else catalog.collection(collection).id
        with catalog.read() as session:
            return [_info(row, name) for row, name in rows.list_sources(session, only)]

    def add(
        self,
        url: str,
        *,
        collection: str = DEFAULT_COLLECTION,
        options: Mapping[str, str] = MappingProxyType({}),
        every: int = 0,
    ) -> SourceInfo:
        """Enter a path or URL; nothing is fetched yet. `options` as for `Library.ingest`.

        Raises UsageError for one that cannot be ingested, that has a secret in it, or that the
        collection has already, and for `every` below a minute.
        """
        if every and every < SHORTEST:
            raise UsageError(f"a source is looked at every {SHORTEST} seconds at most")
        if has_secret(url):
            raise UsageError(
                "the URL has a secret in it, and would be stored: write it into the credentials "
                "file (docs/how-to/sources.md)"
            )
        if not is_remote(url) and not url.lower().startswith("file://"):
            url = os.path.abspath(os.path.expanduser(url))
        check_may_read(self._core, [url], collection)
        open_source(url, self._core.settings, options)
        catalog = self._core.catalog
        collection_id = catalog.create_collection(collection, exist_ok=True).id
        source_id = catalog.commit(
            lambda session: rows.add_source(session, collection_id, url, options, every)
        )
        return self._get(source_id)

    def sync(
        self,
        source_id: int,
        *,
        progress: ProgressCallback | None = None,
        cancel: CancelToken | None = None,
    ) -> SourceInfo:
        """Add and update what the source lists, and remove what it brought and lists no more.

        What was added by hand, or came from another source, is never removed. A run that does not
        come about is an `error` of the source. Raises UsageError if there is none of this number.
        """
        return sync_source(self._core, source_id, progress, cancel)

    def start_sync(self, source_id: int) -> int:
        """`sync` as a job in the background; return the job's number.

        A run that does not come about is a failed job.
        """
        core, info = self._core, self._get(source_id)

        def work(progress: ProgressCallback, cancel: CancelToken) -> dict[str, Any]:
            with core.jobs.turn(progress, cancel):
                done = sync_source(core, source_id, progress, cancel)
            if done.error and not cancel.cancelled:
                raise RagcoreError(done.error)
            report = dict(done.report)
            return {**report, "failed": report.pop("failures", [])}

        request = {"source": source_id, "paths": [info.url]}
        return core.jobs.start(SYNC_JOB, info.collection, request, work)

    def sync_due(self, cancel: CancelToken | None = None) -> Sequence[SourceInfo]:
        """`sync` of every source whose time has come. Several processes share the work."""
        done = []
        for source_id in self._core.catalog.commit(rows.claim_due):
            if cancel is not None and cancel.cancelled:
                break
            done.append(self.sync(source_id, cancel=cancel))
        return done

    def pause(self, source_id: int) -> SourceInfo:
        """Leave a source alone until `resume`; `sync` still works."""
        self._core.catalog.commit(lambda session: rows.pause_source(session, source_id, True))
        return self._get(source_id)

    def resume(self, source_id: int) -> SourceInfo:
        """Go on with a source, at once."""
        self._core.catalog.commit(lambda session: rows.pause_source(session, source_id, False))
        return self._get(source_id)

    def remove(self, source_id: int, *, documents: bool = False) -> int:
        """Forget a source; with `documents` also remove what it brought. Returns how many."""
        catalog = self._core.catalog
        with catalog.read() as session:
            collection_id = rows.get_source(session, source_id).collection_id
        brought = catalog.commit(lambda session: rows.remove_source(session, source_id))
        if not documents:
            return 0
        removed = catalog.commit(lambda session: remove_documents(session, collection_id, brought))
        self._core.stores.refresh(collection_id)
        return removed

    def get(self, source_id: int) -> SourceInfo:
        """One source. Raises UsageError if there is none of this number."""
        return self._get(source_id)

    def _get(self, source_id: int) -> SourceInfo:
        return _source(self._core, source_id)


def sync_source(
    core: Core,
    source_id: int,
    progress: ProgressCallback | None = None,
    cancel: CancelToken | None = None,
) -> SourceInfo:
    """See `Sources.sync`."""
    before = _source(core, source_id)
    with core.catalog.read() as session:
        url = rows.get_source(session, source_id).url  # as it was entered
    report: Mapping[str, Any] = {}
    error = ""
    try:
        done = ingest(
            core,
            [url],
            collection=before.collection,
            sync=True,
            options=before.options,
            source_id=source_id,
            progress=progress,
            cancel=cancel,
        )
        report = _counts(done)
        if done.cancelled:
            error = "it was cancelled"
    except Cancelled:
        error = "it was cancelled"
    except RagcoreError as reason:
        error = str(reason)
    core.catalog.commit(lambda session: rows.record_run(session, source_id, report, redact(error)))
    return _source(core, source_id)


def _source(core: Core, source_id: int) -> SourceInfo:
    with core.catalog.read() as session:
        row = rows.get_source(session, source_id)
        names = {one.id: one.name for one in core.catalog.collections()}
        return _info(row, names.get(row.collection_id, ""))


class SourceSchedule:
    """A thread that syncs sources when their time has come, until it is stopped."""

    def __init__(
        self,
        sources: Sources,
        on_report: Callable[[SourceInfo], None] = lambda info: None,
        *,
        look_every: float = _LOOK_EVERY,
    ) -> None:
        self._sources, self._on_report = sources, on_report
        self._look_every = look_every
        self._stop = threading.Event()
        self._cancel = CancelToken()
        self._thread = threading.Thread(target=self._run, name="ragcore-sources", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """End after the batch at hand, and wait for it."""
        self._stop.set()
        self._cancel.cancel()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                for info in self._sources.sync_due(self._cancel):
                    if info.error:
                        log.warning("source %d did not run: %s", info.id, info.error)
                    self._on_report(info)
            except RagcoreError as error:  # such as a locked catalog: a later look may do
                log.warning("%s", error)
            self._stop.wait(self._look_every)


def _info(row: CollectionSource, collection: str) -> SourceInfo:
    return SourceInfo(
        row.id,
        collection,
        permits.shown_path(row.url),
        row.every,
        row.paused,
        dict(row.options),
        row.last_run,
        row.next_run,
        dict(row.report),
        row.error,
    )


def _counts(report: IngestReport) -> dict[str, Any]:
    names = ("added", "updated", "unchanged", "renamed", "removed")
    return {
        **{name: getattr(report, name) for name in names},
        "failed": len(report.failed),
        "skipped": len(report.skipped) + report.skipped_links,
        "failures": [
            {"path": one.path, "error": redact(one.error)} for one in report.failed[:_MOST_FAILURES]
        ],
    }
