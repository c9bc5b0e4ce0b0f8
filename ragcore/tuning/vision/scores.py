"""Dev scores during a projector's training: captions against people's, and made questions."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ragcore.datasets import Captioned, CaptionQuestion, caption_bleu, make_questions
from ragcore.llm import answer_batch, embed_prompt
from ragcore.tuning.vision.packing import TreeBatch, TreeMaker, to_batch

if TYPE_CHECKING:
    import torch

    from ragcore.types import CancelToken


def score_images(
    model: Any,
    maker: TreeMaker,
    items: Sequence[Captioned],
    cells: torch.Tensor,
    caption_question: str,
    *,
    cancel: CancelToken | None = None,
) -> dict[str, float]:
    """bleu4 of greedy captions.

    Yes_no, count, color and what: shares of made questions whose answer is the likeliest;
    other_yes_no: the same with the next image's cells. In [0, 1].

    `cells` [n, cells, width] are projected. Only kinds with a question are there.
    """
    before, after = maker.prompt(caption_question)
    captions = []
    for start in range(0, len(items), 32):
        prompt = embed_prompt(model, before, cells[start : start + 32], after)
        captions += answer_batch(model, maker.tokenizer, prompt, max_tokens=24, cancel=cancel)
    scores = {"bleu4": caption_bleu(captions, [item.captions for item in items])}
    asked = [make_questions(item.captions, random.Random(row)) for row, item in enumerate(items)]
    scores |= _right(model, maker, asked, cells)
    other = _right(model, maker, asked, cells.roll(1, 0))
    if "yes_no" in other:
        scores["other_yes_no"] = other["yes_no"]
    return {name: round(value, 4) for name, value in scores.items()}


def _right(
    model: Any, maker: TreeMaker, asked: Sequence[Sequence[CaptionQuestion]], cells: torch.Tensor
) -> dict[str, float]:
    """Share of answers of each kind all of whose tokens are the likeliest."""
    marks: dict[str, list[bool]] = {}
    for start in range(0, len(asked), 16):
        rows = [row for row in range(start, min(start + 16, len(asked))) if asked[row]]
        if not rows:
            continue
        trees = [maker.make([(q.text, [q.answer]) for q in asked[row]]) for row in rows]
        batch = to_batch(trees, device=cells.device, dtype=model.dtype)
        found = tree_logits(model, batch, cells[rows]).argmax(-1) == batch.targets
        place = 0
        for row, tree in zip(rows, trees, strict=True):
            for question, (_, (answer,)) in zip(asked[row], tree.branches, strict=True):
                kind = question.kind.replace("is-there", "yes_no")
                marks.setdefault(kind, []).append(bool(found[place : place + len(answer)].all()))
                place += len(answer)
    return {kind: sum(several) / len(several) for kind, several in marks.items()}


def tree_logits(model: Any, batch: TreeBatch, cells: torch.Tensor) -> torch.Tensor:
    """Logits [m, vocabulary] at a batch's places to learn, given projected cells."""
    import torch

    embedded = model.get_input_embeddings()(batch.ids)
    first, last = batch.first_cell, batch.first_cell + cells.shape[1]
    parts = (embedded[:, :first], cells.to(embedded), embedded[:, last:])
    # the inner model gives hidden states; only places that predict an answer's token go
    # through the output layer, a fifth of a small model's work
    outer = model.get_base_model() if hasattr(model, "get_base_model") else model
    hidden = outer.base_model(
        inputs_embeds=torch.cat(parts, 1),
        position_ids=batch.positions,
        attention_mask=batch.mask,
        use_cache=False,
    ).last_hidden_state
    logits: torch.Tensor = outer.get_output_embeddings()(hidden.flatten(0, 1)[batch.keep])
    return logits
