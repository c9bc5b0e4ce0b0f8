"""Captions by a model for images that have none, so that words find them.

Every batch is committed, so that a second run goes on where the first ended. A caption that a
person wrote (in the document, or meanwhile) is never replaced.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ragcore.catalog import Catalog, Uncaptioned, count_uncaptioned, uncaptioned, write_captions
from ragcore.errors import Cancelled, UnreadableFile
from ragcore.readers import load_image
from ragcore.types import CancelToken, Progress, ProgressCallback

if TYPE_CHECKING:
    from PIL.Image import Image

    from ragcore.models import VisionLLM
    from ragcore.settings import Settings

_BATCH = 8  # written and committed at a time


@dataclass(slots=True)
class CaptionReport:
    """`captioned` images got a caption by `model`; `unreadable` ones were passed over."""

    model: str
    captioned: int = 0
    unreadable: int = 0
    seconds: float = 0.0


def caption_collection(
    catalog: Catalog,
    collection_id: int,
    model: VisionLLM,
    settings: Settings,
    *,
    progress: ProgressCallback | None = None,
    cancel: CancelToken | None = None,
) -> CaptionReport:
    """Caption all images of a collection that have no caption.

    Raises Cancelled; the captions written by then are kept.
    """
    report, began, last = CaptionReport(model.name), time.monotonic(), 0
    with catalog.read() as session:
        total = count_uncaptioned(session, collection_id)
    while True:
        if cancel is not None and cancel.cancelled:
            raise Cancelled(f"cancelled after {report.captioned:,} captions, which are kept")
        with catalog.read() as session:
            batch = uncaptioned(session, collection_id, after=last, limit=_BATCH)
        if not batch:
            break
        last = batch[-1].id
        images: dict[int, Image] = {}
        for one in batch:
            try:
                images[one.id] = _open(one, settings)
            except UnreadableFile:
                report.unreadable += 1
        said = model.captions(list(images.values()), cancel=cancel)
        captions = dict(zip(images, said, strict=True))
        report.captioned += catalog.commit(
            partial(write_captions, captions=captions, model=model.name)
        )
        report.seconds = time.monotonic() - began
        _show_progress(report, total, progress)
    report.seconds = time.monotonic() - began
    return report


def _open(one: Uncaptioned, settings: Settings) -> Image:
    path = settings.media / one.media if one.media else Path(one.path)
    return load_image(path, max_megapixels=settings.max_megapixels, at_least=320)


def _show_progress(report: CaptionReport, total: int, progress: ProgressCallback | None) -> None:
    if progress is None:
        return
    done = report.captioned + report.unreadable
    rate = done / max(report.seconds, 1e-9)
    left = max(0, total - done) / max(rate, 1e-9)
    progress(Progress("captions", done, max(total, done), rate, left, failed=report.unreadable))
