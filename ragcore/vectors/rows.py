"""The vectors themselves, as numbered rows: float16 blocks and a float32 tail.

A row is written once. Removing an item marks its row dead; replacing it adds a new row. Index
structures refer to rows, so they never care about catalog ids.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from ragcore.vectors.exact import BLOCK

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ragcore.types import FloatArray, IdArray

    HalfArray = NDArray[np.float16]
    Mask = NDArray[np.bool_]

_T = TypeVar("_T", bound=np.generic)
_RECENT = 16_384  # ids kept in the small table before they join the sorted one


class VectorRows:
    """Rows 0..n-1 of unit vectors with their ids. Not locked: the store does that.

    Values are those of float16 throughout, so that a score does not change when a row moves
    from the tail (float32, for quick exact search) to the blocks (float16, maybe on disk).
    """

    def __init__(self, dimension: int) -> None:
        self.dimension = dimension
        self._blocks: list[HalfArray] = []
        self._starts = np.zeros(1, np.int64)  # first row of each block; the last is the tail's
        self._tail = np.empty((0, dimension), np.float32)
        self._ids = np.empty(0, np.int64)
        self._alive = np.empty(0, bool)
        self.total = 0
        self.dead = 0
        self._sorted_ids = np.empty(0, np.int64)
        self._sorted_rows = np.empty(0, np.int64)
        self._recent: dict[int, int] = {}
        self._recent_sorted: tuple[IdArray, IdArray] | None = None

    @classmethod
    def of(
        cls, vectors: HalfArray, ids: IdArray, alive: Mask, *, settled: int | None = None
    ) -> VectorRows:
        """Rows over arrays that were stored (float16 [n, d], maybe memory-mapped).

        The first `settled` rows (default: all) stay as they are, the rest makes the tail.
        """
        rows = cls(vectors.shape[1])
        settled = len(ids) if settled is None else settled
        rows._ids, rows._alive = ids.copy(), alive.copy()
        rows.total, rows.dead = len(ids), int(len(alive) - alive.sum())
        if settled:
            rows._set_blocks([vectors[:settled]])
        rows._tail = vectors[settled:].astype(np.float32)
        rows._sort()
        return rows

    # --- reading -------------------------------------------------------------

    @property
    def count(self) -> int:
        """Rows that are alive."""
        return self.total - self.dead

    @property
    def tail_start(self) -> int:
        return int(self._starts[-1])

    @property
    def tail(self) -> FloatArray:
        """The newest rows [n, d], those from `tail_start` on."""
        return self._tail[: self.total - self.tail_start]

    @property
    def alive(self) -> Mask:
        return self._alive[: self.total]

    @property
    def ids(self) -> IdArray:
        """The id of every row, dead ones too."""
        return self._ids[: self.total]

    def alive_ids(self) -> IdArray:
        """Ids that are present, ascending."""
        return np.sort(self.ids[self.alive])

    def gather(self, rows: IdArray) -> FloatArray:
        """float32 [n, d] of these rows."""
        out = np.empty((len(rows), self.dimension), np.float32)
        if len(self._blocks) == 1 and (not len(rows) or int(rows.max()) < self.tail_start):
            np.copyto(out, self._blocks[0][rows])
            return out
        of = np.searchsorted(self._starts, rows, side="right") - 1
        sources: list[NDArray[Any]] = [*self._blocks, self._tail]
        for n, block in enumerate(sources):
            here = np.flatnonzero(of == n)
            if len(here):
                out[here] = block[rows[here] - self._starts[n]]
        return out

    def find(self, ids: IdArray) -> IdArray:
        """The row of each id, -1 where it is not present."""
        rows = _lookup(self._sorted_ids, self._sorted_rows, ids)
        if self._recent:
            if self._recent_sorted is None:
                keys = np.fromiter(self._recent, np.int64, len(self._recent))
                values = np.fromiter(self._recent.values(), np.int64, len(self._recent))
                order = np.argsort(keys)
                self._recent_sorted = keys[order], values[order]
            newer = _lookup(*self._recent_sorted, ids)
            rows = np.where(newer >= 0, newer, rows)
        if self.total:
            rows = np.where((rows >= 0) & self._alive[rows], rows, -1)
        return rows

    # --- writing -------------------------------------------------------------

    def append(self, ids: IdArray, vectors: FloatArray) -> None:
        """Add rows; ids that are present are replaced. `ids` must not repeat."""
        self.kill(ids)
        n, new = self.total, len(ids)
        self._grow(n + new)
        at = n - self.tail_start
        self._tail[at : at + new] = vectors.astype(np.float16)
        self._ids[n : n + new], self._alive[n : n + new] = ids, True
        self.total = n + new
        if new > _RECENT:
            self._sort()
            return
        self._recent.update(zip(ids.tolist(), range(n, n + new), strict=True))
        self._recent_sorted = None
        if len(self._recent) > max(_RECENT, self.total // 16):
            self._sort()

    def kill(self, ids: IdArray) -> int:
        """Mark the rows of these ids dead; return how many there were."""
        rows = self.find(ids)
        rows = rows[rows >= 0]
        if len(rows):
            # Readers may hold the old mask: leave it as it was.
            self._alive = self._alive.copy()
            self._alive[rows] = False
            self.dead += len(rows)
        return len(rows)

    def settle(self, upto: int) -> None:
        """Move the tail's rows before `upto` into a float16 block of their own."""
        start = self.tail_start
        if upto <= start:
            return
        moved = self._tail[: upto - start].astype(np.float16)
        self._tail = self._tail[upto - start : self.total - start].copy()
        blocks = list(self._blocks)
        # Few blocks make gathering quick; merging only like sizes copies each row seldom.
        while blocks and len(blocks[-1]) < 2 * len(moved) and not _on_disk(blocks[-1]):
            moved = np.concatenate([blocks.pop(), moved])
        self._set_blocks([*blocks, moved])

    def remap(self, vectors: HalfArray) -> None:
        """Take the rows of the blocks from `vectors`, which holds the same values."""
        if self.tail_start:
            self._set_blocks([vectors[: self.tail_start]])

    def compacted(self) -> VectorRows:
        """The same without the dead rows, renumbered."""
        alive = np.flatnonzero(self.alive)
        vectors = np.empty((len(alive), self.dimension), np.float16)
        for at in range(0, len(alive), BLOCK):
            vectors[at : at + BLOCK] = self.gather(alive[at : at + BLOCK])
        return VectorRows.of(vectors, self.ids[alive], np.ones(len(alive), bool))

    def loaded(self) -> VectorRows:
        """The same with every row in the tail, ready for exact search."""
        vectors = np.concatenate([*self.halves()]) if self.total else self._no_rows()
        return VectorRows.of(vectors, self.ids, self.alive, settled=0)

    def _no_rows(self) -> HalfArray:
        return np.empty((0, self.dimension), np.float16)

    def halves(self) -> Sequence[HalfArray]:
        """Every row as float16, in pieces, for writing to disk."""
        tail = self.tail
        pieces = [tail[at : at + BLOCK].astype(np.float16) for at in range(0, len(tail), BLOCK)]
        return [*self._blocks, *pieces]

    def _set_blocks(self, blocks: list[HalfArray]) -> None:
        self._blocks = blocks
        self._starts = np.cumsum([0, *(len(block) for block in blocks)], dtype=np.int64)

    def _grow(self, total: int) -> None:
        if total > len(self._ids):
            capacity = max(total, len(self._ids) * 3 // 2, 1024)
            self._ids = _enlarged(self._ids, capacity)
            self._alive = _enlarged(self._alive, capacity)
        wanted = total - self.tail_start
        if wanted > len(self._tail):
            self._tail = _enlarged(self._tail, max(wanted, len(self._tail) * 3 // 2, 1024))

    def _sort(self) -> None:
        rows = np.flatnonzero(self.alive)
        order = rows[np.argsort(self.ids[rows], kind="stable")]
        self._sorted_rows, self._sorted_ids = order, self.ids[order]
        self._recent, self._recent_sorted = {}, None


def _on_disk(block: HalfArray) -> bool:
    return isinstance(block, np.memmap)


def _lookup(keys: IdArray, values: IdArray, wanted: IdArray) -> IdArray:
    if not len(keys):
        return np.full(len(wanted), -1, np.int64)
    at = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where(keys[at] == wanted, values[at], -1)


def _enlarged(array: NDArray[_T], capacity: int) -> NDArray[_T]:
    bigger = np.zeros((capacity, *array.shape[1:]), array.dtype)
    bigger[: len(array)] = array
    return bigger
