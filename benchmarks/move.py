"""A library of 100,000 passages moved to PostgreSQL and back: is it the same, how long, how fast.

    python benchmarks/move.py --database postgresql+psycopg://… --beir FOLDER

The database must be empty. The collection is that of `benchmarks/search.py`: texts drawn from a
text collection in BEIR's layout, random vectors around centres. Queries are real; each is put to
the library in all three places, and the ten best must be the same. Prints one JSON document.
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
from typing import Any

from ragcore.catalog import Catalog
from ragcore.catalog.transfer import copy_catalogue
from ragcore.encoders.loader import text_encoder
from ragcore.search import SearchEngine, Stores
from ragcore.search.words import query_words
from ragcore.settings import Settings
from ragcore.types import SearchQuery

sys.path.insert(0, str(Path(__file__).parent))
from search import fill, sentences


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--database", required=True, help="URL of an empty PostgreSQL database.")
    parser.add_argument("--passages", type=int, default=100_000)
    parser.add_argument("--queries", type=int, default=100)
    parser.add_argument("--beir", type=Path, help="Text collection to draw from.")
    arguments = parser.parse_args()
    pool, queries = sentences(arguments.beir)
    queries = queries[: arguments.queries]
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        urls = [f"sqlite:///{home / 'a.db'}", arguments.database, f"sqlite:///{home / 'b.db'}"]
        encoder = text_encoder(Settings(home=home))
        with closing(Catalog(urls[0])) as catalog:
            space = encoder.space
            fill(catalog, space.name, space.dimension, pool, arguments.passages)
        moves = [moved(urls[0], urls[1]), moved(urls[1], urls[2])]
        found = [searched(url, home / str(n), encoder, queries) for n, url in enumerate(urls)]
    places = ("sqlite", "postgresql", "sqlite again")
    same = [[a == b for a, b in zip(found[0]["hits"], f["hits"], strict=True)] for f in found]
    print(
        json.dumps(
            {
                "moves": moves,
                "identical": moves[0]["rows"] == moves[1]["rows"]
                and moves[0]["text_sha256"] == moves[1]["text_sha256"],
                "same_top_10": {p: sum(s) for p, s in zip(places, same, strict=True)},
                "queries": len(queries),
                "milliseconds": {p: f["ms"] for p, f in zip(places, found, strict=True)},
            },
            indent=1,
        )
    )


def moved(source: str, target: str) -> dict[str, Any]:
    with closing(Catalog(source)) as old, closing(Catalog(target)) as new:
        done = copy_catalogue(old, new)
    rows = {table: count for table, count in done.rows.items() if count}
    return {"rows": rows, "text_sha256": done.text_sha256, "seconds": round(done.seconds, 1)}


def searched(url: str, home: Path, encoder: Any, queries: list[str]) -> dict[str, Any]:
    """The ten best of each query, and the median and 95th centile of the lexical part and all."""
    settings = Settings(home=home)
    with closing(Catalog(url)) as catalog:
        stores = Stores(catalog, settings)
        engine = SearchEngine(catalog, stores, settings, text_encoder=encoder)
        row = catalog.collection("default")
        stores.refresh(row.id)
        clock: dict[str, list[float]] = {"lexical": [], "whole": []}
        hits = []
        engine.search(SearchQuery(text="warm up", kind="passages"))
        for text in queries:
            start = time.perf_counter()
            engine.lexical.search("passages", query_words(text), collection_id=row.id, limit=200)
            middle = time.perf_counter()
            best = engine.search(SearchQuery(text=text, kind="passages", k=10, cutoff=0)).hits
            clock["lexical"].append(1000 * (middle - start))
            clock["whole"].append(1000 * (time.perf_counter() - middle))
            hits.append([hit.id for hit in best])
        engine.close()
        stores.close()
    times = {
        part: {
            "p50": round(median(values), 1),
            "p95": round(sorted(values)[int(0.95 * len(values))], 1),
        }
        for part, values in clock.items()
    }
    return {"hits": hits, "ms": times}


if __name__ == "__main__":
    main()
