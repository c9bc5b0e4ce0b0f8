"""How many passages a language model reads well, and how sure its answers are: `calibration.json`.

Both are fitted on questions that the model was not trained on, each asked as `ask` asks it, with
any backend: the gold passage among those that a search confuses with it, the nearest ones read.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ragcore.answers import ConfidenceCalibration, Signals, fit, run_many
from ragcore.datasets import read_contexts, token_f1, without_citations
from ragcore.errors import UsageError
from ragcore.files import atomic_write
from ragcore.tuning.questions import CalibrationQuestion, questions_among
from ragcore.types import Progress, SearchResult

if TYPE_CHECKING:
    from ragcore.answers import Answerer
    from ragcore.models import Models
    from ragcore.settings import Settings
    from ragcore.types import Answer, CancelToken, ProgressCallback

FEW = 2  # answers of each sort below which nothing can be fitted
READ = (2, 3, 4)  # numbers of passages that are tried
_DECLINED = 0.145  # of the answerable questions, at most, at the threshold 0.5


def calibrate_model(
    file: Path,
    *,
    settings: Settings,
    models: Models | None = None,
    adapter: str | None = None,
    read: Sequence[int] = READ,
    limit: int | None = None,
    progress: ProgressCallback | None = None,
    cancel: CancelToken | None = None,
) -> tuple[Path, ConfidenceCalibration, dict[str, dict[str, float]]]:
    """Calibrate the profile's LLM on a JSONL[.gz] file of question, context, answers.

    Returns where the calibration was written in the library, itself, and its scores (see
    `calibrate`). `limit` takes the first contexts. Raises UsageError for a file that does not fit
    and for a model that answers too little, ModelUnavailable, Cancelled.
    """
    from ragcore.answers import Answerer, calibration_file
    from ragcore.models import Models

    every = read_contexts(file)
    models = models or Models(settings)
    llm = models.llm()
    answerer = Answerer(llm, lambda _: SearchResult(()), settings=settings, models=models)
    found, scores = calibrate(
        answerer, questions_among(every[:limit], every), read=read, adapter=adapter,
        progress=progress, cancel=cancel,
    )  # fmt: skip
    target = calibration_file(settings, llm.name, answerer.adapter_name(adapter))
    write_calibration(found, target)
    return target, found, scores


def calibrate(
    answerer: Answerer,
    asked: Sequence[CalibrationQuestion],
    *,
    read: Sequence[int] = READ,
    batch: int = 16,
    adapter: str | None = None,
    progress: ProgressCallback | None = None,
    cancel: CancelToken | None = None,
) -> tuple[ConfidenceCalibration, dict[str, dict[str, float]]]:
    """The calibration of the answerer's model, and the scores by number of passages read.

    Taken is the number of passages with the best F1 over the answerable questions. The weights
    distinguish questions that the passages answer from others; the intercept puts the
    threshold 0.5 where at most a fixed share of the answerable questions is declined.
    """
    answerable = [bool(one.answers) for one in asked]
    scores: dict[str, dict[str, float]] = {}
    signals: dict[int, list[Signals | None]] = {}
    for turn, count in enumerate(read):
        # Nothing is declined by the dial, and abstaining is barred as a calibration bars it.
        open_ = answerer.calibrated(
            ConfidenceCalibration(weights={"abstains": -1.0}, passages=count)
        )
        runs = run_many(
            open_,
            [(one.question, one.hits) for one in asked],
            batch=batch,
            adapter=adapter,
            cancel=cancel,
        )
        answers: dict[int, Answer] = {}
        found: dict[int, Signals | None] = {}
        for index, run, answer in runs:
            answers[index], found[index] = answer, run.signals
            if progress is not None:
                done = turn * len(asked) + len(answers)
                progress(Progress("calibrate", done, len(read) * len(asked), 0.0, None))
        scores[str(count)] = _scores(asked, [answers[i] for i in range(len(asked))])
        signals[count] = [found[i] for i in range(len(asked))]
    best = max(read, key=lambda n: scores[str(n)]["f1"])
    rows = signals[best]
    answered = [(row, yes) for row, yes in zip(rows, answerable, strict=True) if row is not None]
    if min(sum(yes for _, yes in answered), sum(not yes for _, yes in answered)) < FEW:
        raise UsageError(
            f"the model answered too few of the {len(asked)} questions with a citation: give more "
            f"questions, at least {FEW} that their passages answer and {FEW} that they do not"
        )
    fitted = fit([row for row, _ in answered], [yes for _, yes in answered])
    return replace(_moved(fitted, rows, answerable), passages=best), scores


def _scores(asked: Sequence[CalibrationQuestion], answers: Sequence[Answer]) -> dict[str, float]:
    f1, declined = [], []
    for one, answer in zip(asked, answers, strict=True):
        if one.answers:
            text = "" if answer.abstained else without_citations(answer.text)
            f1.append(token_f1(text, one.answers))
        else:
            declined.append(float(answer.abstained))
    return {
        "f1": round(sum(f1) / max(len(f1), 1), 4),
        "declined_unanswerable": round(sum(declined) / max(len(declined), 1), 4),
    }


def _moved(
    found: ConfidenceCalibration, rows: Sequence[Signals | None], answerable: Sequence[bool]
) -> ConfidenceCalibration:
    """The same with its middle where `_DECLINED` of the answerable questions are declined."""
    sure = sorted(
        found.confidence(row) if row is not None else 0.0
        for row, yes in zip(rows, answerable, strict=True)
        if yes
    )
    border = sure[min(len(sure) - 1, int(_DECLINED * len(sure)))] if sure else 0.5
    border = min(max(border, 0.02), 0.98)
    return replace(found, intercept=found.intercept - math.log(border / (1 - border)))


def write_calibration(found: ConfidenceCalibration, file: Path) -> None:
    """Write a `calibration.json`."""
    with atomic_write(file) as part:
        part.write_text(json.dumps(_row(found), indent=2) + "\n", encoding="utf-8")


def _row(found: ConfidenceCalibration) -> dict[str, Any]:
    row: dict[str, Any] = {
        "intercept": round(found.intercept, 4),
        "weights": {name: round(value, 4) for name, value in found.weights.items()},
        "passages": found.passages,
    }
    if found.without_reranker is not None:
        row["without_reranker"] = _row(found.without_reranker)
    return row
