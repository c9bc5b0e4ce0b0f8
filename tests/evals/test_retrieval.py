"""Measures against worked examples; the evaluation against a small collection and real ones."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from ragcore.errors import Cancelled, UsageError
from ragcore.evals.beir import read_beir
from ragcore.evals.metrics import ndcg, recall, reciprocal_rank
from ragcore.evals.retrieval import evaluate_retrieval
from ragcore.settings import Settings
from ragcore.types import CancelToken, Progress
from ragcore.weights import WeightStore

CORPUS = {
    "a": ("Bread", "Flour, water, salt and yeast are kneaded and baked."),
    "b": ("Wings", "The wing of an aircraft produces lift when air flows over it."),
    "c": ("", "A judge decides on the sentence after the trial."),
    "d": ("", ""),
}


@pytest.fixture
def beir(tmp_path: Path) -> Path:
    folder = tmp_path / "beir"
    (folder / "qrels").mkdir(parents=True)
    rows = [{"_id": k, "title": title, "text": text} for k, (title, text) in CORPUS.items()]
    (folder / "corpus.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n")
    queries = {"1": "how is bread baked", "2": "what makes an aeroplane fly", "3": "not judged"}
    (folder / "queries.jsonl").write_text(
        "\n".join(json.dumps({"_id": k, "text": v}) for k, v in queries.items())
    )
    (folder / "qrels" / "test.tsv").write_text(
        "query-id\tcorpus-id\tscore\n1\ta\t2\n1\td\t1\n2\tb\t1\n"
    )
    return folder


def test_ndcg_by_hand() -> None:
    gains = {"x": 3, "y": 2, "z": 0, "w": 1}
    found = 2 / math.log2(2) + 0 + 3 / math.log2(4)
    best = 3 / math.log2(2) + 2 / math.log2(3) + 1 / math.log2(4)
    assert ndcg(["y", "z", "x"], gains) == pytest.approx(found / best)
    assert ndcg(["x", "y", "w", "z"], gains) == 1
    assert ndcg(["y", "x"], gains, k=1) == pytest.approx(2 / 3)
    assert ndcg(["q"], gains) == 0
    assert ndcg(["q"], {"z": 0}) == 0
    assert ndcg([], gains) == 0


def test_negative_gains_count_as_none() -> None:
    assert ndcg(["m", "x"], {"m": -1, "x": 1}) == pytest.approx(1 / math.log2(3))


def test_recall_and_reciprocal_rank() -> None:
    gains = {"x": 3, "y": 1, "z": 0}
    assert recall(["z", "x"], gains) == 0.5
    assert recall(["z", "x", "y"], gains, k=2) == 0.5
    assert recall(["z"], {}) == 0
    assert reciprocal_rank(["z", "q", "y"], gains) == pytest.approx(1 / 3)
    assert reciprocal_rank(["z"], gains) == 0


def test_reads_the_layout(beir: Path) -> None:
    data = read_beir(beir)
    assert list(data.corpus) == list("abcd")
    assert list(data.queries) == ["1", "2"]
    assert data.judgements == {"1": {"a": 2, "d": 1}, "2": {"b": 1}}


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("corpus.jsonl", '{"_id": "a", "text": "x"}\n{broken\n', "corpus.jsonl, line 2"),
        ("queries.jsonl", '{"text": "x"}\n', "queries.jsonl, line 1"),
        ("qrels/test.tsv", "query-id\tcorpus-id\tscore\n1\ta\tmuch\n", "test.tsv, line 2"),
        ("qrels/test.tsv", "query-id\tcorpus-id\tscore\n", "no judgements"),
        ("qrels/test.tsv", "9\ta\t1\n", "no query that is judged"),
        ("queries.jsonl", None, "has no queries.jsonl"),
    ],
)
def test_says_what_is_wrong(beir: Path, name: str, text: str | None, said: str) -> None:
    if text is None:
        (beir / name).unlink()
    else:
        (beir / name).write_text(text)
    with pytest.raises(UsageError, match=said):
        read_beir(beir)


def test_whole_evaluation(beir: Path, settings: Settings, starter_weights: WeightStore) -> None:
    steps: list[Progress] = []
    result = evaluate_retrieval(beir, settings=settings, rerank_queries=0, progress=steps.append)
    # Query 1: its best document is first, the other one is empty and cannot be found.
    expected = (2 / (2 + 1 / math.log2(3)) + 1) / 2
    assert result["ndcg@10"] == pytest.approx(expected, abs=1e-4)
    assert result["recall@100"] == 0.75
    assert result["mrr"] == 1
    assert result["seconds"] > 0
    assert set(result["methods"]) == {"dense", "lexical", "fused", "reranked"}
    assert result["methods"]["reranked"] is None
    assert {step.stage for step in steps} == {"embed", "dense", "lexical", "fused"}
    assert not settings.home.exists(), "an evaluation leaves the home alone"


@pytest.mark.full
def test_an_optional_reranker_stands_beside_the_default(
    beir: Path, settings: Settings, starter_weights: WeightStore
) -> None:
    result = evaluate_retrieval(beir, settings=settings, rerank_queries=1)
    methods = result["methods"]
    assert methods["reranked"]["mrr"] == 1
    assert methods["reranked"]["queries"] == 1
    assert methods["reranked"]["fused"]["mrr"] == 1
    assert {name: result[name] for name in ("ndcg@10", "mrr")} == {
        name: methods["fused"][name] for name in ("ndcg@10", "mrr")
    }


def test_cancel(beir: Path, settings: Settings, starter_weights: WeightStore) -> None:
    token = CancelToken()
    token.cancel()
    with pytest.raises(Cancelled):
        evaluate_retrieval(beir, settings=settings, cancel=token)


@pytest.mark.shared
@pytest.mark.full
@pytest.mark.parametrize(("name", "least"), [("cranfield", 0.57), ("med", 0.79)])
def test_known_collections(
    shared: Path, settings: Settings, starter_weights: WeightStore, name: str, least: float
) -> None:
    folder = shared / "data" / "text" / "retrieval" / name
    result = evaluate_retrieval(folder, settings=settings, rerank_queries=0)
    methods = result["methods"]
    assert result["ndcg@10"] >= least
    assert result["ndcg@10"] > max(methods["dense"]["ndcg@10"], methods["lexical"]["ndcg@10"])
