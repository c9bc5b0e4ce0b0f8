"""Questions of every kind asked of a collection, each answer beside what was expected."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from ragcore.answers import KINDS, recognize
from ragcore.datasets import stands_in, without_citations
from ragcore.errors import Cancelled, UsageError
from ragcore.evals.lines import read_lines
from ragcore.serialize import citation_json
from ragcore.types import Answer, CancelToken, Citation, Progress, ProgressCallback

QUESTIONS = "questions.jsonl"
_MARKS = re.compile(r"[“”„«»…]")  # around quotes: no part of a word
CHECKS = ("kind", "words", "page", "declined", "asked_back")


@dataclass(frozen=True, slots=True)
class Expected:
    """A question and what is known of its answer; None: nothing is.

    `answers`: one of them has to stand in the answer; empty: it has to be declined. `contains`:
    all of them have to. `pages`: one of them has to be cited, of the file `document` where it is
    given. `asks_back`: which of several things is meant has to be asked.
    """

    question: str
    kind: str = ""
    answers: tuple[str, ...] | None = None
    contains: tuple[str, ...] = ()
    document: str = ""
    pages: tuple[int, ...] = ()
    asks_back: bool = False


def question_file(directory: Path, questions: Path | None) -> tuple[Path, Path]:
    """(the file of questions, the folder of documents) of an evaluation of `directory`.

    Without `questions` they stand in its questions.jsonl; where it has a folder `files`, the
    documents are there. Raises UsageError where there is no such file or folder.
    """
    if not directory.is_dir():
        raise UsageError(f"there is no folder {directory}")
    file = questions or directory / QUESTIONS
    if not file.is_file():
        where = "" if questions else ": name a file with --questions"
        raise UsageError(f"there is no file {file}{where}")
    return file, directory / "files" if (directory / "files").is_dir() else directory


def read_expected(file: Path) -> list[Expected]:
    """Raises UsageError, with the line, for a file of another layout."""
    rows = list(read_lines(file))
    kinds = {str(row["kind"]) for _, row in rows if row.get("kind")}
    of_questions = kinds <= set(KINDS)  # else the field means something else
    found = []
    for number, row in rows:
        try:
            answers = row.get("answers")
            found.append(
                Expected(
                    question=str(row["question"]),
                    kind=str(row.get("kind") or "") if of_questions else "",
                    answers=None if answers is None else tuple(map(str, answers)),
                    contains=tuple(map(str, row.get("contains") or ())),
                    document=str(row.get("doc") or ""),
                    pages=tuple(int(page) for page in row.get("pages") or ()),
                    asks_back=bool(row.get("asks_back")),
                )
            )
        except (KeyError, TypeError, ValueError) as error:
            raise UsageError(f"{file}, line {number}: needs a question") from error
    if not found:
        raise UsageError(f"{file} holds no questions")
    return found


def evaluate_answers(
    file: Path,
    *,
    ask: Callable[[str], Answer],
    limit: int | None = None,
    details: Path | None = None,
    on_result: Callable[[dict[str, Any]], None] | None = None,
    progress: ProgressCallback | None = None,
    cancel: CancelToken | None = None,
) -> dict[str, Any]:
    """Ask every question of a JSONL file, and hold each answer against what is expected.

    Lines have `question`, and any of `kind`, `answers`, `contains`, `doc`, `pages`, `asks_back`
    (see `Expected`). `limit` takes the first ones; `on_result` gets each result as it is there;
    `details` is written as JSONL, one result a line.

    Returns counts (questions, answered, declined, composed, checked, right), the share that passed
    of each check, "kinds" (counts of each recognized kind), the median of seconds, and "results".
    Raises UsageError for a file of another layout, Cancelled.
    """
    questions = read_expected(file)[:limit]
    results = []
    for done, expected in enumerate(questions, 1):
        if cancel is not None and cancel.cancelled:
            raise Cancelled("the evaluation was cancelled")
        started = time.perf_counter()
        answer = ask(expected.question)
        one = result(expected, answer, time.perf_counter() - started)
        results.append(one)
        if on_result is not None:
            on_result(one)
        if progress is not None:
            progress(Progress("questions", done, len(questions)))
    if details is not None:
        lines = (json.dumps(one, ensure_ascii=False) + "\n" for one in results)
        details.write_text("".join(lines), encoding="utf-8")
    return {**totals(results), "results": results}


def result(expected: Expected, answer: Answer, seconds: float) -> dict[str, Any]:
    """One question with its answer, what was expected, and the checks (True: passed)."""
    kind = recognize(expected.question).kind
    checks: dict[str, bool] = {}
    text = "" if answer.abstained else _MARKS.sub(" ", without_citations(answer.text))
    if expected.kind:
        checks["kind"] = kind == expected.kind
    if expected.answers == ():
        checks["declined"] = answer.abstained
    elif expected.answers or expected.contains:
        any_of = expected.answers or expected.contains
        checks["words"] = any(stands_in(words, text) for words in any_of) and all(
            stands_in(words, text) for words in expected.contains
        )
    if expected.asks_back:
        checks["asked_back"] = bool(answer.candidates)
    if expected.pages:
        checks["page"] = any(
            citation.page in expected.pages and _is_of(citation, expected.document, answer)
            for citation in answer.citations
        )
    return {
        "question": expected.question,
        "kind": kind,
        "answer": answer.text,
        "abstained": answer.abstained,
        "composed": answer.composed,
        "candidates": [candidate.text for candidate in answer.candidates],
        "citations": [citation_json(citation) for citation in answer.citations],
        "expected": {
            "kind": expected.kind or None,
            "answers": expected.answers,
            "contains": expected.contains,
            "document": expected.document or None,
            "pages": expected.pages,
            "asks_back": expected.asks_back,
        },
        "checks": checks,
        "right": all(checks.values()) if checks else None,
        "seconds": round(seconds, 2),
    }


def _is_of(citation: Citation, document: str, answer: Answer) -> bool:
    """Whether a citation is of the file of this name; true where none is named."""
    if not document:
        return True
    stem = Path(document).stem
    paths = [hit.path for hit in answer.hits if hit.document_id == citation.document_id]
    return any(Path(path).stem == stem for path in paths)


def totals(results: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Counts and shares over results, as `evaluate_answers` returns them."""
    checked = [one for one in results if one["checks"]]
    found: dict[str, Any] = {
        "questions": len(results),
        "answered": sum(not one["abstained"] for one in results),
        "declined": sum(one["abstained"] for one in results),
        "composed": sum(one["composed"] for one in results),
        "checked": len(checked),
        "right": sum(one["right"] for one in checked),
    }
    for name in CHECKS:
        passed = [one["checks"][name] for one in results if name in one["checks"]]
        if passed:
            found[f"{name}_right"] = round(sum(passed) / len(passed), 4)
    kinds: dict[str, dict[str, int]] = {}
    for one in results:
        counts = kinds.setdefault(
            one["kind"], {"questions": 0, "answered": 0, "checked": 0, "right": 0}
        )
        counts["questions"] += 1
        counts["answered"] += not one["abstained"]
        counts["checked"] += bool(one["checks"])
        counts["right"] += bool(one["right"])
    found["kinds"] = kinds
    found["seconds_median"] = round(median(one["seconds"] for one in results), 2)
    return found
