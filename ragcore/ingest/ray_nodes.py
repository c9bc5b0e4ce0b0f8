"""What runs on the nodes of a Ray cluster: tasks that read, actors that embed.

Nothing here imports Ray: `ragcore.ingest.ray_engine` wraps both for it.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ragcore import __version__
from ragcore.ingest.pool import ReaderProcess
from ragcore.ingest.sizes import Reach, reach_of
from ragcore.ingest.worker import ReadRequest, ReadResult

if TYPE_CHECKING:
    from ragcore.ingest.embed import Embedder, Vectors
    from ragcore.models import Space

_reader: ReaderProcess | None = None  # one a worker process of Ray, kept from task to task


def read_sent(request: ReadRequest, content: bytes, timeout: float) -> ReadResult:
    """Read a file whose content was sent, in a process of its own as at home.

    The file's name is kept, so that its suffix and the reasons of failures are the same.
    """
    global _reader
    if _reader is None:
        _reader = ReaderProcess(timeout)
    with tempfile.TemporaryDirectory(prefix="ragcore-") as folder:
        path = Path(folder, request.file.name)
        path.write_bytes(content)
        return _reader.read(replace(request, copy=str(path)))


@dataclass(frozen=True, slots=True)
class Opened:
    """What an actor says of itself when its models are loaded."""

    version: str
    device: str
    text: Space
    image: Space
    reach: Reach


class EmbeddingActor:
    """The encoders of one GPU, or of one node without any."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        """`settings`: fields of `ragcore.settings.Settings` that choose and place models."""
        self._fields = dict(settings)

    def open(self) -> Opened:
        """Load the models. Raises RagcoreError if this node has not what they need."""
        from ragcore.ingest.embed import Embedder
        from ragcore.models import Models, place
        from ragcore.settings import Settings

        if cache := os.environ.get("RAGCORE_WEIGHTS_CACHE"):  # a node may have its own
            self._fields["weights_cache"] = Path(cache)
        settings = Settings(**self._fields)
        models = Models(settings)
        text, image = models.text_encoder(), models.image_text_encoder()
        text.warm_up()
        image.warm_up()
        self._embedder: Embedder = Embedder(text, image)
        placed = place(settings)
        device = f"{placed.device} {placed.precision}"
        return Opened(__version__, device, text.space, image.space, reach_of(text))

    def embed(self, results: Sequence[ReadResult]) -> list[Vectors]:
        return self._embedder.embed(results)
