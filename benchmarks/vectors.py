"""Index types against exact search, on vectors made here: recall, speed, memory, build time.

    python benchmarks/vectors.py --rows 1000000 --kinds exact ivf compressed

The vectors imitate sentence embeddings: topics hold clusters of very unequal size (Pareto), the
spectrum falls off (1 / sqrt(1 + i / 24)), a query is one more draw from a cluster. Everything is
measured in one run; "times exact" is a ratio of that run. The baseline is FAISS's own flat index.
Queries are timed in processor time on one thread, so that other work on the machine disturbs
less.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ragcore.vectors.faiss_store import FaissStore

if TYPE_CHECKING:
    from ragcore.types import FloatArray, IdArray

K = 10


def clustered(rows: int, dimension: int, *, seed: int = 0) -> FloatArray:
    """Unit vectors [rows, dimension]; see the top of this file."""
    rng = np.random.default_rng(seed)
    clusters = max(16, rows // 250)
    spectrum = (1 / np.sqrt(1 + np.arange(dimension) / 24)).astype(np.float32)

    def draw(n: int) -> FloatArray:
        return rng.standard_normal((n, dimension), dtype=np.float32) * spectrum

    topics = draw(max(4, clusters // 40))
    centers = topics[rng.integers(0, len(topics), clusters)] + 0.8 * draw(clusters)
    share = rng.pareto(1.5, clusters) + 0.2
    share /= share.sum()
    out = np.empty((rows, dimension), np.float32)
    for at in range(0, rows, 50_000):
        n = min(50_000, rows - at)
        out[at : at + n] = centers[rng.choice(clusters, n, p=share)] + 0.8 * draw(n)
    return out / np.linalg.norm(out, axis=1, keepdims=True)


def seconds_per_query(
    search: Callable[[FloatArray], object], queries: FloatArray
) -> tuple[float, float]:
    """(mean, median) of the best of three rounds, one query at a time as a person's come."""
    best = (float("inf"), float("inf"))
    for _ in range(3):
        times = []
        for n in range(len(queries)):
            start = time.process_time()
            search(queries[n : n + 1])
            times.append(time.process_time() - start)
        best = min(best, (float(np.mean(times)), float(np.median(times))))
    return best


def resident(store: FaissStore) -> float:
    """Bytes that the store's search structure keeps in memory for each vector.

    The float16 copy lies in a memory-mapped file and is read only where candidates are re-scored.
    """
    import faiss

    index = store._index
    if index is None:
        return 4.0 * store.dimension
    return len(faiss.serialize_index(index)) / store.count()


def measure(
    kind: str, vectors: FloatArray, queries: FloatArray, right: IdArray, exact: float, folder: Path
) -> dict[str, object]:
    """One index type: build, save, open again memory-mapped, search."""
    import faiss

    threads = faiss.omp_get_max_threads()
    store = FaissStore(folder / kind, vectors.shape[1], kind=kind)  # type: ignore[arg-type]
    start, worked = time.perf_counter(), time.process_time()
    store.add(np.arange(len(vectors)), vectors)
    built, worked = time.perf_counter() - start, time.process_time() - worked
    size = resident(store)
    start = time.perf_counter()
    store.save()
    saved = time.perf_counter() - start
    store.close()
    start = time.perf_counter()
    store = FaissStore(folder / kind, vectors.shape[1], kind=kind)  # type: ignore[arg-type]
    opened = time.perf_counter() - start
    found = store.search(queries, K)[1]
    faiss.omp_set_num_threads(1)
    hits = [len(set(f) & set(r)) / K for f, r in zip(found, right, strict=True)]
    one, median = seconds_per_query(lambda q: store.search(q, K), queries[:50])
    faiss.omp_set_num_threads(threads)
    about = store.describe()
    store.close()
    return {
        "kind": kind,
        "recall@10": round(float(np.mean(hits)), 4),
        "ms": round(1e3 * one, 3),
        "p50 ms": round(1e3 * median, 3),
        "times exact": round(exact / one, 1),
        "bytes per vector": round(size),
        "share of float32": round(size / (4 * vectors.shape[1]), 3),
        "build s": round(built, 1),
        "build processor s": round(worked, 1),
        "save s": round(saved, 2),
        "open s": round(opened, 2),
        "lists": about["lists"],
        "probes": about["probes"],
    }


def main() -> None:
    import faiss

    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--dimension", type=int, default=384)
    parser.add_argument("--queries", type=int, default=200)
    parser.add_argument("--kinds", nargs="+", default=["exact", "ivf", "compressed", "hnsw"])
    parser.add_argument("--folder", type=Path, help="Where the stores are written.")
    arguments = parser.parse_args()
    everything = clustered(arguments.rows + arguments.queries, arguments.dimension)
    vectors, queries = everything[: arguments.rows], everything[arguments.rows :]
    flat = faiss.IndexFlatIP(arguments.dimension)
    flat.add(vectors)
    right = flat.search(queries, K)[1]
    threads = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    exact, median = seconds_per_query(lambda q: flat.search(q, K), queries[:20])
    faiss.omp_set_num_threads(threads)
    flat.reset()
    report = f"{1e3 * exact:.1f} ms a query (p50 {1e3 * median:.1f})"
    print(f"{arguments.rows} x {arguments.dimension}; exact: {report}")
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        for kind in arguments.kinds:
            row = measure(kind, vectors, queries, right, exact, Path(folder))
            print(json.dumps(row))
            sys.stdout.flush()


if __name__ == "__main__":
    main()
