"""Last stage: one thread writes to the catalog while the next batch is embedded."""

from __future__ import annotations

import hashlib
import queue
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import TracebackType

from sqlalchemy.orm import Session

from ragcore.catalog import Catalog, FileState, NewDocument, store_documents, store_failure
from ragcore.files import replace_private
from ragcore.ingest.places import with_place
from ragcore.readers import add_to_report
from ragcore.types import IngestReport, ReadDocument, ReadImage

_WAITING = 2  # batches that may wait to be stored
_AT_ONCE = 64  # documents in one transaction


class Storer:
    """Takes batches of embedded documents; commits each in a few transactions.

    Use as a context: leaving it waits for what was put. An error while storing is raised by
    the next `put`, or on leaving.
    """

    def __init__(
        self,
        catalog: Catalog,
        collection_id: int,
        media: Path,
        report: IngestReport,
        stored: Callable[[str], None],
        join: Callable[[Session, str], None] = lambda session, path: None,
    ) -> None:
        """`stored` is called with the path of each document, and failure, that is committed.

        `join` in the transaction that stores it.
        """
        self._catalog = catalog
        self._collection_id = collection_id
        self._media = media
        self._report = report
        self._stored, self._join = stored, join
        self._queue: queue.Queue[Callable[[], None] | None] = queue.Queue(maxsize=_WAITING)
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="ragcore-store", daemon=True)

    def __enter__(self) -> Storer:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._queue.put(None)
        self._thread.join()
        if self._error is not None and error is None:
            raise self._error

    def put(self, documents: Sequence[NewDocument]) -> None:
        """Hand over embedded documents; waits while too much is waiting already."""
        self._put(lambda: self._store(documents))

    def put_failure(self, file: FileState, error: str) -> None:
        self._put(lambda: self._store_failure(file, error))

    def _put(self, work: Callable[[], None]) -> None:
        if self._error is not None:
            raise self._error
        self._queue.put(work)

    def _run(self) -> None:
        while (work := self._queue.get()) is not None:
            if self._error is None:
                try:
                    work()
                except BaseException as error:  # raised again in the calling thread
                    self._error = error

    def _store(self, documents: Sequence[NewDocument]) -> None:
        for at in range(0, len(documents), _AT_ONCE):
            part = documents[at : at + _AT_ONCE]
            for new in part:
                new.media = [self._keep_image(image) for image in new.document.images]
                new.document = _with_places(new.document)
            is_new = self._catalog.commit(partial(self._store_all, part))
            self._report.added += sum(is_new)
            self._report.updated += len(part) - sum(is_new)
            self._report.passages += sum(len(new.passages) for new in part)
            self._report.images += sum(len(new.document.images) for new in part)
            for new in part:
                if new.document.coverage is not None:
                    add_to_report(self._report, new.file.path, new.document.coverage)
                self._stored(new.file.path)

    def _store_all(self, documents: Sequence[NewDocument], session: Session) -> list[bool]:
        is_new = [one for _, one in store_documents(session, self._collection_id, documents)]
        for new in documents:
            self._join(session, new.file.path)
        return is_new

    def _store_failure(self, file: FileState, error: str) -> None:
        def store(session: Session) -> None:
            store_failure(session, self._collection_id, file, error)
            self._join(session, file.path)

        self._catalog.commit(store)
        self._stored(file.path)

    def _keep_image(self, image: ReadImage) -> str:
        """Store an embedded image under its content's hash; return its name there."""
        if image.data is None:
            return ""
        digest = hashlib.sha256(image.data).hexdigest()
        name = f"{digest[:2]}/{digest}"
        target = self._media / name
        if not target.exists():
            replace_private(target, image.data)
        return name


def _with_places(document: ReadDocument) -> ReadDocument:
    """The document with names for the positions of its images."""
    images = tuple(
        image if image.metadata is None else replace(image, metadata=with_place(image.metadata))
        for image in document.images
    )
    return replace(document, images=images)
