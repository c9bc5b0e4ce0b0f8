"""How many passages an adapter reads well, and how sure its answers are: `calibration.json`.

Both are fitted on questions whose contexts were kept out of training, each asked as `ask` would
ask it: the gold passage among those that a search confuses with it, the nearest ones read.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ragcore.answers.citations import check, declines
from ragcore.answers.confidence import CALIBRATION, Calibration, Signals, fit, signals
from ragcore.answers.reading import closest
from ragcore.evals.qa_scores import stands_in
from ragcore.tuning.grounded_qa import Context, as_answer
from ragcore.tuning.lora_packing import Example
from ragcore.tuning.lora_scores import Given, answer_examples, summarise
from ragcore.tuning.neighbours import Neighbours
from ragcore.types import Hit

if TYPE_CHECKING:
    from ragcore.answers.citations import Encode
    from ragcore.types import CancelToken

_DISTRACTORS = 3
_WITHOUT = 3  # every third answerable question is asked without its passage too
_READ = (2, 3, 4)  # numbers of passages that are tried
_DECLINED = 0.145  # of the answerable questions, at most, at the threshold 0.5


@dataclass(frozen=True, slots=True)
class Asked:
    """A question with the passages that were found for it; `gold` is the id of its own."""

    question: str
    answers: tuple[str, ...]
    hits: tuple[Hit, ...]
    gold: int


def questions_among(
    contexts: Sequence[Context], every: Sequence[Context], *, distractors: int = _DISTRACTORS
) -> list[Asked]:
    """The questions of `contexts`, each beside the nearest other passages of `every`.

    Some are asked a second time without their own passage. That is the commonest reason why a
    question cannot be answered, and another one than that its passage does not tell: there the
    words of the question stand, and only what is asked for lacks.
    """
    neighbours = Neighbours([c.text for c in every])
    place = {c.text: i for i, c in enumerate(every)}
    found = []
    for context in contexts:
        own = place[context.text]
        for question, answers in context.questions:
            chosen = [own, *neighbours.nearest(question, own, distractors)]
            hits = tuple(
                Hit(i, "passage", 1.0, i, every[i].title, "", every[i].text) for i in chosen
            )
            found.append(Asked(question, answers, hits, own))
    answerable = [asked for asked in found if asked.answers][::_WITHOUT]
    for asked in answerable:
        others = tuple(hit for hit in asked.hits if hit.id != asked.gold)
        if not any(stands_in(a, hit.text) for a in asked.answers for hit in others):
            found.append(Asked(asked.question, (), others, asked.gold))
    return found


def examples_read(asked: Sequence[Asked], count: int, encode: Encode) -> list[Example]:
    """Each question with the `count` nearest of its passages, those first, as `ask` reads."""
    from ragcore.answers.prompt import ABSTENTION, Source

    examples = []
    for one in asked:
        hits = closest(one.question, one.hits, count, encode=encode)
        gold = next((n for n, hit in enumerate(hits, 1) if hit.id == one.gold), 0)
        known = bool(one.answers) and gold > 0
        examples.append(
            Example(
                one.question,
                tuple(Source(hit.text, hit.document) for hit in hits),
                as_answer(one.answers[0], gold) if known else ABSTENTION,
                one.answers,
                (gold,) if known else (),
            )
        )
    return examples


def calibrate(
    model: Any,
    tokenizer: Any,
    asked: Sequence[Asked],
    encode: Encode,
    *,
    cancel: CancelToken | None = None,
) -> tuple[Calibration, dict[str, dict[str, float]]]:
    """The calibration, and the scores by number of passages read; `model` has the adapter on.

    Taken is the number of passages with the best F1. The weights tell questions that the
    passages answer from those that they do not; the intercept puts the threshold 0.5 where at
    most a fixed share of the answerable questions is declined.
    """
    scores: dict[str, dict[str, float]] = {}
    read = {count: examples_read(asked, count, encode) for count in _READ}
    for count, examples in read.items():
        given = answer_examples(model, tokenizer, examples, cancel=cancel)
        scores[str(count)] = summarise(examples, [g.text for g in given])
    best = max(_READ, key=lambda n: scores[str(n)]["f1"])
    examples = read[best]
    given = answer_examples(model, tokenizer, examples, barred=True, cancel=cancel)
    rows = [_signals(tokenizer, e, g, encode) for e, g in zip(examples, given, strict=True)]
    answerable = [bool(e.answers) for e in examples]
    told = [(row, yes) for row, yes in zip(rows, answerable, strict=True) if row is not None]
    found = fit([row for row, _ in told], [yes for _, yes in told])
    return replace(_moved(found, rows, answerable), passages=best), scores


def _signals(tokenizer: Any, example: Example, given: Given, encode: Encode) -> Signals | None:
    """As `ask` collects them; None for an answer that is an abstention already."""
    if declines(given.text):
        return None
    hits = [
        Hit(n, "passage", 1.0, n, s.title, "", s.text) for n, s in enumerate(example.sources, 1)
    ]
    checked = check(given.text, example.question, hits, encode=encode)
    if not checked.citations:
        return None
    return signals(
        example.question,
        abstention=given.abstains,
        likelihood=given.likelihood,
        tokens=len(tokenizer(given.text, add_special_tokens=False)["input_ids"]),
        citations=checked.citations,
        hits=hits,
        encode=encode,
    )


def _moved(
    found: Calibration, rows: Sequence[Signals | None], answerable: Sequence[bool]
) -> Calibration:
    """The same with its middle where `_DECLINED` of the answerable questions are declined."""
    import math

    sure = sorted(
        found.confidence(row) if row is not None else 0.0
        for row, yes in zip(rows, answerable, strict=True)
        if yes
    )
    border = sure[min(len(sure) - 1, int(_DECLINED * len(sure)))] if sure else 0.5
    border = min(max(border, 0.02), 0.98)
    return replace(found, intercept=found.intercept - math.log(border / (1 - border)))


def write_calibration(found: Calibration, folder: Path) -> None:
    """Write `calibration.json` beside an adapter."""
    row = asdict(found)
    row["intercept"] = round(row["intercept"], 4)
    row["weights"] = {name: round(value, 4) for name, value in row["weights"].items()}
    (folder / CALIBRATION).write_text(json.dumps(row, indent=2) + "\n", encoding="utf-8")
