"""Where the stages of an ingest run: in this machine's processes, or elsewhere (`ray_engine`).

The pipeline decides what is read, keeps the account and stores; an engine reads and embeds.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol, Self

from ragcore.catalog import FileState, NewDocument
from ragcore.ingest.embed import Embedder, SpaceIds, new_documents
from ragcore.ingest.fetch import Fetch
from ragcore.ingest.pool import ReaderPool
from ragcore.ingest.sizes import Reach, reach_of
from ragcore.ingest.speech import Transcription
from ragcore.ingest.worker import ReadRequest, ReadResult
from ragcore.readers import readers
from ragcore.settings import Settings
from ragcore.types import PassageSize

if TYPE_CHECKING:
    from ragcore.models import Space

# From the encoders' spaces (text, images) to their ids. Raises UsageError for spaces that are
# not the collection's.
FindSpaces = Callable[["Space", "Space"], SpaceIds]
# From the name of the text encoder's space and what it reads to the size of passages. Raises
# UsageError where it reads less than was asked for.
DecideSize = Callable[[str, Reach], PassageSize]


class Engine(Protocol):
    """Reads and embeds. A context: entered before the first call, left when all is done.

    `read` and `embed` run side by side, in two threads.
    """

    def __enter__(self) -> Self: ...

    def __exit__(self, *error: object) -> None: ...

    def read(
        self,
        requests: Iterable[ReadRequest],
        is_known: Callable[[FileState], bool],
        fetch: Fetch,
    ) -> Generator[ReadResult | None, None, None]:
        """One result a request, in the order in which they are done; None: nothing just now.

        Every file is fetched and hashed first; one whose content `is_known` comes back as
        `same`, unread.
        """
        ...

    def embed(
        self, batches: Iterable[Sequence[ReadResult] | None]
    ) -> Iterator[Sequence[NewDocument]]:
        """All documents of the batches, in any order. An empty list now and then is no end."""
        ...


class LocalEngine(Engine):
    """Reader processes and encoders of this machine."""

    def __init__(
        self,
        settings: Settings,
        make_embedder: Callable[[], Embedder],
        find_spaces: FindSpaces,
        decide_size: DecideSize,
        transcription: Transcription | None = None,
    ) -> None:
        """`transcription` reads what is said in recordings; without, they are not read."""
        self._settings = settings
        self._make_embedder = make_embedder
        self._find_spaces = find_spaces
        self._decide_size = decide_size
        self._transcription = transcription

    def __enter__(self) -> Self:
        self._embedder = self._make_embedder()
        text = self._embedder.text
        self._spaces = self._find_spaces(text.space, self._embedder.image.space)
        self._size = self._decide_size(text.space.name, reach_of(text))
        return self

    def __exit__(self, *error: object) -> None:
        """The encoders stay loaded, for searching; readers end with the generator."""

    def read(
        self,
        requests: Iterable[ReadRequest],
        is_known: Callable[[FileState], bool],
        fetch: Fetch,
    ) -> Generator[ReadResult | None, None, None]:
        readers()  # here too, so that a plug-in that cannot be used is reported once
        pool = ReaderPool(self._settings, is_known, fetch, self._transcription)
        speech = self._transcription is not None
        return pool.results(
            replace(request, size=self._size, options=replace(request.options, speech=speech))
            for request in requests
        )

    def embed(
        self, batches: Iterable[Sequence[ReadResult] | None]
    ) -> Iterator[Sequence[NewDocument]]:
        for batch in batches:
            if batch is None:
                yield ()
            else:
                yield new_documents(batch, self._embedder.embed(batch), self._spaces)
