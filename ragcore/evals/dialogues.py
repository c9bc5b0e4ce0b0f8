"""Conversations over given passages measured.

Is what can be answered answered, and the rest declined? The layout is that of MTRAG's tasks (Katsis
et al. 2025).
"""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ragcore.errors import Cancelled, UsageError
from ragcore.evals.lines import read_lines
from ragcore.types import (
    Answer,
    CancelToken,
    Hit,
    Message,
    Progress,
    ProgressCallback,
    SearchResult,
)

if TYPE_CHECKING:
    from ragcore.answers import Answerer
    from ragcore.models import Models
    from ragcore.settings import Settings

_WORD = re.compile(r"\w+")
_NOT_ANSWERABLE = ("unanswerable", "underspecified")


@dataclass(frozen=True, slots=True)
class Task:
    """The last question of a conversation, what was said before, and what it is answered from.

    `answerability`: answerable, partial, unanswerable or underspecified.
    """

    question: str
    history: tuple[Message, ...]
    hits: tuple[Hit, ...]
    targets: tuple[str, ...]
    answerability: str


def evaluate_dialogues(
    file: Path,
    *,
    settings: Settings,
    models: Models,
    limit: int | None = None,
    adapter: str | None = None,
    progress: ProgressCallback | None = None,
    cancel: CancelToken | None = None,
) -> dict[str, Any]:
    """Ask the last question of every conversation of a JSONL[.gz] file, of its own passages.

    A line has turns (speaker, text), contexts (text, title), targets (answers of people: texts,
    or turns) and answerability. `limit` takes the first lines.

    Returns shares in [0, 1]: declined for each answerability that occurs, rouge1_recall (words of
    the target that the answer has, over the answerable ones that were answered), rewritten
    (questions that were changed), and the median of seconds. Raises UsageError for another layout.
    """
    from ragcore.answers import Answerer

    tasks = read_tasks(file)[:limit]
    answerer = Answerer(models.llm(), lambda _: SearchResult(()), settings=settings, models=models)
    declined: dict[str, list[bool]] = {}
    recalls, seconds, rewritten = [], [], 0
    started = time.perf_counter()
    for done, task in enumerate(tasks, 1):
        if cancel is not None and cancel.cancelled:
            raise Cancelled("the evaluation was cancelled")
        begun = time.perf_counter()
        answer = _answered(answerer, task, adapter, cancel)
        seconds.append(time.perf_counter() - begun)
        rewritten += answer.question != " ".join(task.question.split())
        declined.setdefault(task.answerability, []).append(answer.abstained)
        if task.answerability not in _NOT_ANSWERABLE and not answer.abstained:
            recalls.append(max(rouge1_recall(answer.text, target) for target in task.targets))
        if progress is not None:
            rate = done / (time.perf_counter() - started)
            progress(Progress("tasks", done, len(tasks), rate, (len(tasks) - done) / rate))
    result: dict[str, Any] = {
        f"declined_{kind}": round(sum(values) / len(values), 4)
        for kind, values in sorted(declined.items())
    }
    if recalls:
        result["rouge1_recall"] = round(sum(recalls) / len(recalls), 4)
    result["rewritten"] = round(rewritten / len(tasks), 4)
    result["median_seconds"] = round(sorted(seconds)[len(seconds) // 2], 3)
    result["tasks"] = len(tasks)
    return result


def _answered(
    answerer: Answerer, task: Task, adapter: str | None, cancel: CancelToken | None
) -> Answer:
    found = SearchResult(task.hits)
    return answerer.searching(lambda _: found).ask(
        task.question,
        k=max(1, len(task.hits)),
        history=task.history,
        adapter=adapter,
        cancel=cancel,
    )


def read_tasks(file: Path) -> list[Task]:
    """Raises UsageError, with the line, for a file of another layout."""
    tasks = []
    for number, row in read_lines(file):
        try:
            turns = [(str(t["speaker"]), str(t["text"])) for t in row["turns"]]
            roles = ["user" if speaker == "user" else "assistant" for speaker, _ in turns]
            if roles[-1] != "user":
                raise ValueError("the last turn is not a question")
            tasks.append(
                Task(
                    question=turns[-1][1],
                    history=tuple(
                        Message(role, text)  # type: ignore[arg-type]
                        for role, (_, text) in zip(roles[:-1], turns, strict=False)
                    ),
                    hits=_hits(row["contexts"]),
                    targets=tuple(
                        str(t["text"] if isinstance(t, dict) else t) for t in row["targets"]
                    )
                    or ("",),
                    answerability=str(row["answerability"]),
                )
            )
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise UsageError(
                f"{file}, line {number}: needs turns, contexts, targets and answerability"
            ) from error
    if not tasks:
        raise UsageError(f"{file} holds no conversations")
    return tasks


def _hits(contexts: Sequence[dict[str, Any]]) -> tuple[Hit, ...]:
    texts = [(str(c["text"]), str(c.get("title") or "")) for c in contexts]
    return tuple(
        Hit(n, "passage", 1.0, n, title, "", text, span=(0, len(text)))
        for n, (text, title) in enumerate(texts)
    )


def rouge1_recall(answer: str, target: str) -> float:
    """Share of the target's words that the answer has (ROUGE-1 recall, Lin 2004), in [0, 1]."""
    wanted = Counter(_WORD.findall(target.lower()))
    said = Counter(_WORD.findall(answer.lower()))
    total = sum(wanted.values())
    return sum(min(count, said[word]) for word, count in wanted.items()) / total if total else 0.0
