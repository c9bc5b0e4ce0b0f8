"""The same question about many images at once: one batch, greedy or by beam search."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

    from ragcore.types import CancelToken


def embed_prompt(
    model: Any, before: Sequence[int], cells: torch.Tensor, after: Sequence[int]
) -> torch.Tensor:
    """Input embeddings [n, t, width] of a prompt around n images' projected cells.

    With cells [n, 0, width] it is the prompt without an image.
    """
    import torch

    table = model.get_input_embeddings()
    device = table.weight.device
    first, last = (
        table(torch.tensor([list(ids)], dtype=torch.long, device=device)).expand(len(cells), -1, -1)
        for ids in (before, after)
    )
    return torch.cat([first, cells.to(first), last], 1)


def answer_batch(
    model: Any,
    tokenizer: Any,
    prompt: torch.Tensor,
    *,
    beams: int = 1,
    max_tokens: int = 40,
    cancel: CancelToken | None = None,
) -> list[str]:
    """One answer a row of `prompt` [n, t, width]. A cancelled batch ends with what it has."""
    import torch
    from transformers import StoppingCriteriaList

    def stop(ids: torch.Tensor, _scores: Any, **_: Any) -> torch.Tensor:
        now = cancel is not None and cancel.cancelled
        return torch.full((len(ids),), now, device=ids.device, dtype=torch.bool)

    ends = model.generation_config.eos_token_id
    ends = [*(ends if isinstance(ends, list) else [ends]), tokenizer.eos_token_id]
    ends = sorted({int(end) for end in ends if end is not None})
    with torch.inference_mode():
        found = model.generate(
            inputs_embeds=prompt,
            attention_mask=torch.ones(prompt.shape[:2], dtype=torch.long, device=prompt.device),
            do_sample=False,
            num_beams=beams,
            max_new_tokens=max_tokens,
            eos_token_id=ends,
            pad_token_id=ends[0],
            stopping_criteria=StoppingCriteriaList([stop]),
            temperature=None,
            top_p=None,
            top_k=None,
        )
    return [text.strip() for text in tokenizer.batch_decode(found, skip_special_tokens=True)]
