"""Questions with the windows that they are read in: right ones, and ones that look right."""

from __future__ import annotations

import hashlib
import math
import random
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ragcore.answers import words
from ragcore.datasets import Context, Neighbours, training_contexts
from ragcore.errors import UsageError

if TYPE_CHECKING:
    from ragcore.encoders import Window, WindowMaker
    from ragcore.tuning.extractive.recipe import ExtractiveRecipe

_LONGEST_SPAN = 30  # words, of an answer in free text
_WORD = re.compile(r"\w+(?:['’.,-]\w+)*")

Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class SpanQuestion:
    """A question about a context; `spans` are the characters of its answers there."""

    question: str
    answers: tuple[str, ...]
    context: int
    spans: tuple[Span, ...]


@dataclass(frozen=True, slots=True)
class Exercise:
    """What one training example is made of.

    Window numbers, and the spans (first and last token) of the first window that are right; without
    any, none of the windows answers.
    """

    question: str
    windows: tuple[int, ...]
    spans: tuple[Span, ...]


def split_articles(recipe: ExtractiveRecipe) -> tuple[list[Context], list[Context]]:
    """Contexts to learn from and held-out ones; no title is in both.

    Raises UsageError if the data are not there, or too few.
    """
    data = recipe.data
    if not data.train:
        raise UsageError("the recipe names no data.train")
    contexts = training_contexts(
        recipe.path(data.train),
        recipe.path(data.exclude) if data.exclude else None,
        held_out=data.calibration_contexts,
    )
    titles = sorted({c.title for c in contexts}, key=_digest)
    apart = set(titles[: math.ceil(data.held_out_articles * len(titles))])
    train = [c for c in contexts if c.title not in apart]
    if len(apart) == len(titles) or not train:
        raise UsageError(f"{data.train}: needs contexts of at least two titles")
    return train, [c for c in contexts if c.title in apart]


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


def find_spans(context: str, answers: Sequence[str], overlap: float) -> tuple[Span, ...]:
    """Where the answers stand in the context.

    Word for word, else the stretch of words most like one of them, if their token F1 is at least
    `overlap`.
    """
    found: list[Span] = []
    for answer in dict.fromkeys(a.strip().strip(".") for a in answers):
        if not answer:
            continue
        pattern = rf"(?<!\w){re.escape(answer)}(?!\w)"
        found += [m.span() for m in re.finditer(pattern, context, re.IGNORECASE)]
    if found:
        return tuple(sorted(set(found)))
    best = max((_likest(context, a) for a in answers), default=(0.0, (0, 0)))
    return (best[1],) if best[0] >= overlap else ()


def _likest(context: str, answer: str) -> tuple[float, Span]:
    """The stretch of the context with the highest token F1 to the answer, and that F1."""
    wanted = Counter(w.lower() for w in _WORD.findall(answer))
    size = sum(wanted.values())
    tokens = list(_WORD.finditer(context))
    best: tuple[float, Span] = (0.0, (0, 0))
    for start, first in enumerate(tokens):
        if first.group().lower() not in wanted:
            continue
        left, common = Counter(wanted), 0
        for end in range(start, min(start + min(2 * size, _LONGEST_SPAN), len(tokens))):
            word = tokens[end].group().lower()
            if left[word] > 0:
                left[word] -= 1
                common += 1
                score = 2 * common / (size + end - start + 1)
                if score > best[0]:
                    best = (score, (first.start(), tokens[end].end()))
    return best


class Exercises:
    """Training examples by their number; the same for the same recipe, in any order."""

    def __init__(self, contexts: Sequence[Context], maker: WindowMaker, recipe: ExtractiveRecipe):
        self._data, self._seed = recipe.data, recipe.seed
        self._batch = recipe.batch_size
        self.windows: list[Window] = []
        self._texts: list[str] = []
        self._of: list[list[int]] = []
        for context in contexts:
            made = maker.windows(context.text, context.title)
            self._of.append(list(range(len(self.windows), len(self.windows) + len(made))))
            self.windows += made
            self._texts += [_text(context.text, window) for window in made]
        self.asked = [
            SpanQuestion(question, answers, number, spans)
            for number, context in enumerate(contexts)
            for question, answers in context.questions
            if (spans := find_spans(context.text, answers, self._data.overlap)) or not answers
        ]
        titles = [c.title for c, own in zip(contexts, self._of, strict=True) for _ in own]
        self._neighbours = Neighbours(
            [f"{title} {text}" for title, text in zip(titles, self._texts, strict=True)]
        )

    def __len__(self) -> int:
        """Steps of one pass."""
        return len(self.asked) // self._batch

    def batch(self, step: int) -> list[Exercise]:
        """The examples of a step: windows of like length stand together."""
        epoch, place = divmod(step, len(self))
        rng = random.Random(f"{self._seed} {epoch}")
        order = rng.sample(range(len(self.asked)), len(self) * self._batch)
        block = 32 * self._batch
        groups: list[list[int]] = []
        for start in range(0, len(order), block):
            part = sorted(order[start : start + block], key=self._size)
            groups += [part[i : i + self._batch] for i in range(0, len(part), self._batch)]
        rng.shuffle(groups)
        return [self._exercise(number, epoch) for number in groups[place]]

    def _size(self, number: int) -> int:
        own = self._of[self.asked[number].context]
        return max(len(self.windows[i].ids) for i in own)

    def _exercise(self, number: int, epoch: int) -> Exercise:
        asked = self.asked[number]
        rng = random.Random(f"{self._seed} {epoch} {number}")
        own, spans = self._right_window(asked)
        near = self._neighbours.nearest(asked.question, own, self._data.candidates + 4)
        wrong = [i for i in near if not self._answers(i, asked)][: self._data.candidates]
        rng.shuffle(wrong)
        if spans and len(wrong) > 1 and rng.random() < self._data.missing:
            return Exercise(asked.question, tuple(wrong[: self._data.distractors + 1]), ())
        return Exercise(asked.question, (own, *wrong[: self._data.distractors]), tuple(spans))

    def _right_window(self, asked: SpanQuestion) -> tuple[int, list[Span]]:
        """The window with most of the question's words, and the answers' tokens in it.

        Among the context's windows that hold an answer; among all where there is none.
        """
        wanted = set(words(asked.question))
        holding = {i: _tokens(self.windows[i], asked.spans) for i in self._of[asked.context]}
        if any(holding.values()):
            holding = {i: spans for i, spans in holding.items() if spans}
        best = max(holding, key=lambda i: len(wanted & set(words(self._texts[i]))))
        return best, holding[best]

    def _answers(self, window: int, asked: SpanQuestion) -> bool:
        text = self._texts[window].lower()
        return any(a.lower().strip(" .") in text for a in asked.answers)


def _text(text: str, window: Window) -> str:
    return text[window.offsets[0][0] : window.offsets[-1][1]] if window.offsets else ""


def _tokens(window: Window, spans: Sequence[Span]) -> list[Span]:
    """First and last token in the window of each span that stands in it whole."""
    found = []
    for start, end in spans:
        inside = [
            at for at, (left, right) in enumerate(window.offsets) if left < end and right > start
        ]
        if inside and window.offsets[0][0] <= start and end <= window.offsets[-1][1]:
            found.append((window.first + inside[0], window.first + inside[-1]))
    return found
