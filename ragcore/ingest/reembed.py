"""Re-embed a collection into another model's space, while the old one still answers.

Works from what the catalog holds: no file is read again but images, and those whose file
has changed or gone are taken from their thumbnails. What is embedded is committed batch by
batch, so that a second run goes on where the first one ended; the new space becomes the active
one in the same transaction that finds nothing missing in it.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import exists, func, select, update
from sqlalchemy.orm import Session

from ragcore.catalog import (
    Catalog,
    CollectionSpace,
    Document,
    Embedding,
    Image,
    Passage,
    Thumbnail,
    add_embeddings,
)
from ragcore.errors import Cancelled, UnreadableFile
from ragcore.ingest.split import passage_input
from ragcore.types import CancelToken, Progress, ProgressCallback

if TYPE_CHECKING:
    from PIL.Image import Image as PilImage

    from ragcore.models import ImageTextEncoder, Space, TextEncoder
    from ragcore.settings import Settings
    from ragcore.types import FloatArray

_PASSAGES = 512  # embedded and committed at a time
_IMAGES = 64


@dataclass(slots=True)
class ReembedReport:
    """`embedded` counts new vectors by modality, `spaces` names the spaces now active.

    `from_thumbnails` counts images whose file could not be used, `other_sizes` documents whose
    passages have another size than the model's.
    """

    embedded: dict[str, int] = field(default_factory=dict)
    spaces: dict[str, str] = field(default_factory=dict)
    from_thumbnails: int = 0
    other_sizes: int = 0
    seconds: float = 0.0


class Reembedding:
    """One run over one collection."""

    def __init__(
        self,
        catalog: Catalog,
        collection_id: int,
        settings: Settings,
        *,
        progress: ProgressCallback | None = None,
        cancel: CancelToken | None = None,
    ) -> None:
        self._catalog = catalog
        self._collection_id = collection_id
        self._settings = settings
        self._progress = progress
        self._cancel = cancel or CancelToken()
        self._report = ReembedReport()

    def run(
        self, text: TextEncoder | None = None, image: ImageTextEncoder | None = None
    ) -> ReembedReport:
        """Bring the collection into the spaces of these encoders; None leaves a modality alone.

        Vectors that are in a space already are kept. Raises Cancelled; what was embedded by
        then is kept, and the old space stays active.
        """
        started = time.monotonic()
        for encoder in (text, image):
            if encoder is not None:
                self._run_one(encoder)
        self._report.seconds = time.monotonic() - started
        return self._report

    def _run_one(self, encoder: TextEncoder | ImageTextEncoder) -> None:
        space = encoder.space
        space_id = self._catalog.space_id(space.name, space.modality, space.dimension)
        active = self._catalog.active_space(self._collection_id, space.modality)
        if active is None or active.id != space_id:
            self._catalog.use_space(self._collection_id, space_id, space.modality, state="building")
        table: type[Passage] | type[Image] = Passage if space.modality == "text" else Image
        done = 0
        while True:
            for batch in self._missing(table, space_id):
                self._check_cancel(space)
                vectors = self._encode(encoder, batch)
                done += self._store(table, space_id, batch, vectors)
                self._show(space, table, space_id)
            if self._activate(table, space, space_id):
                break  # else something was ingested meanwhile: go round again
        self._report.embedded[space.modality] = done
        self._report.spaces[space.modality] = space.name

    def _missing(
        self, table: type[Passage] | type[Image], space_id: int
    ) -> Iterator[Sequence[Any]]:
        """Batches of rows without a vector, by ascending id."""
        after, size = 0, _PASSAGES if table is Passage else _IMAGES
        while True:
            query = (
                select(table)
                .where(table.id > after, _without_vector(table, self._collection_id, space_id))
                .order_by(table.id)
                .limit(size)
            )
            with self._catalog.read() as session:
                rows: Sequence[Any] = session.scalars(query).all()
            if not rows:
                return
            yield rows
            after = rows[-1].id

    def _encode(self, encoder: Any, rows: Sequence[Any]) -> FloatArray:
        vectors: FloatArray
        if isinstance(rows[0], Passage):
            texts = [passage_input(row.text, row.heading) for row in rows]
            vectors = encoder.encode(texts, kind="passage")
        else:
            vectors = encoder.encode_images(self._images(rows))
        return vectors

    def _store(
        self,
        table: type[Passage] | type[Image],
        space_id: int,
        rows: Sequence[Any],
        vectors: FloatArray,
    ) -> int:
        ids = [row.id for row in rows]

        def store(session: Session) -> int:
            # Some may have been removed, or embedded by another run, since they were read.
            here = (table.id.in_(ids), _without_vector(table, self._collection_id, space_id))
            wanted = set(session.scalars(select(table.id).where(*here)))
            keep = [at for at, item in enumerate(ids) if item in wanted]
            add_embeddings(
                session, self._collection_id, space_id, [ids[at] for at in keep], vectors[keep]
            )
            return len(keep)

        return self._catalog.commit(store)

    def _activate(self, table: type[Passage] | type[Image], space: Space, space_id: int) -> bool:
        """Make the space active if nothing is missing in it; one transaction sees to both."""

        def activate(session: Session) -> bool:
            if _count_missing(session, table, self._collection_id, space_id):
                return False
            here = (
                CollectionSpace.collection_id == self._collection_id,
                CollectionSpace.modality == space.modality,
            )
            session.execute(update(CollectionSpace).where(*here).values(state="retired"))
            session.merge(
                CollectionSpace(
                    collection_id=self._collection_id,
                    space_id=space_id,
                    modality=space.modality,
                    state="active",
                )
            )
            return True

        return self._catalog.commit(activate)

    def _images(self, rows: Sequence[Image]) -> list[PilImage]:
        ids = [row.id for row in rows]
        query = (
            select(Image.id, Document.path, Document.sha256, Thumbnail.data)
            .join(Document, Document.id == Image.document_id)
            .join(Thumbnail, Thumbnail.image_id == Image.id)
            .where(Image.id.in_(ids))
        )
        with self._catalog.read() as session:
            found = {row[0]: row[1:] for row in session.execute(query)}
        return [self._image(row, *found.get(row.id, ("", "", b""))) for row in rows]

    def _image(self, row: Image, path: str, sha256: str, thumbnail: bytes) -> PilImage:
        from PIL import Image as Pillow

        from ragcore.readers import load_image

        source = self._settings.media / row.media if row.media else Path(path)
        try:
            data = source.read_bytes()
            if row.media or hashlib.sha256(data).hexdigest() == sha256:
                return load_image(data, max_megapixels=self._settings.max_megapixels)
        except (OSError, UnreadableFile):
            pass
        self._report.from_thumbnails += 1
        if not thumbnail:  # removed since: the vector is thrown away
            return Pillow.new("RGB", (64, 64))
        return Pillow.open(BytesIO(thumbnail)).convert("RGB")

    def _show(self, space: Space, table: type[Passage] | type[Image], space_id: int) -> None:
        if self._progress is None:
            return
        with self._catalog.read() as session:
            here = table.collection_id == self._collection_id
            total = session.scalar(select(func.count()).select_from(table).where(here)) or 0
            left = _count_missing(session, table, self._collection_id, space_id)
        self._progress(Progress(stage="embed", done=total - left, total=total, current=space.name))

    def _check_cancel(self, space: Space) -> None:
        if self._cancel.cancelled:
            raise Cancelled(
                f"stopped while embedding into {space.name}; run it again to go on from here"
            )


def _count_missing(
    session: Session, table: type[Passage] | type[Image], collection_id: int, space_id: int
) -> int:
    here = _without_vector(table, collection_id, space_id)
    return session.scalar(select(func.count()).select_from(table).where(here)) or 0


def _without_vector(table: type[Passage] | type[Image], collection_id: int, space_id: int) -> Any:
    has = exists().where(Embedding.space_id == space_id, Embedding.item_id == table.id)
    return (table.collection_id == collection_id) & ~has
