"""The default vector store: FAISS in this process, one folder per store."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ragcore.vectors import exact, generations, index_types
from ragcore.vectors.checks import checked_queries, checked_rows
from ragcore.vectors.generations import CorruptStoreError, Generation
from ragcore.vectors.index_types import IndexPlan, Kind
from ragcore.vectors.read_write_lock import ReadWriteLock
from ragcore.vectors.rows import VectorRows

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ragcore.types import FloatArray, IdArray

    Mask = NDArray[np.bool_]

SMALLEST_INDEX = 64  # rows; fewer are always searched exactly
EXACT_ALLOWED = 5_000  # a filter that lets through fewer rows is answered exactly
_GROWN = 3  # an index is trained again when it holds this many times its first rows
_DEAD_SHARE = 0.25  # of the rows; more, and the store is compacted
_INDEX, _VECTORS, _IDS, _ALIVE = "index.faiss", "vectors.f16", "ids.i64", "alive.u8"


class FaissStore:
    """A `VectorStore` in `folder`, opened as it was last saved, or new.

    Threads may search while others add and remove. Several processes may open one folder:
    each sees the state that was current when it opened it, and the last to save wins.

    Raises `CorruptStoreError` (a RagcoreError) when the stored state fails its checksums.

    Example:
        >>> store = FaissStore(Path("indexes/notes"), 384)
        >>> store.add(ids, vectors)
        >>> scores, found = store.search(queries, 10)
        >>> store.save()
    """

    def __init__(
        self,
        folder: str | Path,
        dimension: int,
        *,
        kind: Literal["auto"] | Kind = "auto",
        device: Literal["auto", "cpu", "cuda"] = "cpu",
    ) -> None:
        """`kind` "auto" follows the size. `device`: where index training runs."""
        if dimension < 1:
            raise ValueError(f"dimension must be at least 1, not {dimension}")
        if kind != "auto" and kind not in index_types.KINDS:
            raise ValueError(f"kind is auto, {', '.join(index_types.KINDS)}; not {kind!r}")
        self.folder = Path(folder)
        self._dimension = dimension
        self._wanted = kind
        self._gpu = device != "cpu" and index_types.gpu_available()
        self._mutate = threading.RLock()  # one writer at a time, long work included
        self._lock = ReadWriteLock()  # held shortly by writers, and by every search
        self._rows = VectorRows(dimension)
        self._index: Any = None  # over rows 0.._indexed - 1; None: all are searched exactly
        self._plan = IndexPlan("exact")
        self._indexed = 0
        self._mapped = False  # the index is memory-mapped: read-only
        self._changed = True  # since it was saved or opened
        self._index_changed = False
        self._generation: Generation | None = None
        self._closed = False
        self._open()

    # --- the contract --------------------------------------------------------

    shared = False
    in_doubt = False

    @property
    def dimension(self) -> int:
        return self._dimension

    @property
    def saved_tag(self) -> str:
        return str(self._generation.manifest["tag"]) if self._generation else ""

    @property
    def kind(self) -> Kind:
        """The index type in use now."""
        return self._plan.kind

    def add(self, ids: IdArray, vectors: FloatArray) -> None:
        """Insert; an id already present is replaced. Raises ValueError on a wrong shape."""
        ids, vectors = checked_rows(ids, vectors, self._dimension)
        with self._mutate:
            self._check_open()
            if not len(ids):
                return
            with self._lock.write():
                self._rows.append(ids, vectors)
                self._changed = True
            self._maintain()

    def remove(self, ids: IdArray) -> int:
        """Remove the ids that are present; return how many were."""
        wanted = np.unique(np.asarray(ids, dtype=np.int64))
        with self._mutate:
            self._check_open()
            with self._lock.write():
                removed = self._rows.kill(wanted)
                self._changed |= removed > 0
            if removed:
                self._maintain()
            return removed

    def search(
        self, queries: FloatArray, k: int, allowed: IdArray | None = None
    ) -> tuple[FloatArray, IdArray]:
        """(scores, ids), both [q, k], cosines, best first; -inf and -1 where fewer are found."""
        queries = checked_queries(queries, k, self._dimension)
        with self._lock.read():
            self._check_open()
            scores, rows = self._search(queries, k, allowed)
            ids = self._rows.ids
            return scores, np.where(rows < 0, -1, ids[rows] if len(ids) else -1)

    def ids(self) -> IdArray:
        """All ids present, ascending."""
        with self._lock.read():
            return self._rows.alive_ids()

    def present(self, ids: IdArray) -> IdArray:
        """Those of the ids that are present, ascending, each once."""
        wanted = np.unique(np.asarray(ids, dtype=np.int64))
        with self._lock.read():
            return wanted[self._rows.find(wanted) >= 0]

    def vectors(self, ids: IdArray) -> FloatArray:
        """The stored vectors [n, d] of these ids (float16 precision). KeyError if absent."""
        wanted = np.asarray(ids, dtype=np.int64)
        with self._lock.read():
            rows = self._rows.find(wanted)
            if (rows < 0).any():
                raise KeyError(int(wanted[rows < 0][0]))
            return self._rows.gather(rows)

    def count(self) -> int:
        with self._lock.read():
            return self._rows.count

    def save(self, tag: str = "") -> None:
        """Make everything durable, atomically; see `ragcore.vectors.generations`."""
        with self._mutate:
            self._check_open()
            if self._generation and not self._changed and tag == self.saved_tag:
                return
            if self._index is None and self._rows.dead:
                rows = self._rows.compacted().loaded()
                with self._lock.write():
                    self._rows = rows
            self._generation = generations.publish(self.folder, lambda to: self._write(to, tag))
            self._changed = self._index_changed = False
            if self._index is not None:
                self._release()

    def close(self) -> None:
        """Free everything. Does not save."""
        with self._mutate, self._lock.write():
            self._closed = True
            self._index = None
            self._rows = VectorRows(self._dimension)

    def describe(self) -> dict[str, Any]:
        """What it is now: kind, count, removed rows still held, lists, probes, bytes."""
        with self._lock.read():
            return {
                "kind": self._plan.kind,
                "count": self._rows.count,
                "removed": self._rows.dead,
                "not_indexed": self._rows.total - self._indexed,
                "lists": self._plan.lists,
                "probes": self._plan.probes,
                "memory_mapped": self._mapped,
            }

    # --- searching -----------------------------------------------------------

    def _search(
        self, queries: FloatArray, k: int, allowed: IdArray | None
    ) -> tuple[FloatArray, IdArray]:
        rows = self._rows
        if allowed is None:
            mask = rows.alive if rows.dead else None
        else:
            found = rows.find(np.asarray(allowed, dtype=np.int64))
            found = found[found >= 0]
            if not len(found):
                return exact.empty(len(queries), k)
            if self._index is not None and len(found) <= EXACT_ALLOWED:
                return exact.search_gathered(queries, np.unique(found), rows.gather, k)
            mask = np.zeros(rows.total, bool)
            mask[found] = True
        start = rows.tail_start
        tail_mask = mask[start:] if mask is not None else None
        newest = exact.search_block(queries, rows.tail, start, k, tail_mask)
        if self._index is None:
            return newest
        older = self._search_index(queries, k, mask[:start] if mask is not None else None)
        return exact.merge(older, newest, k)

    def _search_index(
        self, queries: FloatArray, k: int, mask: Mask | None
    ) -> tuple[FloatArray, IdArray]:
        bitmap, selected = None, self._indexed
        if mask is not None:
            selected = int(mask.sum())
            if not selected:
                return exact.empty(len(queries), k)
            bitmap = np.packbits(mask, bitorder="little")
        share = selected / self._indexed
        result = index_types.search(
            self._index, self._plan, queries, k, self._rows.gather, bitmap=bitmap, selected=share
        )
        # Lists that were looked into may hold too few: then look into more of them.
        short = (result[1] >= 0).sum(axis=1) < min(k, selected)
        while short.any() and share > 1e-6:
            share /= 8
            again = index_types.search(
                self._index,
                self._plan,
                queries[short],
                k,
                self._rows.gather,
                bitmap=bitmap,
                selected=share,
            )
            result[0][short], result[1][short] = again
            short = (result[1] >= 0).sum(axis=1) < min(k, selected)
            if self._plan.kind == "hnsw" or share * (self._plan.lists or 1) < self._plan.probes:
                break
        if short.any():  # a graph may not reach them all
            rows = np.arange(self._indexed) if mask is None else np.flatnonzero(mask)
            exactly = exact.search_gathered(queries[short], rows, self._rows.gather, k)
            result[0][short], result[1][short] = exactly
        return result

    # --- keeping the index right ---------------------------------------------

    def _maintain(self) -> None:
        """Build, extend, retrain, re-type or compact, as the rows ask for."""
        rows = self._rows
        wanted = self._wanted
        if wanted == "auto":
            wanted = index_types.kind_for(rows.count, self._plan.kind)
        if rows.count < SMALLEST_INDEX:
            wanted = "exact"
        crowded = rows.dead > 1000 and rows.dead > _DEAD_SHARE * rows.total
        if wanted == "exact":
            if self._index is not None or crowded:
                self._swap(rows.compacted().loaded(), None, IndexPlan("exact"))
        elif (
            self._index is None
            or crowded
            or wanted != self._plan.kind
            or (self._plan.lists and rows.count > _GROWN * self._plan.trained_on)
        ):
            self._rebuild(wanted)
        elif rows.total - self._indexed > _tail_limit(rows.total):
            self._extend()

    def _rebuild(self, kind: Kind) -> None:
        rows = self._rows
        if rows.dead > 0.05 * rows.total:
            rows = rows.compacted()
        index, plan = index_types.build(
            kind, rows.total, self._dimension, rows.gather, gpu=self._gpu
        )
        self._swap(rows, index, plan)

    def _swap(self, rows: VectorRows, index: Any, plan: IndexPlan) -> None:
        with self._lock.write():
            if index is not None:
                rows.settle(rows.total)
            self._rows, self._index, self._plan = rows, index, plan
            self._indexed = rows.total if index is not None else 0
            self._mapped = False
            self._changed = self._index_changed = True

    def _extend(self) -> None:
        """Add the newest rows to the index, piece by piece so that searches get through."""
        if self._mapped:
            path = self._generation.path(_INDEX) if self._generation else None
            try:
                index = index_types.read(path, writable=True) if path else None
            except (RuntimeError, OSError):
                index = None  # replaced by another process since it was opened
            if index is None:
                self._rebuild(self._plan.kind)
                return
            with self._lock.write():
                self._index, self._mapped = index, False
        rows = self._rows
        for block in exact.blocks(np.arange(self._indexed, rows.total, dtype=np.int64), 2048):
            vectors = rows.gather(block)
            with self._lock.write():
                self._index.add(vectors)
                self._indexed = int(block[-1]) + 1
                rows.settle(self._indexed)
                self._index_changed = True

    # --- disk ----------------------------------------------------------------

    def _open(self) -> None:
        generation = generations.current(self.folder)
        if generation is None:
            return
        about = generation.manifest
        if about["dimension"] != self._dimension:
            raise CorruptStoreError(
                f"the index in {self.folder} holds vectors of {about['dimension']} dimensions, "
                f"not {self._dimension}; `ragcore doctor --repair` rebuilds it"
            )
        total, self._plan = int(about["total"]), IndexPlan(**about["plan"])
        self._indexed = int(about["indexed"])
        ids = np.fromfile(generation.path(_IDS), np.int64)
        alive = np.fromfile(generation.path(_ALIVE), np.uint8).astype(bool)
        vectors = _map(generation.path(_VECTORS), total, self._dimension)
        self._rows = VectorRows.of(vectors, ids, alive, settled=self._indexed)
        if self._indexed:
            self._index, self._mapped = index_types.read(generation.path(_INDEX)), True
        self._generation, self._changed = generation, False
        if self._wanted not in ("auto", self._plan.kind):
            self._maintain()

    def _write(self, to: Path, tag: str) -> dict[str, Any]:
        rows = self._rows
        with (to / _VECTORS).open("wb") as file:
            for piece in rows.halves():
                file.write(np.ascontiguousarray(piece).data)
        rows.ids.tofile(to / _IDS)
        rows.alive.astype(np.uint8).tofile(to / _ALIVE)
        if self._index is not None:
            self._write_index(to / _INDEX)
        about = {
            "tag": tag,
            "dimension": self._dimension,
            "total": rows.total,
            "indexed": self._indexed,
            "plan": self._plan.to_json(),
        }
        json.dumps(about)  # fails here, not half-way
        return about

    def _write_index(self, path: Path) -> None:
        if not self._index_changed and self._generation is not None:
            try:
                os.link(self._generation.path(_INDEX), path)
                return
            except OSError:
                pass  # gone, or a file system without hard links
        if self._mapped:  # a mapped index would be written as a reference to its file
            rows = self._rows
            index, plan = index_types.build(
                self._plan.kind, self._indexed, self._dimension, rows.gather, gpu=self._gpu
            )
            with self._lock.write():
                self._index, self._plan, self._mapped = index, plan, False
        index_types.write(self._index, path)

    def _release(self) -> None:
        """Let the float16 rows live in the file that was just written, not in memory."""
        assert self._generation is not None
        vectors = _map(self._generation.path(_VECTORS), self._rows.total, self._dimension)
        with self._lock.write():
            self._rows.remap(vectors)

    # --- checks --------------------------------------------------------------

    def _check_open(self) -> None:
        if self._closed:
            raise ValueError("this vector store was closed")


def _tail_limit(total: int) -> int:
    """Rows that may wait outside the index: scoring them exactly takes a millisecond or two."""
    return min(16_384, max(4_096, total // 50))


def _map(path: Path, rows: int, dimension: int) -> NDArray[np.float16]:
    if not rows:
        return np.empty((0, dimension), np.float16)
    return np.memmap(path, np.float16, "r", shape=(rows, dimension))
