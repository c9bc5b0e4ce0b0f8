"""The training set of grounded answers, built from reading-comprehension questions.

A passage is put into one prompt with those that our own lexical search confuses with it, and the
questions about any of them that would be read in this order (`ragcore.answers.reading.closest`)
are asked of it. Questions without an answer, and questions whose passage is left out, are
answered with the abstention.
"""

from __future__ import annotations

import hashlib
import json
import random
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ragcore.answers.prompt import ABSTENTION, Source
from ragcore.answers.sentences import words
from ragcore.errors import UsageError
from ragcore.tuning.lora_packing import Example, open_text
from ragcore.tuning.neighbours import Neighbours
from ragcore.tuning.policy_qa import policy_group


@dataclass(frozen=True, slots=True)
class Context:
    """A passage with its questions: (question, accepted answers; none: unanswerable)."""

    text: str
    title: str
    narrative: bool
    questions: tuple[tuple[str, tuple[str, ...]], ...]


def read_contexts(path: Path) -> list[Context]:
    """Group a JSONL[.gz] of question, context, answers, title by context, in file order."""
    groups: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for number, line in enumerate(open_text(path), 1):
        try:
            row = json.loads(line)
            groups[row["context"]].append(row)
        except (ValueError, KeyError, TypeError) as error:
            raise UsageError(f"{path}, line {number}: needs question, context, answers") from error
    return [
        Context(
            text,
            rows[0].get("title", ""),
            rows[0].get("source", "").startswith("FairytaleQA"),
            tuple((r["question"].strip(), tuple(r["answers"])) for r in rows),
        )
        for text, rows in groups.items()
    ]


def as_answer(span: str, number: int) -> str:
    """The span as a short sentence that cites document `number`."""
    span = re.sub(r"\s+([.,;:!?])", r"\1", " ".join(span.split())).strip(" .,;:")
    return f"{span[:1].upper()}{span[1:]} [{number}]."


def _asked(context: Context) -> str:
    return " ".join(question for question, _ in context.questions)


def _usable(answers: tuple[str, ...]) -> bool:
    return not answers or 0 < len(answers[0].split()) <= 30


# (documents in a prompt, weight): narrative passages are twice as long and have fewer questions
_SIZES = ((1, 25), (2, 60), (3, 15))
_NARRATIVE_SIZES = ((1, 55), (2, 42), (3, 3))
_MOST_WORDS = 480  # of all documents of a prompt


def read_in_order(question: str, documents: Sequence[str]) -> bool:
    """Whether `ask` would show the first document first: it has most of the question's words."""
    asked = set(words(question))
    shared = [len(asked & set(words(text))) for text in documents]
    return shared[0] == max(shared)


class GroupMaker:
    """Draws groups of examples that share their documents."""

    def __init__(self, contexts: Sequence[Context], rng: random.Random) -> None:
        self._contexts = contexts
        self._rng = rng
        self._neighbours = Neighbours([f"{c.title} {c.text}" for c in contexts])
        self._unused = {
            kind: [i for i, c in enumerate(contexts) if c.narrative is kind]
            for kind in (False, True)
        }
        for pool in self._unused.values():
            rng.shuffle(pool)

    def left(self, narrative: bool) -> int:
        return len(self._unused[narrative])

    def draw(self, narrative: bool, *, branches: int) -> list[Example]:
        """The next unused context first, its neighbours after it, and their questions."""
        rng = self._rng
        seed = self._unused[narrative].pop()
        sizes = _NARRATIVE_SIZES if narrative else _SIZES
        count = rng.choices([n for n, _ in sizes], [w for _, w in sizes])[0]
        near = self._neighbours.nearest(_asked(self._contexts[seed]), seed, 12)
        chosen = [seed, *rng.sample(near[:4], min(count - 1, len(near[:4])))]
        while len(chosen) > 1 and self._length(chosen) > _MOST_WORDS:
            chosen.pop()
        texts = [self._contexts[i].text for i in chosen]
        paged = rng.random() < 0.6
        titled = rng.random() < 0.85
        sources = tuple(
            Source(c.text, c.title if titled else "", rng.randint(1, 300) if paged else None)
            for c in (self._contexts[i] for i in chosen)
        )
        examples = [
            Example(
                question,
                sources,
                as_answer(answers[0], number) if answers else ABSTENTION,
                answers,
                (number,) if answers else (),
            )
            for number, i in enumerate(chosen, 1)
            for question, answers in self._contexts[i].questions
            if _usable(answers) and read_in_order(question, texts)
        ]
        rng.shuffle(examples)
        answered = [e for e in examples if e.answers][: round(0.8 * branches)]
        declined = [e for e in examples if not e.answers][: max(1, round(0.4 * len(answered)))]
        missing = self._missing([i for i in near if i not in chosen], sources)
        rng.shuffle(missing)
        extra = max(0 if rng.random() < 0.6 else 1, round(0.2 * len(answered)) - len(declined))
        examples = [*answered, *declined, *missing[:extra]]
        rng.shuffle(examples)
        return examples

    def _length(self, chosen: Sequence[int]) -> int:
        return sum(len(self._contexts[i].text.split()) for i in chosen)

    def _missing(self, others: list[int], sources: tuple[Source, ...]) -> list[Example]:
        """Questions of passages that are not there, and whose answer is not there by chance."""
        text = " ".join(s.text for s in sources).lower()
        pool = [*others, *self._rng.sample(range(len(self._contexts)), 2)]
        return [
            Example(question, sources, ABSTENTION)
            for i in pool
            for question, answers in self._contexts[i].questions
            if answers and not any(a.lower().strip(" .") in text for a in answers)
        ]


