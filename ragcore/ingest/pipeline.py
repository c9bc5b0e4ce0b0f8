"""The pipeline: discover → read → split → embed → store, with bounded queues between.

An engine reads, splits and embeds (`ragcore.ingest.engines`): in processes of this machine, or
on the nodes of a Ray cluster. A thread gathers what was read into batches; storing has a
thread of this process, whatever the engine. A document is
committed whole (text, lexical entry, images and vectors in one transaction), so a crash at
any instant leaves the catalog consistent and a second run goes on where the first one ended.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence, Set
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from ragcore.catalog import (
    Catalog,
    FileState,
    KnownFile,
    join_source,
    known_files,
    remove_documents,
    source_documents,
    take_by_hand,
    touch_document,
    trashed_files,
)
from ragcore.errors import Cancelled
from ragcore.ingest.claims import Claims
from ragcore.ingest.discover import UNKNOWN_SIZE, Discovered, discover
from ragcore.ingest.embed import DocumentBatch
from ragcore.ingest.engines import Engine
from ragcore.ingest.fetch import Fetcher
from ragcore.ingest.prefetch import prefetch
from ragcore.ingest.progress_reporter import ProgressReporter
from ragcore.ingest.sizes import Sizes
from ragcore.ingest.store import Storer
from ragcore.ingest.worker import ReadRequest, ReadResult
from ragcore.readers import ReadOptions
from ragcore.settings import Settings
from ragcore.sources import is_remote
from ragcore.types import CancelToken, FileFailure, IngestReport, ProgressCallback

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

_CLAIMED = 8  # files at once: an ingest beside this one takes others
_LOOK_EVERY = 0.2  # seconds between two looks at files that another run works on
_TIMEOUT = 0.5  # seconds without a batch after which an engine looks at what it has embedded


@dataclass(frozen=True, slots=True)
class _IngestPlan:
    """What discovery and the catalog together say must be done."""

    read: list[FileState]
    unchanged: int
    vanished: dict[tuple[bool, str], KnownFile]  # candidates for a rename: (remote, hash)
    gone: list[int]  # document ids that sync mode removes, renames aside
    trashed: list[FileFailure]  # files in the trash, which nobody named


class IngestPipeline:
    """One run over files, folders and other sources into one collection."""

    def __init__(
        self,
        catalog: Catalog,
        collection_id: int,
        settings: Settings,
        make_engine: Callable[[], Engine],
        sizes: Sizes,
        *,
        passwords: Sequence[str] = (),
        source_id: int | None = None,
        progress: ProgressCallback | None = None,
        cancel: CancelToken | None = None,
    ) -> None:
        """Prepare a run; nothing is read yet.

        With `source_id`, what is new belongs to that source of the collection, and `sync` removes
        what belongs to it only.
        """
        self._source_id = source_id
        self._by_hand: frozenset[str] = frozenset()  # locations that were there before
        self._catalog = catalog
        self._collection_id = collection_id
        self._settings = settings
        self._make_engine = make_engine
        self._sizes = sizes
        self._options = ReadOptions.from_settings(settings, passwords=passwords)
        self._cancel = cancel or CancelToken()
        self._reporter = ProgressReporter(progress)
        self._report = IngestReport()
        self._known: dict[str, KnownFile] = {}
        self._renamed: dict[str, KnownFile] = {}
        self._lock = threading.Lock()
        self._claims = Claims(settings.home / "claims", collection_id)
        self._others: list[FileState] = []  # files that another run works on now

    def run(
        self,
        paths: Iterable[str | Path],
        *,
        sync: bool = False,
        options: Mapping[str, str] = MappingProxyType({}),
    ) -> IngestReport:
        """Ingest; return what was done. Cancelled runs return too, with `cancelled` set.

        `options` are for the sources of `paths`.

        Raises UsageError if a path or URL does not exist or is not allowed; a file that cannot
        be read, or a source that cannot be listed, is one entry in `failed`.
        """
        started, paths = time.monotonic(), list(paths)
        self._reporter.show("discover", force=True)
        try:
            found = discover(paths, self._settings, options, self._check_cancel)
            named = {os.path.abspath(path) for path in paths}
            plan = self._plan(found, sync, named)
            self._fetcher = Fetcher(found, self._settings)
            self._report.unchanged = plan.unchanged
            self._report.failed = list(found.failed)
            self._report.skipped_links = found.links
            self._report.skipped = [*found.skipped, *plan.trashed]
            self._reporter.total = len(plan.read)
            pending = plan.read
            while pending:
                self._read_embed_store(plan, pending)
                # What is held while waiting could be what the other run waits for.
                self._claims.release_all()
                pending = self._wait_for_others()
            self._remove_vanished(plan)
        except Cancelled:
            self._report.cancelled = True
        finally:
            self._claims.release_all()
        self._claims.forget_stale()
        self._report.seconds = time.monotonic() - started
        self._reporter.show("done", force=True)
        return self._report

    def _plan(self, found: Discovered, sync: bool, named: Set[str]) -> _IngestPlan:
        with self._catalog.read() as session:
            self._known = known_files(session, self._collection_id)
            trashed = trashed_files(session, self._collection_id)
            brought = source_documents(session, self._source_id)
        read, unchanged, left, by_hand = [], 0, [], []
        for path, file in found.files.items():
            known = self._known.get(path)
            file = self._with_origin(file, known)
            if known is not None and self._is_named(file, named):
                by_hand.append(known.id)
            if known is not None and self._is_current(known, file):
                unchanged += 1
            elif path in trashed and path not in named and _is_same(trashed[path], file):
                left.append(FileFailure(path, "it is in the trash: see `ragcore trash`"))
            else:
                read.append(file)
        if by_hand:
            self._catalog.commit(lambda session: take_by_hand(session, by_hand))
        lost = [
            known
            for path, known in self._known.items()
            if found.has_lost(path) and self._may_be_lost(known, found, brought)
        ]
        vanished = {
            (is_remote(known.path), known.sha256): known
            for known in lost
            if known.state != "failed"
        }
        # Failures are forgotten with their files.
        gone = [known.id for known in lost if found.covers(known.path)] if sync else []
        if self._source_id is not None:
            self._by_hand = frozenset(self._known)
            gone = [document for document in gone if document in brought]
        return _IngestPlan(read, unchanged, vanished, gone, left)

    def _with_origin(self, file: FileState, known: KnownFile | None) -> FileState:
        """The file with what its document is to have.

        What was added by hand stays so, and what a source of the collection brings is that
        source's.
        """
        if self._source_id is not None:
            return replace(file, origin=known.origin if known else "")
        if file.origin and known is not None:
            return replace(file, origin=known.origin)
        return file

    def _is_named(self, file: FileState, named: Set[str]) -> bool:
        """Whether somebody adds this very file by hand."""
        if self._source_id is not None:
            return False
        return not file.origin if is_remote(file.path) else file.path in named

    def _may_be_lost(self, known: KnownFile, found: Discovered, brought: Set[int]) -> bool:
        """Whether an earlier run of the same place brought a document that is not listed any more.

        A file of this computer is gone for whoever added it.
        """
        if not is_remote(known.path):
            return True
        if self._source_id is not None:
            return known.id in brought
        return known.origin in found.roots and known.id not in brought

    def _read_embed_store(self, plan: _IngestPlan, files: Sequence[FileState]) -> None:
        storer = Storer(
            self._catalog,
            self._collection_id,
            self._settings.media,
            self._report,
            self._claims.release,
            self._join,
        )
        with self._make_engine() as engine, storer:
            results = engine.read(
                self._requests(files), lambda file: self._is_known(plan, file), self._fetcher
            )
            with closing(prefetch(self._batches(results, storer), timeout=_TIMEOUT)) as batches:
                for documents in engine.embed(batches):
                    if documents:
                        storer.put(documents)
                    self._check_cancel()

    def _join(self, session: Session, path: str) -> None:
        if self._source_id is not None and path not in self._by_hand:
            join_source(session, self._source_id, self._collection_id, path)

    def _requests(self, files: Sequence[FileState]) -> Iterator[ReadRequest]:
        """What is to be read now; files that another run has claimed are put aside.

        A few are claimed at once, and looked up in one query: nobody else stores them from then on.
        """
        for at in range(0, len(files), _CLAIMED):
            mine: list[FileState] = []
            for file in files[at : at + _CLAIMED]:
                (mine if self._claims.take(file.path) else self._others).append(file)
            fresh = self._fresh([file.path for file in mine])  # stored since this run began
            for file in mine:
                self._known.pop(file.path, None)
            self._known.update(fresh)
            for file in mine:
                yield ReadRequest(file, self._options)

    def _wait_for_others(self) -> list[FileState]:
        """The files put aside that another run did not store, once one of them is free."""
        waiting, self._others = self._others, []
        while waiting:
            self._check_cancel()
            fresh = self._fresh([file.path for file in waiting])
            left = []
            for file in waiting:
                known = fresh.get(file.path)
                if known is not None and self._is_current(known, file):
                    self._reporter.count(file.path, failed=False)
                    self._report.unchanged += 1
                else:
                    left.append(file)
            if any(self._claims.take(file.path) for file in left):
                return left
            waiting = left
            if waiting:
                time.sleep(_LOOK_EVERY)
        return []

    def _fresh(self, paths: Sequence[str]) -> dict[str, KnownFile]:
        with self._catalog.read() as session:
            return known_files(session, self._collection_id, paths)

    def _batches(
        self, results: Generator[ReadResult | None, None, None], storer: Storer
    ) -> Generator[Sequence[ReadResult], None, None]:
        """Group what was read for the encoder; pass the rest on at once.

        A batch goes on its way when it is full, or when the readers have nothing more to give
        for the moment: what was read is stored soon, also where reading is slow.
        """
        with closing(results):
            yield from self._grouped(results, storer)

    def _grouped(
        self, results: Iterable[ReadResult | None], storer: Storer
    ) -> Iterator[Sequence[ReadResult]]:
        batch = DocumentBatch()
        for result in results:
            self._check_cancel()
            if result is None:
                if batch.results:
                    yield batch.results
                    batch = DocumentBatch()
                continue
            self._reporter.count(result.file.path, failed=bool(result.error))
            if result.error:
                self._report.failed.append(FileFailure(result.file.path, result.error))
                storer.put_failure(result.file, result.error)
            elif result.same:
                self._keep(result.file)
            else:
                batch.add(result)
            if batch.full:
                yield batch.results
                batch = DocumentBatch()
        # Everything is read, the last batches are not stored.
        self._reporter.show("store", force=True)
        if batch.results:
            yield batch.results

    def _is_known(self, plan: _IngestPlan, file: FileState) -> bool:
        """Whether a file's content is in the catalog already: under its path, or a lost one."""
        known = self._known.get(file.path)
        if known is not None:
            return known.sha256 == file.sha256 and known.state != "failed" and self._has_size(known)
        with self._lock:  # each lost document is renamed once
            lost = plan.vanished.pop((is_remote(file.path), file.sha256), None)
            if lost is not None:
                self._renamed[file.path] = lost
            return lost is not None

    def _is_current(self, known: KnownFile, file: FileState) -> bool:
        """Whether nothing is to be done for a file, as far as is known without its content."""
        return known.state == "ready" and _is_same(known, file) and self._has_size(known)

    def _has_size(self, known: KnownFile) -> bool:
        """Whether a document's passages are as long as they are to be now."""
        wanted = self._sizes.wanted
        return wanted is None or not known.passage_count or known.passage_size == wanted.name

    def _keep(self, file: FileState) -> None:
        renamed = self._renamed.get(file.path)
        known = renamed or self._known[file.path]
        self._catalog.commit(lambda session: touch_document(session, known.id, file))
        self._claims.release(file.path)
        if renamed:
            self._report.renamed += 1
        else:
            self._report.unchanged += 1

    def _remove_vanished(self, plan: _IngestPlan) -> None:
        renamed = {known.id for known in self._renamed.values()}
        gone = [document for document in plan.gone if document not in renamed]
        if gone:
            self._report.removed = self._catalog.commit(
                lambda session: remove_documents(session, self._collection_id, gone)
            )

    def _check_cancel(self) -> None:
        if self._cancel.cancelled:
            raise Cancelled("the ingest was cancelled; what was stored is kept")


def _is_same(known: KnownFile, file: FileState) -> bool:
    """Whether a file is as it was, as far as is known without its content."""
    if file.version or known.version:
        return file.version == known.version
    return file.size in (known.size, UNKNOWN_SIZE) and known.mtime_ns == file.mtime_ns
