"""What a search costs around its encoder and its vector index, at 100,000 passages.

    python benchmarks/search.py --passages 100000

The collection is made here: passages of a few sentences drawn from a text collection in BEIR's
layout (or from generated words without one), with random unit vectors around 2,000 centers in
place of embeddings, so that it is made in a minute. Queries are real and really encoded. One run
measures, for each query: the encoder alone, the vector index alone, the lexical index alone, and
the whole search. Lexical search runs beside the encoder, so the whole takes less time on the clock
than its parts; processor time adds them up, and is not disturbed by other work on the machine.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
from sqlalchemy import insert

from ragcore.catalog import Catalog
from ragcore.catalog.embeddings import add_embeddings
from ragcore.catalog.models import Document, Passage
from ragcore.models import Models
from ragcore.search import SearchEngine, Stores
from ragcore.search.words import query_words
from ragcore.settings import Settings
from ragcore.types import SearchQuery

_TERMS = """wing flow pressure boundary layer heat transfer shell buckling supersonic cone nozzle
plate stress load theory experiment velocity temperature shock wave lift drag body surface
gradient laminar turbulent stability flutter panel cylinder jet wake edge rate ratio"""
WORDS = _TERMS.split()
QUESTIONS = (
    "what is the heat transfer at a blunt body in hypersonic flow",
    "buckling of thin cylindrical shells under axial load",
    "how does a boundary layer separate",
    "experiments on wing flutter at transonic speed",
    "jet mixing noise",
)


def sentences(folder: Path | None) -> tuple[list[str], list[str]]:
    """(sentences to draw from, queries)."""
    if folder is None:
        rng = np.random.default_rng(0)
        made = [" ".join(rng.choice(WORDS, 12)) for _ in range(5_000)]
        return made, list(QUESTIONS)
    texts = [json.loads(line)["text"] for line in (folder / "corpus.jsonl").open()]
    queries = [json.loads(line)["text"] for line in (folder / "queries.jsonl").open()]
    return [s for t in texts for s in t.split(" . ") if len(s) > 30], queries


def fill(catalog: Catalog, space_name: str, dimension: int, pool: list[str], count: int) -> None:
    """One collection of `count` passages, ten to a document."""
    rng = np.random.default_rng(1)
    row = catalog.create_collection("default")
    space_id = catalog.space_id(space_name, "text", dimension)
    catalog.use_space(row.id, space_id, "text")
    centers = rng.standard_normal((2_000, dimension), dtype=np.float32)
    for at in range(0, count, 5_000):
        n = min(5_000, count - at)
        documents = [
            {"id": d + 1, "collection_id": row.id, "path": f"/{d}.txt", "name": f"{d}.txt"}
            for d in range(at // 10, (at + n + 9) // 10)
        ]
        place = {"collection_id": row.id, "page": 1, "page_end": 1, "start": 0, "end": 0}
        passages = [
            {
                **place,
                "id": i + 1,
                "document_id": i // 10 + 1,
                "ordinal": i % 10,
                "text": ". ".join(pool[j] for j in rng.integers(0, len(pool), 4)),
            }
            for i in range(at, at + n)
        ]
        vectors = centers[rng.integers(0, 2_000, n)]
        vectors = vectors + rng.standard_normal((n, dimension), dtype=np.float32)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        with catalog.write() as session:
            session.execute(insert(Document), documents)
            session.execute(insert(Passage), passages)
            add_embeddings(session, row.id, space_id, [p["id"] for p in passages], vectors)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--passages", type=int, default=100_000)
    parser.add_argument("--queries", type=int, default=40)
    parser.add_argument("--beir", type=Path, help="Text collection to draw from.")
    arguments = parser.parse_args()
    pool, queries = sentences(arguments.beir)
    queries = queries[: arguments.queries]
    with tempfile.TemporaryDirectory() as home:
        settings = Settings(home=Path(home))
        catalog = Catalog(settings.catalog_url)
        models = Models(settings)
        encoder = models.text_encoder()
        space = encoder.space
        fill(catalog, space.name, space.dimension, pool, arguments.passages)
        stores = Stores(catalog, settings)
        engine = SearchEngine(catalog, stores, settings, models=models)
        start = time.perf_counter()
        stores.refresh(1)
        print(f"index of {arguments.passages} passages: {time.perf_counter() - start:.1f} s")
        report(engine, catalog, stores, queries)
        engine.close()
        stores.close()
        catalog.close()


def report(engine: SearchEngine, catalog: Catalog, stores: Stores, queries: list[str]) -> None:
    """Medians over the queries, in milliseconds. Each part is measured on its own first."""
    encoder = engine._text_encoder
    space = catalog.active_space(1, "text")
    assert space is not None
    store = stores.get(1, space)
    encoder.encode(["warm up"], kind="query")
    engine.search(SearchQuery(text="warm up", kind="passages"))
    clock: dict[str, list[float]] = {}
    processor: dict[str, list[float]] = {}

    def timed(name: str, work: Callable[[], object]) -> None:
        wall, cpu = time.perf_counter(), time.process_time()
        work()
        processor.setdefault(name, []).append(1e3 * (time.process_time() - cpu))
        clock.setdefault(name, []).append(1e3 * (time.perf_counter() - wall))

    for text in queries:
        vector = encoder.encode([text], kind="query")
        words = query_words(text)
        query = SearchQuery(text=text, kind="passages")
        timed("encoder", lambda text=text: encoder.encode([text], kind="query"))
        # A search asks twice: for the query, and for the query moved by feedback.
        timed("vector index", lambda v=vector: [store.search(v, 150) for _ in range(2)])
        timed(
            "lexical index",
            lambda w=words: engine.lexical.search("passages", w, collection_id=1, limit=200),
        )
        timed("whole search", lambda q=query: engine.search(q))
    print(f"{'milliseconds, medians':>24}   clock  processor")
    for name, values in clock.items():
        print(f"{name:>24}: {median(values):7.2f}  {median(processor[name]):7.2f}")
    print(f"{'around all three':>24}: {_around(clock):7.2f}  {_around(processor):7.2f}")


def _around(taken: dict[str, list[float]]) -> float:
    """What a search takes beyond its three parts; below zero where they ran side by side."""
    parts = [taken[name] for name in ("encoder", "vector index", "lexical index")]
    return median(whole - sum(p) for whole, *p in zip(taken["whole search"], *parts, strict=True))


if __name__ == "__main__":
    main()
