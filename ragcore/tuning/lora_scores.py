"""Dev scores during a LoRA run: greedy answers, a prompt shared by its questions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ragcore.answers.prompt import ABSTENTION, assemble
from ragcore.evals.qa_scores import cited, exact_match, token_f1, without_citations
from ragcore.llm.batch import generate_branches
from ragcore.tuning.lora_packing import Example, grouped, split_prompt
from ragcore.types import CancelToken


def answer_examples(
    model: Any,
    tokenizer: Any,
    examples: Sequence[Example],
    *,
    max_tokens: int = 40,
    cancel: CancelToken | None = None,
) -> list[tuple[str, float]]:
    """(answer, probability that it begins as an abstention does) for each example."""
    abstains = tokenizer(ABSTENTION, add_special_tokens=False)["input_ids"][0]
    results: list[tuple[str, float]] = []
    for group in grouped(examples):
        parts = [split_prompt(tokenizer, assemble(e.question, e.sources)) for e in group]
        ids = [tokenizer(tail, add_special_tokens=False)["input_ids"] for _, tail in parts]
        prefix = tokenizer(parts[0][0], add_special_tokens=False)["input_ids"]
        found = generate_branches(
            model,
            prefix,
            ids,
            max_tokens=max_tokens,
            eos=tokenizer.eos_token_id,
            watch=[abstains],
            cancel=cancel,
        )
        results += [(tokenizer.decode(g.tokens).strip(), g.first[0]) for g in found]
    return results


def score_examples(
    model: Any,
    tokenizer: Any,
    examples: Sequence[Example],
    *,
    cancel: CancelToken | None = None,
) -> dict[str, float]:
    """em, f1 and cited over answerable examples, and both rates of declining, in [0, 1]."""
    implementation = model.config._attn_implementation
    model.set_attn_implementation("sdpa")
    try:
        answers = answer_examples(model, tokenizer, examples, cancel=cancel)
    finally:
        model.set_attn_implementation(implementation)
    return summarise(examples, [text for text, _ in answers])


def summarise(examples: Sequence[Example], answers: Sequence[str]) -> dict[str, float]:
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
