"""The contract of a vector store: one collection's vectors in one space.

The catalog keeps the float16 embeddings and is the source of truth; a store is a
derived, rebuildable index over them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from ragcore.types import FloatArray, IdArray


class VectorStore(Protocol):
    """Ids are catalog ids (int64, unique). Vectors are float32 [n, d], L2-normalized.

    A store of one process keeps what was last saved; one that is `shared` keeps every change at
    once, so that it may be ahead of its tag. Making the changes after the tag again is right
    for both.
    """

    @property
    def dimension(self) -> int: ...

    @property
    def shared(self) -> bool:
        """Whether several processes work on one state: then writers take turns."""
        ...

    @property
    def in_doubt(self) -> bool:
        """Whether a shared state was out of sight: `saved_tag` gives the current one."""
        ...

    def add(self, ids: IdArray, vectors: FloatArray) -> None:
        """Insert; an id already present is replaced. Raises ValueError on a wrong shape."""
        ...

    def remove(self, ids: IdArray) -> int:
        """Remove the ids that are present; return how many were."""
        ...

    def search(
        self, queries: FloatArray, k: int, allowed: IdArray | None = None
    ) -> tuple[FloatArray, IdArray]:
        """Return (scores, ids), both [q, k], cosines, best first.

        Where fewer than k are found the rest is score -inf and id -1.
        `allowed` limits the search to these ids (an empty array finds nothing).
        """
        ...

    def ids(self) -> IdArray:
        """All ids present, ascending."""
        ...

    def present(self, ids: IdArray) -> IdArray:
        """Those of the ids that are present, ascending, each once."""
        ...

    def vectors(self, ids: IdArray) -> FloatArray:
        """The stored vectors [n, d] of these ids (float16 precision). KeyError if one is absent."""
        ...

    def count(self) -> int: ...

    def save(self, tag: str = "") -> None:
        """Make everything durable, atomically. `tag` is kept with it (see `saved_tag`)."""
        ...

    @property
    def saved_tag(self) -> str:
        """The `tag` of the state that was last saved or opened; "" for a new store.

        Of a shared store: what was saved last, by whichever process.
        """
        ...

    def close(self) -> None:
        """Free everything. Does not save."""
        ...
