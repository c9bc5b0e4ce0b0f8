"""Scores during a LoRA run: greedy answers, a prompt shared by its questions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from ragcore.answers import ABSTENTION, assemble
from ragcore.datasets import cited, exact_match, token_f1, without_citations
from ragcore.llm import generate_branches
from ragcore.tuning.lora.packing import GroundedExample, split_prompt
from ragcore.types import CancelToken

_AT_ONCE = 48  # prompts that a GPU answers together


def answer_examples(
    model: Any,
    tokenizer: Any,
    examples: Sequence[GroundedExample],
    *,
    max_tokens: int = 48,
    cancel: CancelToken | None = None,
) -> list[str]:
    """What the model answers to each example, greedily."""
    parts = [split_prompt(tokenizer, assemble(e.question, e.sources)) for e in examples]
    prompts = [
        [i for part in pair for i in tokenizer(part, add_special_tokens=False)["input_ids"]]
        for pair in parts
    ]
    results: dict[int, str] = {}
    for rows in _batches(prompts, examples, _AT_ONCE if model.device.type == "cuda" else 0):
        shared = _shared([prompts[row][:-1] for row in rows])
        found = generate_branches(
            model,
            prompts[rows[0]][:shared],
            [prompts[row][shared:] for row in rows],
            max_tokens=max_tokens,
            eos=tokenizer.eos_token_id,
            cancel=cancel,
        )
        for row, g in zip(rows, found, strict=True):
            results[row] = tokenizer.decode(g.tokens).strip()
    return [results[row] for row in range(len(examples))]


def _shared(prompts: list[list[int]]) -> int:
    """How many tokens all prompts begin with."""
    first, last = min(prompts), max(prompts)
    return next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b),
                min(len(first), len(last)))  # fmt: skip


def _batches(
    prompts: list[list[int]], examples: Sequence[GroundedExample], most: int
) -> Iterator[list[int]]:
    """Rows that are answered together: `most` of like length, or (0) those with one prefix."""
    if most:
        order = sorted(range(len(prompts)), key=lambda row: len(prompts[row]))
        for start in range(0, len(order), most):
            yield order[start : start + most]
        return
    rows: list[int] = []
    for row, example in enumerate(examples):
        if rows and examples[rows[-1]].sources != example.sources:
            yield rows
            rows = []
        rows.append(row)
    if rows:
        yield rows


def score_examples(
    model: Any,
    tokenizer: Any,
    examples: Sequence[GroundedExample],
    *,
    cancel: CancelToken | None = None,
) -> dict[str, float]:
    """em, f1 and cited over answerable examples, and both rates of declining, in [0, 1]."""
    answers = answer_examples(model, tokenizer, examples, cancel=cancel)
    return summarise(examples, answers)


def summarise(examples: Sequence[GroundedExample], answers: Sequence[str]) -> dict[str, float]:
    """Means over the examples that each score is defined for; 0.0 where there are none."""
    rows: dict[str, list[float]] = {
        name: [] for name in ("em", "f1", "cited", "declined_unanswerable", "declined_answerable")
    }
    for example, answer in zip(examples, answers, strict=True):
        declined = answer.startswith(ABSTENTION.rstrip("."))
        if not example.answers:
            rows["declined_unanswerable"].append(declined)
            continue
        text = "" if declined else without_citations(answer)
        rows["declined_answerable"].append(declined)
        rows["em"].append(exact_match(text, example.answers))
        rows["f1"].append(token_f1(text, example.answers))
        rows["cited"].append(bool(set(cited(answer)) & set(example.gold)))
    return {k: round(sum(v) / len(v), 4) if v else 0.0 for k, v in rows.items()}
