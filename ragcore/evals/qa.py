"""Question answering measured: gold passages, hard distractors, or the whole pipeline."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ragcore.datasets import (
    calibration_error,
    draw_reliability,
    exact_match,
    stands_in,
    token_f1,
    without_citations,
)
from ragcore.errors import Cancelled, UsageError
from ragcore.evals.lines import read_lines
from ragcore.models import Models
from ragcore.types import (
    Answer,
    CancelToken,
    Hit,
    Progress,
    ProgressCallback,
    SearchQuery,
    SearchResult,
)

if TYPE_CHECKING:
    from ragcore.answers import Answerer
    from ragcore.settings import Settings

Ask = Callable[[str], Answer]


@dataclass(frozen=True, slots=True)
class EvalQuestion:
    """One line of the file. No answers: the passages do not hold one."""

    question: str
    answers: tuple[str, ...]
    context: str = ""
    title: str = ""
    document: str = ""
    pages: tuple[int, ...] = ()
    kind: str = ""


@dataclass(slots=True)
class Outcome:
    """What came back for one question; scores are in [0, 1], None where undefined."""

    question: EvalQuestion
    answer: Answer
    seconds: float
    scores: dict[str, float | None] = field(default_factory=dict)


def evaluate_qa(
    file: Path,
    *,
    settings: Settings,
    models: Models | None = None,
    distractors: int = 0,
    collection: str | None = None,
    limit: int | None = None,
    adapter: str | None = None,
    threshold: float | None = None,
    ask: Ask | None = None,
    details: Path | None = None,
    plot: Path | None = None,
    progress: ProgressCallback | None = None,
    cancel: CancelToken | None = None,
    seed: int = 0,
    batch: int = 16,
) -> dict[str, Any]:
    """Answer every question of a JSONL[.gz] file and score the answers.

    Lines have `question` and `answers`, and either `context` (the gold passage, put beside
    `distractors` hard ones from the same file) or `doc` and `pages`; with `collection`, each
    goes through search and all (`ask` may replace that). `limit` takes the first ones.
    Questions of given passages are answered `batch` at once (1: one after another, as a person
    asks). `adapter` and `threshold` are those of `Answerer.stream`. `details` is written as JSONL,
    one outcome a line; `plot` is an image of how far confidences come true. `models` defaults to
    those of the settings.

    Returns means by name: em, f1 over answerable questions; contains (an accepted answer stands
    in the answer); citation_precision, citation_recall; declined_unanswerable,
    declined_answerable; page_hit@5 where pages are given; seconds_per_question; counts, and
    among them the misses by their cause (see `cause`).
    Raises UsageError for a file that does not fit.
    """
    everything = read_questions(file)
    if (limit is not None and limit < 1) or distractors < 0 or batch < 1:
        raise UsageError("limit and batch must be at least 1, and distractors at least 0")
    questions = everything[:limit]
    models = models or Models(settings)
    runner: _Passages | _Pipeline = (
        _Pipeline(ask or _ask(settings, models, collection, adapter, threshold))
        if collection is not None
        else _Passages(
            everything, _answerer(settings, models, threshold), distractors, adapter, seed
        )
    )
    found: dict[int, Outcome] = {}
    started = begun = time.perf_counter()
    for index, answer in runner.answers(questions, batch, cancel):
        now = time.perf_counter()
        found[index] = outcome = Outcome(questions[index], answer, now - begun)
        begun = now
        outcome.scores = score(outcome, runner.gold(index))
        if progress is not None:
            rate = len(found) / (now - started)
            left = (len(questions) - len(found)) / rate
            progress(Progress("questions", len(found), len(questions), rate, left))
    outcomes = [found[index] for index in range(len(questions))]
    if details is not None:
        write_details(outcomes, details)
    if plot is not None:
        draw_reliability(confidences(outcomes), plot)
    return summarise(outcomes)


def read_questions(file: Path) -> list[EvalQuestion]:
    """Raises UsageError, with the line, for a file of another layout."""
    questions = []
    for number, row in read_lines(file):
        try:
            answers = tuple(str(a) for a in row["answers"])
            questions.append(
                EvalQuestion(
                    question=str(row["question"]),
                    answers=answers,
                    context=str(row.get("context", "")),
                    title=str(row.get("title") or ""),
                    document=str(row.get("doc") or ""),
                    pages=tuple(int(p) for p in row.get("pages") or ()),
                    kind=str(row.get("kind") or ""),
                )
            )
        except (KeyError, TypeError, ValueError) as error:
            raise UsageError(f"{file}, line {number}: needs question and answers") from error
    if not questions:
        raise UsageError(f"{file} holds no questions")
    return questions


class _Passages:
    """Questions asked of their gold passage among hard distractors of the same file."""

    def __init__(
        self,
        questions: Sequence[EvalQuestion],
        answerer: Answerer,
        distractors: int,
        adapter: str | None,
        seed: int,
    ) -> None:
        from ragcore.datasets import Neighbours

        if missing := sum(not q.context for q in questions):
            raise UsageError(f"{missing} questions have no context: name a collection to ask")
        self._answerer = answerer
        self._adapter = adapter
        self._count = distractors
        self._seed = seed
        self._contexts = list(dict.fromkeys((q.context, q.title) for q in questions))
        self._place = {context: place for place, context in enumerate(self._contexts)}
        self._neighbours = Neighbours([c for c, _ in self._contexts]) if distractors else None
        self._gold: dict[int, int] = {}

    def answers(
        self, questions: Sequence[EvalQuestion], batch: int, cancel: CancelToken | None
    ) -> Iterator[tuple[int, Answer]]:
        from ragcore.answers import answer_many

        asked = ((q.question, self._hits(i, q)) for i, q in enumerate(questions))
        return answer_many(self._answerer, asked, batch=batch, adapter=self._adapter, cancel=cancel)

    def _hits(self, index: int, question: EvalQuestion) -> list[Hit]:
        own = self._place[question.context, question.title]
        chosen = [own]
        if self._neighbours is not None:
            chosen += self._neighbours.nearest(question.question, own, self._count)
        random.Random(f"{self._seed} {index}").shuffle(chosen)
        self._gold[index] = own
        return [
            Hit(i, "passage", 1.0, i, self._contexts[i][1], "", self._contexts[i][0],
                span=(0, len(self._contexts[i][0])))
            for i in chosen
        ]  # fmt: skip

    def gold(self, index: int) -> int | None:
        return self._gold.get(index)


class _Pipeline:
    """Questions asked of a collection."""

    def __init__(self, ask: Ask) -> None:
        self._ask = ask

    def answers(
        self, questions: Sequence[EvalQuestion], batch: int, cancel: CancelToken | None
    ) -> Iterator[tuple[int, Answer]]:
        for index, question in enumerate(questions):
            if cancel is not None and cancel.cancelled:
                raise Cancelled("the evaluation was cancelled")
            yield index, self._ask(question.question)

    def gold(self, index: int) -> int | None:
        return None


def _ask(
    settings: Settings,
    models: Models,
    collection: str,
    adapter: str | None,
    threshold: float | None,
) -> Ask:
    """Search and answer as a library does, on its catalog."""
    from ragcore.answers import Answerer, Composer
    from ragcore.catalog import Catalog
    from ragcore.search import SearchEngine, Stores

    catalog = Catalog(settings.catalog_url)
    engine = SearchEngine(catalog, Stores(catalog, settings), settings, models=models)
    found: list[Hit] = []

    def search(query: SearchQuery) -> SearchResult:
        result = engine.search(query)
        found[:] = result.hits
        return result

    answerer = Answerer(
        models.llm(),
        search,
        settings=settings,
        models=models,
        threshold=threshold,
        composer=Composer(catalog, search, engine.documents, models.text_encoder().encode),
    )

    def ask(question: str) -> Answer:
        found.clear()
        answer = answerer.ask(question, collection=collection, k=5, adapter=adapter)
        # What search found is judged, not only what the model had room to read.
        return replace(answer, hits=tuple(found))

    return ask


def _answerer(settings: Settings, models: Models, threshold: float | None) -> Answerer:
    from ragcore.answers import Answerer

    return Answerer(
        models.llm(),
        lambda _: SearchResult(()),
        settings=settings,
        models=models,
        threshold=threshold,
    )


def score(outcome: Outcome, gold: int | None) -> dict[str, float | None]:
    """Scores of one outcome; None where a score is not defined for it."""
    question, answer = outcome.question, outcome.answer
    if not question.answers:
        return {"declined_unanswerable": float(answer.abstained)}
    text = "" if answer.abstained else without_citations(answer.text)
    scores: dict[str, float | None] = {
        "declined_answerable": float(answer.abstained),
        "em": exact_match(text, question.answers),
        "f1": token_f1(text, question.answers),
        "contains": float(any(stands_in(a, text) for a in question.answers)),
    }
    right = [_right(question, c.document, c.page, c.document_id, gold) for c in answer.citations]
    if gold is not None or question.pages:
        scores["citation_precision"] = sum(right) / len(right) if right else None
        scores["citation_recall"] = float(any(right))
    if question.pages:
        pages = [
            _right(question, h.document, page, h.document_id, None, path=h.path)
            for h in [hit for hit in answer.hits if hit.kind == "passage"][:5]
            for page in range(h.page or 0, (h.page_end or h.page or 0) + 1)
        ]
        scores["page_hit@5"] = float(any(pages))
    return scores


def cause(outcome: Outcome) -> str | None:
    """Why an answerable question was missed.

    "retrieval" (no passage that was found holds an accepted answer), "abstention" or "reading" (one
    did); None where it was not.
    """
    question, answer = outcome.question, outcome.answer
    if not question.answers or outcome.scores.get("contains"):
        return None
    if not any(stands_in(a, hit.text) for a in question.answers for hit in answer.hits):
        return "retrieval"
    return "abstention" if answer.abstained else "reading"


def confidences(outcomes: Sequence[Outcome]) -> list[tuple[float, bool]]:
    """(confidence, the passages hold an answer) of all that the model answered itself."""
    return [
        (o.answer.timings["confidence"], bool(o.question.answers))
        for o in outcomes
        if "confidence" in o.answer.timings
    ]


def _right(
    question: EvalQuestion,
    document: str,
    page: int | None,
    document_id: int,
    gold: int | None,
    *,
    path: str = "",
) -> bool:
    if gold is not None:
        return document_id == gold
    same = not path or not question.document or Path(path).stem == Path(question.document).stem
    return same and page in question.pages


def summarise(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Means over the outcomes for which each score is defined."""
    values: dict[str, list[float]] = {}
    for outcome in outcomes:
        for name, value in outcome.scores.items():
            if value is not None:
                values.setdefault(name, []).append(value)
    result: dict[str, Any] = {k: round(sum(v) / len(v), 4) for k, v in sorted(values.items())}
    seconds = [o.seconds for o in outcomes]
    result["seconds_per_question"] = round(sum(seconds) / len(seconds), 3)
    result["questions"] = len(outcomes)
    result["answerable"] = sum(bool(o.question.answers) for o in outcomes)
    for name in ("retrieval", "reading", "abstention"):
        result[f"missed_{name}"] = sum(cause(o) == name for o in outcomes)
    if pairs := confidences(outcomes):
        result["calibration_error"] = round(calibration_error(pairs), 4)
    speeds = [v for o in outcomes if (v := o.answer.timings.get("tokens_per_second"))]
    if speeds:
        result["tokens_per_second"] = round(sum(speeds) / len(speeds), 1)
    return result


def write_details(outcomes: Sequence[Outcome], path: Path) -> None:
    """One JSON line an outcome: question, accepted answers, answer, citations, scores."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8") as out:
        for o in outcomes:
            row: Mapping[str, Any] = {
                "question": o.question.question,
                "accepted": o.question.answers,
                "answer": o.answer.text,
                "abstained": o.answer.abstained,
                "missed": cause(o),
                "confidence": o.answer.timings.get("confidence"),
                "citations": [[c.document, c.page, c.quote] for c in o.answer.citations],
                "hits": [[h.document, h.page] for h in o.answer.hits],
                "seconds": round(o.seconds, 3),
                **o.scores,
            }
            out.write(json.dumps(row, ensure_ascii=False) + "\n")
