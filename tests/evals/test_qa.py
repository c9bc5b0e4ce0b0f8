from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from ragcore.datasets.qa_scores import cited, exact_match, normalized, token_f1, without_citations
from ragcore.errors import UsageError
from ragcore.evals.qa import EvalQuestion, Outcome, cause, evaluate_qa, read_questions, score
from ragcore.settings import Settings
from ragcore.types import Answer, Citation, Hit, Progress

ROWS = [
    {"question": "When does the library open?", "answers": ["nine", "at nine"],
     "context": "The town library opens at nine in the morning.", "title": "Town"},
    {"question": "Who built the mill?", "answers": ["Anna Berg"],
     "context": "The old mill was built by Anna Berg in 1820.", "title": "Mill"},
    {"question": "Who painted the bridge?", "answers": [],
     "context": "The bridge over the river is made of oak and stone.", "title": "Bridge"},
]  # fmt: skip


@pytest.mark.parametrize(
    ("prediction", "answers", "em", "f1"),
    [
        ("The Normans", ["Normans"], 1.0, 1.0),
        ("in the year 1066", ["1066", "the year 1066"], 0.0, 0.8),
        ("Paris.", ["London"], 0.0, 0.0),
        ("", ["London"], 0.0, 0.0),
        ("a b b", ["b b c"], 0.0, 0.8),
    ],
)
def test_scores_by_hand(prediction: str, answers: list[str], em: float, f1: float) -> None:
    assert exact_match(prediction, answers) == em
    assert token_f1(prediction, answers) == pytest.approx(f1)


def test_marks_are_no_part_of_the_answer() -> None:
    assert without_citations("Nine [2]. At noon [1, 3].") == "Nine. At noon."
    assert cited("Nine [2]. At noon [1, 3][2].") == [2, 1, 3]
    assert normalized("The Cat's  hat!") == "cats hat"


@pytest.mark.full
def test_gold_passages_with_distractors_through_the_real_model(
    tmp_path: Path, settings: Settings, starter_weights
) -> None:
    file = tmp_path / "qa.jsonl.gz"
    with gzip.open(file, "wt") as out:
        out.writelines(json.dumps(row) + "\n" for row in ROWS)
    seen: list[Progress] = []
    details, plot = tmp_path / "details.jsonl", tmp_path / "plots" / "reliability.png"
    result = evaluate_qa(
        file, settings=settings, distractors=2, details=details, plot=plot, progress=seen.append
    )
    assert plot.read_bytes().startswith(b"\x89PNG")
    assert 0 <= result["calibration_error"] <= 1
    assert result["questions"] == 3
    assert result["answerable"] == 2
    assert set(result) >= {
        "em", "f1", "citation_precision", "citation_recall", "declined_unanswerable",
        "declined_answerable", "seconds_per_question",
    }  # fmt: skip
    rows = [json.loads(line) for line in details.read_text().splitlines()]
    assert all(1 <= len(row["hits"]) <= 3 for row in rows)  # a small model reads fewer
    assert result["f1"] >= 0.5
    assert result["citation_recall"] >= 0.5
    assert [p.done for p in seen] == [1, 2, 3]


def test_pipeline_scores_by_hand(tmp_path: Path, settings: Settings) -> None:
    """Known answers in, known means out: two of three right pages, one wrong abstention."""
    file = tmp_path / "questions.jsonl"
    rows = [
        {"question": "a", "answers": ["forty two"], "doc": "guide.pdf", "pages": [3]},
        {"question": "b", "answers": ["blue"], "doc": "guide.pdf", "pages": [5, 6]},
        {"question": "c", "answers": ["red"], "doc": "other.pdf", "pages": [1]},
        {"question": "d", "answers": [], "doc": "", "pages": []},
    ]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))

    def hits(*pages: int) -> tuple[Hit, ...]:
        return tuple(Hit(p, "passage", 1, 1, "Guide", "/x/guide.pdf", "t", page=p) for p in pages)

    def ask(question: str) -> Answer:
        found = {"a": hits(3, 4), "b": hits(1, 2, 3, 4, 7, 6), "c": hits(1), "d": ()}[question]
        if question in "cd":
            return Answer("I don't know.", (), True, found, "")
        text = {"a": "Forty two [1].", "b": "Blue and red [1]."}[question]
        citation = Citation(1, "Guide", 1, 3 if question == "a" else 1, "t", 3)
        return Answer(text, (citation,), False, found, "")

    result = evaluate_qa(file, settings=settings, collection="docs", ask=ask)
    assert result["em"] == pytest.approx(1 / 3, abs=1e-4)
    assert result["f1"] == pytest.approx((1 + 0.5 + 0) / 3, abs=1e-4)
    assert result["contains"] == pytest.approx(2 / 3, abs=1e-4)
    assert result["declined_answerable"] == pytest.approx(1 / 3, abs=1e-4)
    assert result["declined_unanswerable"] == 1.0
    assert result["page_hit@5"] == pytest.approx(1 / 3, abs=1e-4)
    assert result["citation_recall"] == pytest.approx(1 / 3, abs=1e-4)
    assert result["citation_precision"] == 0.5
    assert result["missed_retrieval"] == 1  # no passage holds "red"


def test_misses_have_a_cause() -> None:
    def outcome(answers: tuple[str, ...], text: str, *, abstained: bool = False) -> Outcome:
        hit = Hit(1, "passage", 1, 1, "Guide", "/x/guide.pdf", "It is blue.", page=3)
        made = Outcome(EvalQuestion("q", answers), Answer(text, (), abstained, (hit,), ""), 0.1)
        made.scores = score(made, None)
        return made

    assert cause(outcome(("Blue",), "The blue one.")) is None
    assert cause(outcome(("Blue",), "Red.")) == "reading"
    assert cause(outcome(("Blue",), "I don't know.", abstained=True)) == "abstention"
    assert cause(outcome(("Red",), "Blue.")) == "retrieval"
    assert cause(outcome((), "Blue.")) is None


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("", "no questions"),
        ("[1]\n", "line 1"),
        ('{"question": "a", "answers": []}\n{"question": "b"}\n', "line 2"),
        ("not json\n", "line 1"),
    ],
)
def test_bad_files_name_the_line(tmp_path: Path, text: str, word: str) -> None:
    file = tmp_path / "bad.jsonl"
    file.write_text(text)
    with pytest.raises(UsageError, match=word):
        read_questions(file)


def test_bad_requests_are_refused(tmp_path: Path, settings: Settings) -> None:
    file = tmp_path / "questions.jsonl"
    file.write_text(json.dumps({"question": "a", "answers": ["b"], "doc": "x.pdf"}) + "\n")
    with pytest.raises(UsageError, match="no context"):
        evaluate_qa(file, settings=settings)
    with pytest.raises(UsageError, match="at least"):
        evaluate_qa(file, settings=settings, limit=0)
    with pytest.raises(UsageError, match="cannot be read"):
        read_questions(tmp_path / "missing.jsonl")


@pytest.mark.shared
def test_layouts_of_the_shared_sets(shared: Path) -> None:
    dev = read_questions(shared / "data/text/qa/dev.jsonl.gz")
    assert len(dev) == 2162
    assert sum(not q.answers for q in dev) == 386
    pdf = read_questions(shared / "data/text/pdf/questions.jsonl")
    assert len(pdf) == 21
    assert sum(bool(q.pages) for q in pdf) == 18
