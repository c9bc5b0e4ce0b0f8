"""Everything that is learnt about one image, laid out as one tree of token sequences.

The trunk is the prompt up to the end of the image; from it branch the questions, and from a
question its answers: five captions share one prompt and one image. As in `lora_packing`, a
branch attends to what it grows from and to itself, and its positions go on from there, so that
each answer gets exactly the logits it would get as a sequence of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ragcore.llm import prompt_parts

if TYPE_CHECKING:
    import torch

    from ragcore.types import Message


@dataclass(slots=True)
class ImageTree:
    """Token ids of one image's questions and answers; `image` counts its cells.

    `branches` are (question's ids, its answers' ids). An answer's ids end with the end token.
    """

    before: tuple[int, ...]
    image: int
    branches: list[tuple[tuple[int, ...], list[tuple[int, ...]]]] = field(default_factory=list)

    @property
    def tokens(self) -> int:
        inner = sum(len(q) + sum(map(len, answers)) for q, answers in self.branches)
        return len(self.before) + self.image + inner


class TreeMaker:
    """Turns questions with their accepted answers into trees, by one tokenizer's chat form."""

    def __init__(self, tokenizer: Any, cells: int) -> None:
        self.tokenizer = tokenizer
        self.cells = cells
        self._questions: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = {}

    def make(self, asked: Sequence[tuple[str, Sequence[str]]]) -> ImageTree:
        """A tree of (question, answers to learn)."""
        tree = ImageTree((), self.cells)
        for question, answers in asked:
            before, after = self.prompt(question)
            tree.before = before
            end = self.tokenizer.eos_token
            tree.branches.append((after, [self._ids(answer + end) for answer in answers]))
        return tree

    def prompt(self, question: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Token ids before and after the image."""
        if question not in self._questions:
            before, after = prompt_parts(self._render, question)
            self._questions[question] = (self._ids(before), self._ids(after))
        return self._questions[question]

    def _ids(self, text: str) -> tuple[int, ...]:
        return tuple(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    def _render(self, messages: Sequence[Message]) -> str:
        turns = [{"role": m.role, "content": m.content} for m in messages]
        text: str = self.tokenizer.apply_chat_template(
            turns, tokenize=False, add_generation_prompt=True
        )
        return text


@dataclass(slots=True)
class TreeBatch:
    """Trees side by side, padded: ids and positions [n, t], additive mask [n, 1, t, t].

    `first_cell` is where each image's cells begin (their ids are placeholders). `keep` are the
    places, in the batch laid flat, whose next token is learnt, `targets` those tokens.
    """

    ids: torch.Tensor
    positions: torch.Tensor
    mask: torch.Tensor
    first_cell: int
    keep: torch.Tensor
    targets: torch.Tensor
    tokens: int


def to_batch(trees: Sequence[ImageTree], *, device: Any = "cpu", dtype: Any = None) -> TreeBatch:
    """Lay trees out for the model. All have the same text before the image."""
    import torch

    rows = [_laid_out(tree) for tree in trees]
    longest = max(len(row.ids) for row in rows)
    dtype = dtype or torch.float32
    ids = torch.zeros(len(rows), longest, dtype=torch.long)
    positions = torch.zeros_like(ids)
    # padding sees itself only, so that no row of the attention is empty
    seen = torch.eye(longest, dtype=torch.bool).repeat(len(rows), 1, 1)
    keep: list[int] = []
    targets: list[int] = []
    for at, row in enumerate(rows):
        length = len(row.ids)
        ids[at, :length] = torch.tensor(row.ids)
        positions[at, :length] = torch.tensor(row.positions)
        seen[at, :length, :length] = _visible(row)
        keep += [at * longest + place for place in row.keep]
        targets += row.targets
    mask = torch.zeros(seen.shape, dtype=dtype).masked_fill(~seen, torch.finfo(dtype).min)
    return TreeBatch(
        ids.to(device),
        positions.to(device),
        mask[:, None].to(device),
        len(trees[0].before),
        torch.tensor(keep, device=device),
        torch.tensor(targets, device=device),
        sum(len(row.ids) for row in rows),
    )


@dataclass(slots=True)
class _Row:
    ids: list[int]
    positions: list[int]
    question: list[int]  # number of the question's branch, 0 for the trunk
    answer: list[int]  # number of the answer in the whole tree, 0 for what is none
    keep: list[int]
    targets: list[int]


def _laid_out(tree: ImageTree) -> _Row:
    trunk = len(tree.before) + tree.image
    row = _Row([*tree.before, *[0] * tree.image], list(range(trunk)), [0] * trunk, [0] * trunk,
               [], [])  # fmt: skip
    number = 0
    for branch, (question, answers) in enumerate(tree.branches, 1):
        row.ids += question
        row.positions += range(trunk, trunk + len(question))
        row.question += [branch] * len(question)
        row.answer += [0] * len(question)
        asked = len(row.ids) - 1  # the place that predicts every answer's first token
        for answer in answers:
            number += 1
            # the end token is learnt and never read: it need not be laid out
            row.keep += [asked, *range(len(row.ids), len(row.ids) + len(answer) - 1)]
            row.targets += answer
            start = trunk + len(question)
            row.ids += answer[:-1]
            row.positions += range(start, start + len(answer) - 1)
            row.question += [branch] * (len(answer) - 1)
            row.answer += [number] * (len(answer) - 1)
    return row


def _visible(row: _Row) -> torch.Tensor:
    """[t, t]: which places (columns) each place (row) attends to."""
    import torch

    question, answer = torch.tensor(row.question), torch.tensor(row.answer)
    order = torch.arange(len(row.ids))
    same_question = (question == 0) | (question[:, None] == question)
    same_answer = (answer == 0) | (answer[:, None] == answer)
    return (order[:, None] >= order) & same_question & same_answer
