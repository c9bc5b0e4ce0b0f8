"""How well searches rank, on a test collection, through the search that everybody uses."""

from __future__ import annotations

import logging
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ragcore.catalog import Catalog, FileState, NewDocument, store_document
from ragcore.errors import ModelUnavailable
from ragcore.evals.beir import BeirSet, read_beir
from ragcore.evals.metrics import ndcg, recall, reciprocal_rank
from ragcore.models import Models
from ragcore.settings import Settings
from ragcore.types import (
    CancelToken,
    Page,
    PassageDraft,
    Progress,
    ProgressCallback,
    ReadDocument,
    SearchQuery,
)

if TYPE_CHECKING:
    from ragcore.models import Reranker, TextEncoder
    from ragcore.search import SearchEngine

log = logging.getLogger(__name__)

_BATCH = 512  # documents embedded and stored together
_DEPTH = 100  # results of each query that are judged
_COLLECTION = "evaluation"


def evaluate_retrieval(
    beir_dir: str | Path,
    *,
    settings: Settings | None = None,
    models: Models | None = None,
    rerank_queries: int = 20,
    progress: ProgressCallback | None = None,
    cancel: CancelToken | None = None,
) -> dict[str, Any]:
    """Index a BEIR collection in a temporary home, run its queries, and score the rankings.

    Returns {"ndcg@10", "recall@100", "mrr", "seconds", "methods", "documents", "queries"}: the
    first three for the search as it is by default, "seconds" of the whole evaluation, and under
    "methods" the same for "dense", "lexical", "fused" and "reranked", their "seconds" being those
    of all queries. Each document is one passage. Where the profile's reranker is not for searches,
    the default search does not rerank; "reranked" shows what it would do.
    That is slow, so it reads `rerank_queries` queries only, evenly drawn: "queries" is their
    number and "fused" what the fused search reaches on the same. "reranked" is None for 0
    queries, and where the profile has no reranker or its weights cannot be fetched. `models`
    defaults to those of the settings.

    Raises UsageError if `beir_dir` is no such collection, Cancelled when `cancel` is set.
    """
    from ragcore.search import SearchEngine, Stores

    start = time.perf_counter()
    settings = settings or Settings()
    models = models or Models(settings)
    data = read_beir(Path(beir_dir).expanduser())
    reference = models.profile.reranker
    reranks = reference is not None and reference.for_search
    with tempfile.TemporaryDirectory(prefix="ragcore-eval-") as home:
        own = settings.model_copy(update={"home": Path(home), "database_url": "", "vectors": ""})
        own.__dict__.pop("catalog_url", None)
        catalog = Catalog(f"sqlite:///{Path(home) / 'catalogue.db'}")
        stores = Stores(catalog, own)
        reranker = _reranker(models) if reranks or rerank_queries else None
        engine = SearchEngine(catalog, stores, own, models=models, reranker=reranker)
        try:
            _index(catalog, data, models.text_encoder(), progress, cancel)
            count = len(data.queries) if reranks else rerank_queries if reranker else 0
            sample = _sample(data, count)
            methods = _measure(engine, data, sample, progress, cancel)
        finally:
            engine.close()
            stores.close()
            catalog.close()
    default = methods["reranked" if reranks else "fused"]
    assert default is not None
    return {
        **{name: default[name] for name in ("ndcg@10", "recall@100", "mrr")},
        "seconds": round(time.perf_counter() - start, 3),
        "methods": methods,
        "documents": len(data.corpus),
        "queries": len(data.queries),
    }


