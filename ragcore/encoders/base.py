"""What runs an embedding model. Two contracts and a reranker's.

Every encoder is bound to one `Space`: vectors of two spaces are never compared.
Constructors are light and reject bad arguments; weights load on first use or `warm_up()`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from PIL.Image import Image

    from ragcore.types import FloatArray

TextKind = Literal["query", "passage"]


@dataclass(frozen=True, slots=True)
class Space:
    """One embedding model at one revision. `name` is stable and unique, e.g.
    "minilm-l6-v2@8b3219a9"; vectors are L2-normalised, so the metric is the cosine."""

    name: str
    modality: Literal["text", "image"]
    dimension: int


class TextEncoder(Protocol):
    """Texts to unit vectors."""

    @property
    def space(self) -> Space: ...

    def warm_up(self) -> None: ...

    def encode(self, texts: Sequence[str], kind: TextKind = "passage") -> FloatArray:
        """Return float32 [n, d], L2-normalised, in the order given."""
        ...


class ImageTextEncoder(Protocol):
    """Pictures and texts into one space (CLIP)."""

    @property
    def space(self) -> Space: ...

    def warm_up(self) -> None: ...

    def encode_images(self, images: Sequence[Image]) -> FloatArray:
        """Return float32 [n, d], L2-normalised. Images are RGB."""
        ...

    def encode_texts(self, texts: Sequence[str]) -> FloatArray:
        """Return float32 [n, d], L2-normalised."""
        ...


class Reranker(Protocol):
    """A cross-encoder."""

    def scores(self, query: str, passages: Sequence[str]) -> FloatArray:
        """Return float32 [n], higher is more relevant."""
        ...