def training_contexts(train: Path, dev: Path | None, *, held_out: int = 0) -> list[Context]:
    """The contexts to learn from: none that stands in `dev`, none of `held_out_contexts`."""
    contexts = _without(read_contexts(train), dev)
    kept_back = {c.text for c in _by_hash(contexts)[:held_out]}
    return [c for c in contexts if c.text not in kept_back]


def held_out_contexts(train: Path, dev: Path | None, *, held_out: int) -> list[Context]:
    """The `held_out` contexts of `train` that are kept for calibration, the same every time."""
    return _by_hash(_without(read_contexts(train), dev))[:held_out]


def _without(contexts: Sequence[Context], dev: Path | None) -> list[Context]:
    kept_back = {" ".join(c.text.split()) for c in read_contexts(dev)} if dev else set()
    return [c for c in contexts if " ".join(c.text.split()) not in kept_back]


def _by_hash(contexts: Sequence[Context]) -> list[Context]:
    return sorted(contexts, key=lambda c: hashlib.sha256(c.text.encode()).digest())


def build_groups(
    train: Path,
    dev: Path | None,
    *,
    groups: int,
    seed: int = 0,
    branches: int = 16,
    held_out: int = 0,
) -> Iterator[list[Example]]:
    """Yield `groups` groups: of ten, five encyclopaedic, four narrative, one of house rules.

    Contexts that also stand in `dev` are left out, whatever their source, and those that
    `held_out_contexts` keeps for calibration.
    """
    rng = random.Random(seed)
    contexts = training_contexts(train, dev, held_out=held_out)
    maker = GroupMaker(contexts, rng)
    for number in range(groups):
        if number % 10 == 9:
            yield policy_group(rng)
            continue
        group: list[Example] = []
        while not group:  # a context whose questions all point elsewhere gives none
            narrative = number % 2 == 1
            if not maker.left(narrative):
                narrative = not narrative
            if not maker.left(narrative):
                maker = GroupMaker(contexts, rng)
            group = maker.draw(narrative, branches=branches)
        yield group


def build_dev(dev: Path, *, contexts: int, seed: int = 0, distractors: int = 3) -> list[Example]:
    """Dev questions, each context beside its `distractors` nearest others, order shuffled."""
    rng = random.Random(seed)
    everything = read_contexts(dev)
    neighbours = Neighbours([f"{c.title} {c.text}" for c in everything])
    examples = []
    for index in rng.sample(range(len(everything)), min(contexts, len(everything))):
        chosen = [index, *neighbours.nearest(_asked(everything[index]), index, distractors)]
        rng.shuffle(chosen)
        sources = tuple(Source(everything[i].text, everything[i].title) for i in chosen)
        gold = chosen.index(index) + 1
        examples += [
            Example(
                question,
                sources,
                as_answer(answers[0], gold) if answers else ABSTENTION,
                answers,
                (gold,) if answers else (),
            )
            for question, answers in everything[index].questions
        ]
    return examples


def write_examples(examples: Iterable[Example], path: Path) -> int:
    """Write the layout that `read_examples` reads; returns the number of lines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    count = 0
    partial = path.with_name(f"{path.name}.partial")
    with partial.open("w", encoding="utf-8") as out:
        for e in examples:
            passages = [{"text": s.text, "title": s.title, "page": s.page} for s in e.sources]
            row = {
                "question": e.question,
                "passages": passages,
                "answer": e.answer,
                "answers": list(e.answers),
                "citations": list(e.gold),
            }
            out.write(json.dumps(row, ensure_ascii=False) + "\n")
            count += 1
    partial.replace(path)
    return count
