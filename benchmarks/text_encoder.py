"""Text encoder against the bare model: the same passages, the same weights, one run.

    python benchmarks/text_encoder.py [TEXTS.jsonl] [--count N] [--json]

Prints the ratio of ragcore's time to SentenceTransformer.encode's (below 1: faster), texts per
second in the chosen precision and in float32, the largest difference between the vectors, and
the milliseconds of one query. Times are of the processor, so that other work on the machine
disturbs them less. Without a file the passages are made of the sample collection's sources.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ragcore.encoders.text import SentenceTransformerEncoder
from ragcore.models import Models
from ragcore.models.device import place
from ragcore.settings import Settings
from ragcore.weights import WeightStore

SOURCES = Path(__file__).resolve().parents[1] / "data" / "sources"
ROUNDS = 3


def read_texts(file: Path | None, count: int) -> list[str]:
    """Passages from a BEIR corpus.jsonl, or windows of the sample collection's sources."""
    if file is not None:
        rows = [json.loads(line) for line in file.read_text("utf-8").splitlines()]
        return [f"{row.get('title', '')} {row['text']}".strip() for row in rows][:count]
    words = " ".join(p.read_text("utf-8") for p in sorted(SOURCES.glob("*.md"))).split()
    sizes = (20, 60, 110, 160, 220)
    return [" ".join(words[n * 17 % len(words) :][: sizes[n % len(sizes)]]) for n in range(count)]


def seconds(work: Callable[[], Any]) -> float:
    """The least processor time of some rounds."""
    best = float("inf")
    for _ in range(ROUNDS):
        start = time.process_time()
        work()
        best = min(best, time.process_time() - start)
    return best


def measure(texts: list[str], settings: Settings) -> dict[str, float | str]:
    from sentence_transformers import SentenceTransformer

    encoder = Models(settings).text_encoder()
    assert isinstance(encoder, SentenceTransformerEncoder)
    encoder.encode(texts[:8])
    bare = SentenceTransformer(str(WeightStore(settings).ensure("minilm-l6-v2")), device="cpu")

    def encode_bare() -> Any:
        return bare.encode(texts, normalize_embeddings=True, show_progress_bar=False)

    ours, theirs = seconds(lambda: encoder.encode(texts)), seconds(encode_bare)
    query = seconds(lambda: [encoder.encode([text[:60]], "query") for text in texts[:20]]) / 20
    return {
        "texts": len(texts),
        "precision": place(settings).precision,
        "ratio": ours / theirs,
        "texts_per_second": len(texts) / ours,
        "bare_texts_per_second": len(texts) / theirs,
        "largest_difference": float(np.abs(encoder.encode(texts) - encode_bare()).max()),
        "query_ms": 1000 * query,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", nargs="?", type=Path)
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    figures = measure(read_texts(options.file, options.count), Settings(device="cpu"))
    if options.json:
        print(json.dumps(figures))
        return
    for name, value in figures.items():
        print(f"{name:<22} {value:.4g}" if isinstance(value, float) else f"{name:<22} {value}")


if __name__ == "__main__":
    main()
