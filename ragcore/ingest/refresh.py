"""Image metadata read again from the files of a collection, without embedding anything again."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial

from ragcore.catalog import Catalog, image_metadata
from ragcore.errors import Cancelled
from ragcore.ingest.places import with_place
from ragcore.ingest.pool import ReaderPool
from ragcore.ingest.worker import ReadRequest, ReadResult
from ragcore.readers import ReadOptions
from ragcore.settings import Settings
from ragcore.sources import SourceItem, copies_of, is_remote, open_source
from ragcore.types import CancelToken, FileFailure, ImageMetadata, Progress, ProgressCallback

_BATCH = 256  # files in one transaction


@dataclass(slots=True)
class MetadataReport:
    """Of `images` files read, `changed` have other metadata than before.

    `failed` could not be read and keep what they had. `damaged` have parts that could not be read.
    """

    images: int = 0
    changed: int = 0
    failed: list[FileFailure] = field(default_factory=list)
    damaged: list[FileFailure] = field(default_factory=list)
    seconds: float = 0.0


def refresh_metadata(
    catalog: Catalog,
    collection_id: int,
    settings: Settings,
    *,
    progress: ProgressCallback | None = None,
    cancel: CancelToken | None = None,
) -> MetadataReport:
    """Read the metadata of all image files of a collection, and of sidecars beside them, again.

    Raises Cancelled; what was read by then is stored.
    """
    report, began = MetadataReport(), time.monotonic()
    with catalog.read() as session:
        files = image_metadata.image_files(session, collection_id)
    ids = {one.file.path: one.image_id for one in files}
    found: dict[int, ImageMetadata] = {}

    def store() -> None:
        report.changed += catalog.commit(
            partial(image_metadata.refresh, collection_id=collection_id, found=found)
        )
        report.images += len(found)
        report.seconds = time.monotonic() - began
        found.clear()
        if progress is not None:
            done = report.images + len(report.failed)
            rate = done / max(report.seconds, 1e-9)
            left = (len(files) - done) / rate if done else None
            progress(Progress("read", done, len(files), rate, left, failed=len(report.failed)))

    with closing(_results(files, settings)) as results:
        for result in results:
            if cancel is not None and cancel.cancelled:
                store()
                raise Cancelled(f"cancelled after {report.images:,} images, which are stored")
            if result is None:
                continue
            path = result.file.path
            if result.metadata is None:
                report.failed.append(FileFailure(path, result.error))
                continue
            found[ids[path]] = with_place(result.metadata)
            report.damaged += [FileFailure(path, line) for line in result.warnings]
            if len(found) == _BATCH:
                store()
    store()
    return report


def _results(
    files: Sequence[image_metadata.ImageFile], settings: Settings
) -> Generator[ReadResult | None, None, None]:
    """What reader processes find; None now and then."""
    options = ReadOptions.from_settings(settings)
    pool = ReaderPool(settings, lambda _file: False, partial(_here, settings))
    return pool.results(ReadRequest(one.file, options, metadata_only=True) for one in files)


@contextmanager
def _here(settings: Settings, request: ReadRequest) -> Iterator[ReadRequest]:
    """Within it, the file is on this computer."""
    file = request.file
    if not is_remote(file.path):
        yield request
        return
    source = open_source(file.path, settings)
    item = SourceItem(file.path, file.name, version=file.version)
    with copies_of(settings).of(source, item) as path:
        yield replace(request, copy=str(path))
