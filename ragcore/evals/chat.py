"""Follow-up questions measured: does the search find what they are about?"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ragcore.datasets import normalized
from ragcore.errors import Cancelled, UsageError
from ragcore.evals.lines import read_lines
from ragcore.models import Models
from ragcore.types import CancelToken, Hit, Message, Progress, ProgressCallback, SearchQuery

if TYPE_CHECKING:
    from ragcore.settings import Settings


@dataclass(frozen=True, slots=True)
class ChatTurn:
    """A question of a conversation, and what is expected of it.

    As it was asked, the same as it stands alone, its answer, and words that stand in the passage
    with the answer.
    """

    question: str
    stands_alone: str
    answer: str
    evidence: str


Find = Callable[[str], Sequence[Hit]]
Rewrite = Callable[[str, Sequence[Message], Find], str]


def evaluate_chat(
    file: Path,
    *,
    settings: Settings,
    models: Models | None = None,
    collection: str,
    k: int = 4,
    rewrite: Rewrite | None = None,
    find: Find | None = None,
    progress: ProgressCallback | None = None,
    cancel: CancelToken | None = None,
) -> dict[str, Any]:
    """Search for every follow-up of a JSONL file as asked, as rewritten and as written by hand.

    A line is {"turns": [{"question", "stands_alone", "answer", "evidence"}, …]}. A turn after
    the first is a follow-up, or, where both questions are the same, a change of subject that
    must not be rewritten. The history holds the questions before it with their answers as the
    file has them. A search has found it when one of its first `k` passages holds the evidence.
    `rewrite` and `find` replace the profile's model and the collection; `models` defaults to
    those of the settings.

    Returns found_as_asked, found_rewritten, found_by_hand (shares of the follow-ups in [0, 1]),
    `lost` (follow-ups found as asked and not when rewritten), rewritten (share of them that was
    changed at all), wrong_rewritings (share of the changes of subject that was changed),
    seconds_per_rewriting, counts, what was missed and what was wrongly rewritten. Raises
    UsageError for a file of another layout.
    """
    chains = read_chains(file)
    turns = [(chain[:n], turn) for chain in chains for n, turn in enumerate(chain) if n]
    models = models or Models(settings)
    rewrite = rewrite or _rewrite(models)
    find = find or _find(settings, models, collection, k)
    found: dict[str, list[bool]] = {"as_asked": [], "rewritten": [], "by_hand": []}
    changed, spent, misses, wrong = [], 0.0, [], []
    for number, (before, turn) in enumerate(turns, 1):
        if cancel is not None and cancel.cancelled:
            raise Cancelled("the evaluation was cancelled")
        started = time.perf_counter()
        written = rewrite(turn.question, _history(before), find)
        spent += time.perf_counter() - started
        if progress is not None:
            progress(Progress("follow-ups", number, len(turns)))
        if turn.stands_alone == turn.question:
            if written != turn.question:
                wrong.append({"question": turn.question, "rewritten": written})
            continue
        changed.append(written != turn.question)
        for name, text in (
            ("as_asked", turn.question),
            ("rewritten", written),
            ("by_hand", turn.stands_alone),
        ):
            found[name].append(_holds([hit.text for hit in find(text)], turn.evidence))
        if not found["rewritten"][-1]:
            misses.append({"question": turn.question, "rewritten": written})
    count = len(changed)
    alone = len(turns) - count
    lost = sum(a and not b for a, b in zip(found["as_asked"], found["rewritten"], strict=True))
    return {
        **{f"found_{name}": _share(sum(values), count) for name, values in found.items()},
        "lost": lost,
        "rewritten": _share(sum(changed), count),
        "wrong_rewritings": _share(len(wrong), alone),
        "seconds_per_rewriting": round(spent / len(turns), 3),
        "conversations": len(chains),
        "follow_ups": count,
        "changes_of_subject": alone,
        "missed": misses,
        "wrong": wrong,
    }


def read_chains(file: Path) -> list[tuple[ChatTurn, ...]]:
    """Raises UsageError, with the line, for a file of another layout."""
    chains = []
    for number, row in read_lines(file):
        try:
            turns = tuple(
                ChatTurn(**{name: str(turn[name]) for name in ChatTurn.__dataclass_fields__})
                for turn in row["turns"]
            )
        except (KeyError, TypeError) as error:
            raise UsageError(
                f"{file}, line {number}: needs turns with question, stands_alone, answer, evidence"
            ) from error
        if len(turns) < 2:
            raise UsageError(f"{file}, line {number}: a conversation has at least two turns")
        chains.append(turns)
    if not chains:
        raise UsageError(f"{file} holds no conversations")
    return chains


def _history(turns: Sequence[ChatTurn]) -> list[Message]:
    return [
        message
        for turn in turns
        for message in (Message("user", turn.question), Message("assistant", f"{turn.answer} [1]."))
    ]


def _share(part: int, whole: int) -> float:
    return round(part / whole, 4) if whole else 0.0


def _holds(passages: Sequence[str], evidence: str) -> bool:
    wanted = f" {normalized(evidence.replace('-', ' '))} "
    return any(wanted in f" {normalized(text.replace('-', ' '))} " for text in passages)


def _rewrite(models: Models) -> Rewrite:
    from ragcore.answers import stand_alone

    llm = models.llm()
    return lambda question, history, find: stand_alone(llm, question, history, find=find)


def _find(settings: Settings, models: Models, collection: str, k: int) -> Find:
    from ragcore.catalog import Catalog
    from ragcore.search import SearchEngine, Stores

    catalog = Catalog(settings.catalog_url)
    engine = SearchEngine(catalog, Stores(catalog, settings), settings, models=models)

    def find(text: str) -> Sequence[Hit]:
        query = SearchQuery(text=text, kind="passages", k=k, collection=collection)
        return engine.search(query).hits

    return find
