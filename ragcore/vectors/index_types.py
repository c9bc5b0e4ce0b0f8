"""Index types by size, and how each is built, searched and stored.

The switch-over points were measured by `benchmarks/vectors.py`; see docs/measurements/vectors.md.

- exact: every vector is scored; no structure.
- hnsw: a graph over float16 vectors (Malkov & Yashunin 2018, arXiv:1603.09320).
- ivf: inverted lists of float16 vectors (Jégou et al. 2011, "Product quantization for NNS").
- compressed: inverted lists of two-bit RaBitQ codes (Gao & Long 2024, arXiv:2405.12497),
  the candidates re-scored from the float16 copy.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np

from ragcore.vectors import exact

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ragcore.types import FloatArray, IdArray

Kind = Literal["exact", "hnsw", "ivf", "compressed"]
KINDS: tuple[Kind, ...] = ("exact", "hnsw", "ivf", "compressed")

EXACT_UP_TO = 30_000  # rows; above, inverted lists are several times faster
IVF_UP_TO = 250_000  # rows; above, only the codes stay in memory
_RECALL = 0.98  # aimed at when `probes` is tuned; real queries are harder than stored rows
_SAMPLE = 128  # stored rows used as queries when tuning
_TRAIN_PER_LIST = 64  # rows per list that k-means sees
_ITERATIONS = 8
_CANDIDATES = 100  # per query that are re-scored, at least
_PER_RESULT = 4  # and per result asked for


@dataclass(frozen=True, slots=True)
class IndexPlan:
    """What an index was built as. `probes` are lists looked into, or HNSW's efSearch."""

    kind: Kind
    lists: int = 0
    probes: int = 64
    trained_on: int = 0  # rows when it was built

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def kind_for(rows: int, hysteresis: Kind | None = None) -> Kind:
    """The type for this many rows. `hysteresis`, the present type, is kept near a border."""
    slack = 0.5 if hysteresis not in (None, "exact") else 1.0
    if rows <= EXACT_UP_TO * slack:
        return "exact"
    slack = 0.5 if hysteresis == "compressed" else 1.0
    return "ivf" if rows <= IVF_UP_TO * slack else "compressed"


def build(
    kind: Kind, rows: int, dimension: int, gather: exact.Gather, *, gpu: bool = False
) -> tuple[Any, IndexPlan]:
    """Train an index on `rows` rows, fill it and tune it. `kind` is not "exact"."""
    faiss = _faiss()
    lists = _lists(rows)
    spec = {"hnsw": "HNSW32,SQfp16", "ivf": f"IVF{lists},SQfp16"}.get(kind, f"IVF{lists},RaBitQ2")
    index = faiss.index_factory(dimension, spec, faiss.METRIC_INNER_PRODUCT)
    plan = IndexPlan(kind, lists=0 if kind == "hnsw" else lists, trained_on=rows)
    if kind == "hnsw":
        index.hnsw.efConstruction = 120
    else:
        index.cp.niter, index.cp.seed = _ITERATIONS, 1234
        index.cp.min_points_per_centroid = 1
        index.cp.max_points_per_centroid = _TRAIN_PER_LIST
    rng = np.random.default_rng(1234)
    sample = min(rows, max(_TRAIN_PER_LIST * lists, 1000))
    chosen = np.sort(rng.choice(rows, sample, replace=False)).astype(np.int64)
    if gpu and kind != "hnsw":
        index.clustering_index = faiss.index_cpu_to_all_gpus(
            faiss.IndexFlat(dimension, faiss.METRIC_INNER_PRODUCT)
        )
    index.train(gather(chosen))
    for block in exact.blocks(np.arange(rows, dtype=np.int64)):
        index.add(gather(block))
    return index, _tuned(index, plan, rows, gather, rng)


def parameters(
    plan: IndexPlan, probes: int | None = None, bitmap: NDArray[np.uint8] | None = None
) -> Any:
    """FAISS search parameters; `bitmap` has one bit per row that may be found."""
    faiss = _faiss()
    selector = faiss.IDSelectorBitmap(bitmap) if bitmap is not None else None
    chosen = {"sel": selector} if selector is not None else {}
    probes = probes or plan.probes
    if plan.kind == "hnsw":
        return faiss.SearchParametersHNSW(efSearch=probes, **chosen)
    if plan.kind == "ivf":
        return faiss.SearchParametersIVF(nprobe=probes, **chosen)
    return faiss.IVFRaBitQSearchParameters(nprobe=probes, qb=8, centered=False, **chosen)


