"""Vectors in Milvus: one Milvus collection per collection and space, shared by all processes."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ragcore.errors import VectorsUnavailable
from ragcore.vectors import exact
from ragcore.vectors.checks import checked_queries, checked_rows
from ragcore.vectors.generations import CorruptStoreError
from ragcore.vectors.milvus_connection import MilvusConnection, MissingCollectionError

if TYPE_CHECKING:
    from ragcore.types import FloatArray, IdArray
    from ragcore.vectors.backends import Lookup

Kind = Literal["hnsw", "ivf_sq8"]
KINDS: tuple[Kind, ...] = ("hnsw", "ivf_sq8")
HNSW_UP_TO = 2_000_000  # vectors; more would want too much of the server's memory
EXACT_ALLOWED = 5_000  # a filter that lets through fewer is answered exactly
MOST_RESULTS = 16_384  # Milvus's limit on results, and on rows of a query
_BATCH_BYTES = 6 << 20  # of vectors in one request; servers take 64 MB
_IDS = 2_000  # ids in one expression: parsing takes Milvus 40 microseconds each
_RESULTS = 500_000  # results in one request
_FLUSH = 1_000  # changed rows that are worth a flush, after which the server indexes them
_TAG = "ragcore.tag"


class MilvusStore:
    """A `VectorStore` in the collection `name` of a Milvus server or of Milvus Lite.

    The collection is made by the first `add` or `save`. What is added is durable and seen by
    other processes at once; `save` notes the tag and has new rows indexed. `lookup` gives
    vectors from a nearer place than Milvus, such as the catalog. `expected` is the number of
    vectors that an index of kind "auto" is chosen for.

    Raises VectorsUnavailable if Milvus does not answer, CorruptStoreError for a collection of
    that name that is not ours or of another dimension.

    Example:
        >>> store = MilvusStore(MilvusConnection("http://localhost:19530"), "notes", 384)
        >>> store.add(ids, vectors)
        >>> scores, found = store.search(queries, 10)
    """

    shared = True

    def __init__(
        self,
        connection: MilvusConnection,
        name: str,
        dimension: int,
        *,
        kind: Literal["auto"] | Kind = "auto",
        expected: int = 0,
        lookup: Lookup | None = None,
    ) -> None:
        if dimension < 1:
            raise ValueError(f"dimension must be at least 1, not {dimension}")
        if kind != "auto" and kind not in KINDS:
            raise ValueError(f"kind is auto, {', '.join(KINDS)}; not {kind!r}")
        self.name = name
        self._connection = connection
        self._dimension = dimension
        self._wanted = kind
        self._expected = expected
        self._lookup = lookup or self._query_vectors
        self._mutate = threading.RLock()
        self._kind: Kind | None = None  # None: there is no collection
        self._tag = ""
        self._unflushed = 0
        self._losses = -1  # of the connection, when the state was last seen
        self._changes = 1  # known, of others too
        self._seen = 0  # of them, by a read that waited for all writes
        self._counted = (0, 0)  # after how many changes, and how many there were
        self._closed = False
        self._look()

    # --- the contract --------------------------------------------------------

    @property
    def dimension(self) -> int:
        return self._dimension

    @property
    def in_doubt(self) -> bool:
        return self._losses != self._connection.losses

    @property
    def saved_tag(self) -> str:
        """Queried each time: any process may have saved."""
        self._look()
        return self._tag

    def add(self, ids: IdArray, vectors: FloatArray) -> None:
        """Insert; an id already present is replaced. Raises ValueError on a wrong shape."""
        ids, vectors = checked_rows(ids, vectors, self._dimension)
        with self._mutate:
            self._check_open()
            if not len(ids):
                return
            self._make(len(ids))
            step = max(1, _BATCH_BYTES // (4 * self._dimension))
            for at in range(0, len(ids), step):
                rows = zip(ids[at : at + step].tolist(), vectors[at : at + step], strict=True)
                data = [{"id": number, "vector": vector} for number, vector in rows]
                self._connection.write("upsert", self.name, data)
            self._changed(len(ids))

    def remove(self, ids: IdArray) -> int:
        """Remove the ids that are present; return how many were."""
        with self._mutate:
            self._check_open()
            present = self.present(ids)
            for part in exact.blocks(present, _IDS):
                self._connection.write("delete", self.name, ids=part.tolist())
            if len(present):
                self._changed(len(present))
            return len(present)

    def search(
        self, queries: FloatArray, k: int, allowed: IdArray | None = None
    ) -> tuple[FloatArray, IdArray]:
        """(scores, ids), both [q, k], cosines, best first; -inf and -1 where fewer are found."""
        queries = checked_queries(queries, k, self._dimension)
        self._check_open()
        if self._kind is None or not len(queries):
            return exact.empty(len(queries), k)
        if allowed is not None:
            return self._search_allowed(queries, k, _ascending(allowed))
        if k > MOST_RESULTS:
            return self._search_exactly(queries, k, self.ids())
        return self._search_index(queries, k)

    def ids(self) -> IdArray:
        """All ids present, ascending."""
        parts = [np.empty(0, np.int64)]
        last = -1
        while self._kind is not None:
            rows = self._query(f"id > {last}", "id", limit=MOST_RESULTS)
            found = np.sort(np.fromiter((row["id"] for row in rows), np.int64, len(rows)))
            if not len(found):
                break
            parts.append(found)
            last = int(found[-1])
        return np.concatenate(parts)

    def present(self, ids: IdArray) -> IdArray:
        """Those of the ids that are present, ascending, each once."""
        found: list[int] = []
        if self._kind is not None:
            for part in exact.blocks(_ascending(ids), _IDS):
                rows = self._query(f"id in {part.tolist()}", "id", limit=len(part))
                found += [int(row["id"]) for row in rows]
        return np.sort(np.array(found, dtype=np.int64))

    def vectors(self, ids: IdArray) -> FloatArray:
        """The stored vectors [n, d] of these ids (float16 precision). KeyError if absent."""
        wanted, back = np.unique(np.asarray(ids, np.int64), return_inverse=True)
        if not len(wanted):
            return np.empty((0, self._dimension), np.float32)
        found, vectors = self._lookup(wanted)
        if len(found) < len(wanted):
            raise KeyError(int(np.setdiff1d(wanted, found)[0]))
        return np.asarray(vectors[np.argsort(found)][back], dtype=np.float32)

    def count(self) -> int:
        """Kept until something changes: every search asks."""
        if self._kind is None:
            return 0
        changes, counted = self._counted
        if changes != self._changes:
            changes = self._changes
            counted = int(self._query("", "count(*)")[0]["count(*)"])
            self._counted = changes, counted
        return counted

    def save(self, tag: str = "") -> None:
        """Note the tag; many new rows are flushed first, so that the server indexes them."""
        with self._mutate:
            self._check_open()
            self._make(0)
            if self._unflushed >= _FLUSH:
                self._connection.write("flush", self.name)
                self._unflushed = 0
            self._connection.write("alter_collection_properties", self.name, {_TAG: tag})
            self._tag = tag

    def close(self) -> None:
        """The connection is not this store's, and stays open."""
        self._closed = True

    def describe(self) -> dict[str, Any]:
        """What it is now: kind, count, where."""
        kind = f"milvus {self._kind or 'empty'}"
        return {"kind": kind, "count": self.count(), "at": self._connection.address}

    def drop(self) -> None:
        """Delete the Milvus collection."""
        with self._mutate:
            self._connection.write("drop_collection", self.name)
            self._kind, self._tag = None, ""

    # --- searching -----------------------------------------------------------

    def _search_index(self, queries: FloatArray, k: int) -> tuple[FloatArray, IdArray]:
        scores, ids = exact.empty(len(queries), k)
        step = max(1, _RESULTS // k)
        for at in range(0, len(queries), step):
            lines = self._read(
                "search",
                data=list(queries[at : at + step]),
                limit=k,
                output_fields=["id"],
                search_params={"metric_type": "IP", "params": self._level(k)},
            )
            for n, hits in enumerate(lines, at):
                ids[n, : len(hits)] = [hit["id"] for hit in hits]
                scores[n, : len(hits)] = [hit["distance"] for hit in hits]
        return scores, ids

    def _search_allowed(
        self, queries: FloatArray, k: int, allowed: IdArray
    ) -> tuple[FloatArray, IdArray]:
        """Few are scored exactly. Of many, more results are asked for and sifted.

        Milvus's own filters cost 40 microseconds for each id that they name, and an index that
        skips most of its vectors finds less.
        """
        if len(allowed) <= max(k, EXACT_ALLOWED):
            return self._search_exactly(queries, k, allowed)
        share = min(1.0, len(allowed) / max(1, self.count()))
        wanted = min(MOST_RESULTS, int(1.5 * k / share) + 50)
        scores, ids = _sift(*self._search_index(queries, wanted), allowed, k)
        short = ids[:, -1] < 0
        while short.any() and wanted < MOST_RESULTS:
            wanted = min(MOST_RESULTS, 8 * wanted)
            again = _sift(*self._search_index(queries[short], wanted), allowed, k)
            scores[short], ids[short] = again
            short = ids[:, -1] < 0
        if short.any():  # what is allowed lies far from these queries
            scores[short], ids[short] = self._search_exactly(queries[short], k, allowed)
        return scores, ids

    def _search_exactly(
        self, queries: FloatArray, k: int, ids: IdArray
    ) -> tuple[FloatArray, IdArray]:
        best = exact.empty(len(queries), k)
        for block in exact.blocks(ids):
            found, vectors = self._lookup(block)
            if len(found):
                best = exact.merge(best, exact.search_rows(queries, vectors, found, k), k)
        return best

    def _level(self, k: int) -> dict[str, int]:
        """How hard the index looks; docs/reference/vectors.md has the recall of these."""
        if self._kind == "ivf_sq8":
            return {"nprobe": 64}
        return {"ef": min(32_768, max(192, 2 * k))}

    # --- asking --------------------------------------------------------------

    def _read(self, method: str, **options: Any) -> Any:
        """A read that sees all writes of this process, and of others up to the last look.

        The first read after a change waits until Milvus has it, up to 0.2 s; those after it
        need not.
        """
        losses, changes = self._connection.losses, self._changes
        behind = self._seen != changes or losses != self._losses
        options["consistency_level"] = "Strong" if behind else "Session"
        try:
            answer = self._connection.read(method, self.name, **options)
        except MissingCollectionError as error:
            self._losses, self._kind = -1, None  # in doubt
            raise VectorsUnavailable(
                f"the collection {self.name} of Milvus at {self._connection.address} is gone; "
                "the next search makes it again"
            ) from error
        if losses == self._connection.losses:
            self._seen = max(self._seen, changes)
        return answer

    def _query(self, expression: str, *fields: str, limit: int | None = None) -> list[Any]:
        options: dict[str, Any] = {} if limit is None else {"limit": limit}
        return list(self._read("query", filter=expression, output_fields=[*fields], **options))

    def _query_vectors(self, ids: IdArray) -> tuple[IdArray, FloatArray]:
        """Exact, and slow: 0.6 ms a vector."""
        rows = [
            row
            for part in exact.blocks(ids, _IDS)
            if self._kind is not None
            for row in self._query(f"id in {part.tolist()}", "id", "vector", limit=len(part))
        ]
        found = np.fromiter((row["id"] for row in rows), np.int64, len(rows))
        vectors = np.empty((len(rows), self._dimension), np.float32)
        for n, row in enumerate(rows):
            vectors[n] = row["vector"]
        return found, vectors

    # --- the collection ------------------------------------------------------

    def _look(self) -> None:
        """See what there is now: whether the collection exists, its tag, its kind."""
        with self._mutate:
            losses = self._connection.losses
            if not self._connection.read("has_collection", self.name):
                self._kind, self._tag, self._losses = None, "", losses
                return
            about = self._connection.read("describe_collection", self.name)
            self._check_fields(about)
            tag = str(about.get("properties", {}).get(_TAG, ""))
            if self._kind is None or losses != self._losses:
                self._kind = self._index_kind()
                self._connection.write("load_collection", self.name)  # nothing, if it is
                self._changes += 1
            if tag != self._tag:
                self._tag = tag
                self._changes += 1
            if losses == self._connection.losses:
                self._losses = losses

    def _check_fields(self, about: dict[str, Any]) -> None:
        fields = {field["name"]: field for field in about.get("fields", [])}
        dimension = fields.get("vector", {}).get("params", {}).get("dim")
        if set(fields) != {"id", "vector"} or int(dimension or 0) != self._dimension:
            raise CorruptStoreError(
                f"the collection {self.name} of Milvus at {self._connection.address} does not "
                f"hold ids and vectors of {self._dimension} dimensions; "
                "`ragcore doctor --repair` rebuilds it"
            )

    def _index_kind(self) -> Kind:
        about = self._connection.read("describe_index", self.name, index_name="vector")
        return "ivf_sq8" if "IVF" in str((about or {}).get("index_type", "")) else "hnsw"

    def _make(self, rows: int) -> None:
        """Make the collection, its index and load it, unless it is there."""
        if self._kind is not None:
            return
        from pymilvus import DataType, MilvusClient

        schema = MilvusClient.create_schema(auto_id=False, enable_dynamic_field=False)
        schema.add_field("id", DataType.INT64, is_primary=True)
        schema.add_field("vector", DataType.FLOAT_VECTOR, dim=self._dimension)
        kind = self._chosen(max(rows, self._expected))
        index = MilvusClient.prepare_index_params()
        index.add_index("vector", index_name="vector", metric_type="IP", **_parameters(kind, rows))
        self._connection.write(
            "create_collection",
            self.name,
            schema=schema,
            index_params=index,
            consistency_level="Session",
        )
        self._look()

    def _chosen(self, rows: int) -> Kind:
        if self._wanted != "auto":
            return self._wanted
        return "hnsw" if rows <= HNSW_UP_TO else "ivf_sq8"

    def _changed(self, rows: int) -> None:
        self._unflushed += rows
        self._changes += 1

    def _check_open(self) -> None:
        if self._closed:
            raise ValueError("this vector store was closed")


def _parameters(kind: Kind, rows: int) -> dict[str, Any]:
    """For M and efConstruction see Malkov and Yashunin 2016; lists as many as FAISS advises."""
    if kind == "ivf_sq8":
        lists = int(min(65_536, max(16, 4 * rows**0.5)))
        return {"index_type": "IVF_SQ8", "params": {"nlist": lists}}
    return {"index_type": "HNSW", "params": {"M": 16, "efConstruction": 200}}


def _sift(scores: FloatArray, ids: IdArray, allowed: IdArray, k: int) -> tuple[FloatArray, IdArray]:
    """The first k of each line that are allowed; the lines are sorted, best first."""
    allowed_rows = allowed[np.minimum(np.searchsorted(allowed, ids), len(allowed) - 1)] == ids
    order = np.argsort(~allowed_rows, axis=1, kind="stable")[:, :k]
    ids = np.where(
        np.take_along_axis(allowed_rows, order, 1), np.take_along_axis(ids, order, 1), -1
    )
    scores = np.where(ids >= 0, np.take_along_axis(scores, order, 1), np.float32(-np.inf))
    return scores.astype(np.float32), ids.astype(np.int64)


def _ascending(ids: IdArray) -> IdArray:
    """Each id once, in order. Filters come so: looking is quicker than sorting again."""
    ids = np.asarray(ids, dtype=np.int64)
    if (ids[1:] > ids[:-1]).all():
        return ids
    ids = np.sort(ids)
    return np.asarray(ids[np.concatenate([[True], ids[1:] != ids[:-1]])], dtype=np.int64)