def _index(
    catalog: Catalog,
    data: BeirSet,
    encoder: TextEncoder,
    progress: ProgressCallback | None,
    cancel: CancelToken | None,
) -> None:
    collection = catalog.create_collection(_COLLECTION)
    space = encoder.space
    space_id = catalog.space_id(space.name, space.modality, space.dimension)
    catalog.use_space(collection.id, space_id, space.modality)
    items = [
        (key, title, f"{title}\n{text}".strip())  # title and text, as BEIR's own baselines
        for key, (title, text) in data.corpus.items()
    ]
    for at in range(0, len(items), _BATCH):
        batch = [item for item in items[at : at + _BATCH] if item[2].strip()]
        vectors = encoder.encode([text for _, _, text in batch], kind="passage")
        with catalog.write() as session:
            for (key, title, text), vector in zip(batch, vectors, strict=True):
                new = NewDocument(
                    FileState(path=key, name=key, size=len(text), mtime_ns=0),
                    ReadDocument("text/plain", title, (Page(1, text),)),
                    [PassageDraft(text, 0, len(text), 1, 1)],
                    {space_id: vector[None]},
                )
                store_document(session, collection.id, new)
        _report(progress, cancel, "embed", min(at + _BATCH, len(items)), len(items))


def _reranker(models: Models) -> Reranker | None:
    try:
        return models.reranker()
    except ModelUnavailable as error:
        log.warning("no reranked column: %s", error)
        return None


def _measure(
    engine: SearchEngine,
    data: BeirSet,
    sample: BeirSet,
    progress: ProgressCallback | None,
    cancel: CancelToken | None,
) -> dict[str, dict[str, Any] | None]:
    results: dict[str, dict[str, Any] | None] = {}
    for name, parts in (
        ("dense", {"lexical": False, "feedback": False}),
        ("lexical", {"dense": False}),
        ("fused", {}),
    ):
        with _only(engine, parts):
            results[name] = _run(engine, data, False, name, progress, cancel)
    results["reranked"] = None
    if sample.queries:
        reranked = _run(engine, sample, True, "reranked", progress, cancel)
        if len(sample.queries) < len(data.queries):
            fused = _run(engine, sample, False, "fused", progress, cancel)
            reranked |= {"queries": len(sample.queries), "fused": fused}
        results["reranked"] = reranked
    return results


def _sample(data: BeirSet, count: int) -> BeirSet:
    """The set with `count` of its queries, evenly drawn from all of them."""
    keys = list(data.queries)
    count = min(count, len(keys))
    chosen = [keys[n * len(keys) // count] for n in range(count)]
    return replace(data, queries={key: data.queries[key] for key in chosen})


@contextmanager
def _only(engine: SearchEngine, parts: dict[str, bool]) -> Iterator[None]:
    methods = engine.passages.methods
    for name, value in parts.items():
        setattr(methods, name, value)
    try:
        yield
    finally:
        for name in parts:
            setattr(methods, name, True)


def _run(
    engine: SearchEngine,
    data: BeirSet,
    rerank: bool,
    name: str,
    progress: ProgressCallback | None,
    cancel: CancelToken | None,
) -> dict[str, Any]:
    start = time.perf_counter()
    sums = {"ndcg@10": 0.0, "recall@100": 0.0, "mrr": 0.0}
    for number, (key, text) in enumerate(data.queries.items(), 1):
        query = SearchQuery(
            text=text,
            kind="passages",
            k=_DEPTH,
            cutoff=0.0,
            collection=_COLLECTION,
            rerank=rerank,
        )
        ranked = [hit.path for hit in engine.search(query).hits]
        gains = data.judgements[key]
        sums["ndcg@10"] += ndcg(ranked, gains, 10)
        sums["recall@100"] += recall(ranked, gains, _DEPTH)
        sums["mrr"] += reciprocal_rank(ranked, gains)
        _report(progress, cancel, name, number, len(data.queries))
    scores = {measure: round(total / len(data.queries), 5) for measure, total in sums.items()}
    return {**scores, "seconds": round(time.perf_counter() - start, 3)}


def _report(
    progress: ProgressCallback | None, cancel: CancelToken | None, stage: str, done: int, total: int
) -> None:
    if cancel is not None and cancel.cancelled:
        from ragcore.errors import Cancelled

        raise Cancelled("the evaluation was cancelled")
    if progress is not None:
        progress(Progress(stage, done, total))
