"""Questions about one picture, and captions by a model."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ragcore.catalog import DEFAULT_COLLECTION, permits
from ragcore.errors import RagcoreError
from ragcore.library.parts import Parts
from ragcore.types import CancelToken, ProgressCallback

if TYPE_CHECKING:
    from PIL.Image import Image

    from ragcore.ingest.captioning import CaptionReport
    from ragcore.llm.picture_llm import PictureAnswer
    from ragcore.models import Sampling

log = logging.getLogger(__name__)


class Seeing(Parts):
    """The verbs of a model that sees."""

    @permits.verb("read")
    def ask_picture(
        self,
        picture: str | Path | bytes,
        question: str,
        *,
        model: str = "",
        sampling: Sampling | None = None,
        cancel: CancelToken | None = None,
    ) -> PictureAnswer:
        """Answer a question about one picture, which need not be in any collection.

        `picture` is a path or encoded bytes. `model` names another than the profile's: a name of
        the weights registry, "hub:OWNER/NAME" or a folder. Raises UsageError for an empty
        question, UnreadableFile, ModelUnavailable, Cancelled.
        """
        told = self.ask_picture_stream(
            picture, question, model=model, sampling=sampling, cancel=cancel
        )
        return next(piece for piece in told if not isinstance(piece, str))

    @permits.verb("read")
    def ask_picture_stream(
        self,
        picture: str | Path | bytes,
        question: str,
        *,
        model: str = "",
        sampling: Sampling | None = None,
        cancel: CancelToken | None = None,
    ) -> Iterator[str | PictureAnswer]:
        """As `ask_picture`, in pieces of text and at last the whole answer."""
        from ragcore.llm.picture_llm import PictureAnswer, check_question
        from ragcore.models import Sampling

        check_question(question)
        image = self._open(picture)
        began, pieces = time.monotonic(), []
        llm = self.models.vision_llm(model)
        how = sampling or Sampling(max_tokens=60)
        for piece in llm.stream_image(image, question, how, cancel=cancel):
            pieces.append(piece)
            yield piece
        yield PictureAnswer("".join(pieces).strip(), llm.name, time.monotonic() - began)

    @permits.verb("read")
    def caption(
        self, picture: str | Path | bytes, *, model: str = "", cancel: CancelToken | None = None
    ) -> PictureAnswer:
        """One sentence about a picture. Errors as `ask_picture`."""
        from ragcore.llm.picture_llm import PictureAnswer

        image, began = self._open(picture), time.monotonic()
        llm = self.models.vision_llm(model)
        (text,) = llm.captions([image], cancel=cancel)
        return PictureAnswer(text, llm.name, time.monotonic() - began)

    @permits.verb("write")
    def caption_collection(
        self,
        collection: str = DEFAULT_COLLECTION,
        *,
        model: str = "",
        progress: ProgressCallback | None = None,
        cancel: CancelToken | None = None,
    ) -> CaptionReport:
        """Caption the pictures of a collection that have none, marked as made by a model.

        Goes on where an earlier run was stopped. Captions of people stay. Raises UsageError for
        an unknown collection, ModelUnavailable, Cancelled (what was written is kept).
        """
        from ragcore.ingest.captioning import caption_collection

        row = self.catalog.collection(collection)
        return caption_collection(
            self.catalog,
            row.id,
            self.models.vision_llm(model),
            self.settings,
            progress=progress,
            cancel=cancel,
        )

    @permits.verb("write")
    def start_captioning(self, collection: str = DEFAULT_COLLECTION) -> int:
        """`caption_collection` in the background; return the job's id."""

        def work(progress: ProgressCallback, cancel: CancelToken) -> dict[str, Any]:
            with self.jobs.turn(progress, cancel):
                report = self.caption_collection(collection, progress=progress, cancel=cancel)
            return asdict(report)

        self.catalog.collection(collection)
        return self.jobs.start("caption", collection, {"attempt": 1}, work)

    def caption_new(
        self,
        collection: str,
        progress: ProgressCallback | None = None,
        cancel: CancelToken | None = None,
    ) -> None:
        """Caption what came in. A model that cannot is a warning: what was ingested counts."""
        try:
            self.caption_collection(collection, progress=progress, cancel=cancel)
        except RagcoreError as error:
            log.warning("new pictures of %s are not all captioned: %s", collection, error)

    def _open(self, picture: str | Path | bytes) -> Image:
        from ragcore.ingest.pictures import load_picture

        limit = self.settings.max_megapixels
        return load_picture(picture, max_megapixels=limit, at_least=320)
