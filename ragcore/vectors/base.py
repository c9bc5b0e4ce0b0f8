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
        """Insert vectors; an id already present is replaced.

        Args:
            ids: int64 [n], unique.
            vectors: float32 [n, d], L2-normalized.

        Raises:
            ValueError: A shape is wrong.
        """
        ...

    def remove(self, ids: IdArray) -> int:
        """Remove ids.

        Args:
            ids: int64 [n]; those that are not present are passed over.

        Returns:
            How many were present.
        """
        ...

    def search(
        self, queries: FloatArray, k: int, allowed: IdArray | None = None
    ) -> tuple[FloatArray, IdArray]:
        """Find the nearest vectors.

        Args:
            queries: float32 [q, d], L2-normalized.
            k: How many for each query.
            allowed: int64 [m], the only ids that may be found; an empty array finds nothing. None:
                all.

        Returns:
            (scores, ids), float32 and int64 [q, k]: cosines, best first. Where fewer than k are
            found the rest is score -inf and id -1.
        """
        ...

    def ids(self) -> IdArray:
        """All ids present, ascending."""
        ...

    def present(self, ids: IdArray) -> IdArray:
        """Look which ids there are.

        Args:
            ids: int64 [n].

        Returns:
            Those that are present, ascending, each once.
        """
        ...

    def vectors(self, ids: IdArray) -> FloatArray:
        """Stored vectors.

        Args:
            ids: int64 [n].

        Returns:
            float32 [n, d] in float16 precision, in the order of the ids.

        Raises:
            KeyError: One of the ids is not present.
        """
        ...

    def count(self) -> int: ...

    def save(self, tag: str = "") -> None:
        """Make everything durable, atomically.

        Args:
            tag: Stored with it; see `saved_tag`.
        """
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
