"""Many questions of given passages, answered in batches: for evaluations."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from ragcore.answers.answerer import Answerer
from ragcore.answers.prompt import ABSTENTION
from ragcore.answers.run import AnswerEvent, Run
from ragcore.models import BatchLLM
from ragcore.types import Answer, CancelToken, Hit, SearchResult

if TYPE_CHECKING:
    from ragcore.models import Written

_AHEAD = 8  # batches that are sorted by length together, so that little is padded


@dataclass(frozen=True, slots=True)
class BatchedQuestion:
    """A question, the passages that it is asked of, and its place in the list."""

    index: int
    question: str
    hits: tuple[Hit, ...]


def answer_many(
    answerer: Answerer,
    asked: Iterable[tuple[str, Sequence[Hit]]],
    *,
    batch: int = 16,
    adapter: str | None = None,
    cancel: CancelToken | None = None,
) -> Iterator[tuple[int, Answer]]:
    """Yield (place in `asked`, answer), a batch at a time, not in order.

    Answers are those of `Answerer.ask` on the same passages, up to rounding. A model that takes
    no batches (a server's) is asked one question after another.
    """
    for index, _, answer in run_many(answerer, asked, batch=batch, adapter=adapter, cancel=cancel):
        yield index, answer


def run_many(
    answerer: Answerer,
    asked: Iterable[tuple[str, Sequence[Hit]]],
    *,
    batch: int = 16,
    adapter: str | None = None,
    cancel: CancelToken | None = None,
) -> Iterator[tuple[int, Run, Answer]]:
    """As `answer_many`, with what was measured on the way to each answer."""
    questions = (
        BatchedQuestion(i, question, tuple(hits)) for i, (question, hits) in enumerate(asked)
    )
    llm = answerer.llm
    if not isinstance(llm, BatchLLM) or batch == 1:
        for one in questions:
            run = _prepared(answerer, one, adapter, cancel)
            yield one.index, run, _answer(run.answer(answerer.sampling))
        return
    while window := list(islice(questions, batch * _AHEAD)):
        runs = [(one.index, _prepared(answerer, one, adapter, cancel)) for one in window]
        ready: list[tuple[int, Run]] = []
        for index, run in runs:
            event = run.without_writing() if run.hits else run.abstain()
            if event is None:
                ready.append((index, run))
            else:
                yield index, run, _answer(event)
        ready.sort(key=lambda pair: pair[1].size)
        for start in range(0, len(ready), batch):
            group = ready[start : start + batch]
            begun = time.perf_counter()
            written = llm.write_all(
                [run.messages for _, run in group],
                max_tokens=answerer.sampling.max_tokens,
                watch=ABSTENTION.split()[0],
                bar=answerer.bars(adapter),
                adapter=adapter,
                cancel=cancel,
            )
            speed = sum(one.tokens for one in written) / (time.perf_counter() - begun)
            for (index, run), text in zip(group, written, strict=True):
                run.timings["tokens_per_second"] = speed
                yield index, run, _checked(run, text)


def _prepared(
    answerer: Answerer, one: BatchedQuestion, adapter: str | None, cancel: CancelToken | None
) -> Run:
    found = SearchResult(one.hits)
    run = Run(answerer.searching(lambda _: found), one.question, adapter, cancel,
              threshold=answerer.threshold)  # fmt: skip
    for _ in run.find(max(1, len(one.hits))):
        pass
    return run


def _checked(run: Run, written: Written) -> Answer:
    run.text = written.text
    run.written = written
    return _answer(run.checked())


def _answer(event: AnswerEvent) -> Answer:
    assert event.answer is not None
    return event.answer
