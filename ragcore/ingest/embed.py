"""Third stage: vectors for the passages and images of many documents at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from ragcore.catalog import NewDocument
from ragcore.ingest.split import passage_input
from ragcore.ingest.worker import ReadResult

if TYPE_CHECKING:
    from ragcore.models import ImageTextEncoder, TextEncoder
    from ragcore.types import FloatArray


@dataclass(frozen=True, slots=True)
class SpaceIds:
    """Where a collection's vectors belong, by ids of the catalog."""

    text: int
    image: int


@dataclass(frozen=True, slots=True)
class Vectors:
    """Of one document, float32 [passages, d] and [images, d]; None where it has none."""

    passages: FloatArray | None
    images: FloatArray | None


@dataclass(frozen=True, slots=True)
class Embedder:
    """The encoders of an ingest."""

    text: TextEncoder
    image: ImageTextEncoder

    def embed(self, results: Sequence[ReadResult]) -> list[Vectors]:
        """Encode all passages of `results` in one call, and all images in another.

        Every result has a `document`. The encoder itself sorts by length and makes batches.
        """
        texts = [
            passage_input(passage.text, passage.heading)
            for result in results
            for passage in result.passages
        ]
        pixels = [image.pixels for result in results for image in _images(result)]
        text_vectors = self.text.encode(texts, kind="passage") if texts else None
        image_vectors = self._encode_images(pixels) if pixels else None
        found, text_at, image_at = [], 0, 0
        for result in results:
            text_end = text_at + len(result.passages)
            image_end = image_at + len(_images(result))
            found.append(
                Vectors(
                    _rows(text_vectors, text_at, text_end),
                    _rows(image_vectors, image_at, image_end),
                )
            )
            text_at, image_at = text_end, image_end
        return found

    def _encode_images(self, pixels: Sequence[np.ndarray | None]) -> FloatArray:
        from PIL import Image

        images = []
        for array in pixels:
            if array is None:
                raise ValueError("a reader returned an image without its pixels")
            images.append(Image.fromarray(array))
        return self.image.encode_images(images)


def new_documents(
    results: Sequence[ReadResult], vectors: Sequence[Vectors], spaces: SpaceIds
) -> list[NewDocument]:
    """What was read and embedded, ready to be stored."""
    documents = []
    for result, own in zip(results, vectors, strict=True):
        assert result.document is not None
        new = NewDocument(
            result.file, result.document, result.passages, passage_size=result.size.name
        )
        if own.passages is not None:
            new.passage_vectors = {spaces.text: own.passages}
        if own.images is not None:
            new.image_vectors = {spaces.image: own.images}
        documents.append(new)
    return documents


@dataclass(slots=True)
class DocumentBatch:
    """Read documents that wait to be embedded together."""

    max_passages: int = 512
    max_images: int = 64
    results: list[ReadResult] = field(default_factory=list)
    passages: int = 0
    images: int = 0

    def add(self, result: ReadResult) -> None:
        self.results.append(result)
        self.passages += len(result.passages)
        self.images += len(_images(result))

    @property
    def full(self) -> bool:
        return (
            self.passages >= self.max_passages
            or self.images >= self.max_images
            or len(self.results) >= self.max_passages
        )


def _images(result: ReadResult) -> Sequence:  # type: ignore[type-arg]
    return result.document.images if result.document is not None else ()


def _rows(vectors: FloatArray | None, start: int, end: int) -> FloatArray | None:
    return vectors[start:end] if vectors is not None and end > start else None