def search(
    index: Any,
    plan: IndexPlan,
    queries: FloatArray,
    k: int,
    gather: exact.Gather,
    *,
    bitmap: NDArray[np.uint8] | None = None,
    selected: float = 1.0,
) -> tuple[FloatArray, IdArray]:
    """(scores, rows) [q, k]. `selected` is the share of rows that `bitmap` lets through."""
    wanted = k
    if plan.kind == "compressed":
        wanted = max(_CANDIDATES, _PER_RESULT * k)
    probes = plan.probes
    if plan.kind == "hnsw":
        probes = max(probes, wanted)
    if selected < 1.0:
        # The same number of selected rows is to be seen as without a filter.
        limit = plan.lists or 16 * plan.probes
        probes = min(limit, int(np.ceil(probes / max(selected, 1e-6))))
    scores, rows = index.search(queries, wanted, params=parameters(plan, probes, bitmap))
    if plan.kind == "compressed":
        return exact.rescore(queries, rows, gather, k)
    scores = np.where(rows < 0, -np.inf, scores).astype(np.float32)
    return cast("FloatArray", scores), rows


def write(index: Any, path: Path) -> None:
    """Write an index to a file."""
    _faiss().write_index(index, str(path))


def read(path: Path, *, writable: bool = False) -> Any:
    """Open an index file, memory-mapped unless `writable`. A mapped one must not be added to."""
    faiss = _faiss()
    return faiss.read_index(str(path), 0 if writable else faiss.IO_FLAG_MMAP)


def gpu_available() -> bool:
    """Whether this FAISS was built for GPUs and sees one."""
    faiss = _faiss()
    return hasattr(faiss, "StandardGpuResources") and bool(faiss.get_num_gpus() > 0)


def _faiss() -> Any:
    import faiss  # heavy, and its type stubs are incomplete

    return faiss


def _lists(rows: int) -> int:
    """About 4 sqrt(n) inverted lists, a power of two, each with some 30 rows at least."""
    wanted = 2 ** round(np.log2(max(1.0, 4 * np.sqrt(rows))))
    return int(max(1, min(wanted, 16_384, rows // 30)))


def _tuned(
    index: Any, plan: IndexPlan, rows: int, gather: exact.Gather, rng: np.random.Generator
) -> IndexPlan:
    """The plan with the fewest probes that find enough of the exact neighbours of stored rows."""
    k = 10
    if rows <= k + 1:
        return plan
    chosen = np.sort(rng.choice(rows, min(_SAMPLE, rows), replace=False)).astype(np.int64)
    # A query is like a passage, yet no copy of one: half-way to another row imitates that.
    queries = 0.75 * gather(chosen) + 0.25 * gather(rng.permutation(chosen))
    queries /= np.linalg.norm(queries, axis=1, keepdims=True)
    # One neighbour more, since each row finds itself.
    _, truth = exact.search_gathered(queries, np.arange(rows, dtype=np.int64), gather, k + 1)
    options = _probe_steps(plan)
    for probes in options:
        trial = replace(plan, probes=probes)
        _, found = search(index, trial, queries, k + 1, gather)
        if _recall(truth, found, chosen) >= _RECALL:
            return trial
    return replace(plan, probes=options[-1])


def _probe_steps(plan: IndexPlan) -> list[int]:
    steps: Callable[[int, int], list[int]] = lambda low, high: sorted(  # noqa: E731
        {round(low * 2 ** (n / 2)) for n in range(40) if low * 2 ** (n / 2) < high} | {high}
    )
    return steps(32, 512) if plan.kind == "hnsw" else steps(min(4, plan.lists), plan.lists)


def _recall(truth: IdArray, found: IdArray, own: IdArray) -> float:
    hits = total = 0
    for right, got, row in zip(truth, found, own, strict=True):
        wanted = [r for r in right if r not in (row, -1)][: truth.shape[1] - 1]
        hits += len(set(wanted) & set(got.tolist()))
        total += len(wanted)
    return hits / max(1, total)
