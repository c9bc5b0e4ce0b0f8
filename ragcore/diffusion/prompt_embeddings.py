"""Prompt embeddings: the token states that a denoiser's cross-attention reads."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ragcore.errors import ModelUnavailable

if TYPE_CHECKING:
    from torch import Tensor

TOKENS = 24  # of every text: shorter ones are filled up, longer ones cut


@dataclass(frozen=True, slots=True)
class PromptEmbeddings:
    """What a denoiser is conditioned on, one row for each image.

    `states` are token states [n, tokens, width]; `means` [n, width] goes in beside the time;
    `added` are Stable Diffusion XL's further inputs, by name.
    """

    states: Tensor
    means: Tensor | None = None
    added: Mapping[str, Tensor] = field(default_factory=dict)

    def repeated(self, row: int, count: int) -> PromptEmbeddings:
        """One row, `count` times."""

        def rows(values: Tensor) -> Tensor:
            return values[row : row + 1].expand(count, *values.shape[1:])

        means = None if self.means is None else rows(self.means)
        return PromptEmbeddings(
            rows(self.states), means, {k: rows(v) for k, v in self.added.items()}
        )

    def inputs(self) -> dict[str, Any]:
        """As arguments of a denoiser or a ControlNet."""
        given: dict[str, Any] = {"encoder_hidden_states": self.states}
        if self.means is not None:
            given["class_labels"] = self.means
        if self.added:
            given["added_cond_kwargs"] = dict(self.added)
        return given


class TokenStates:
    """The text encoder of a folder in transformers' layout, for its last layer's token states.

    Safe to use from several threads. Raises ModelUnavailable if the folder has no such model.
    """

    def __init__(self, folder: Path, *, device: str = "cpu") -> None:
        from transformers import AutoModel, AutoTokenizer
        from transformers.utils import logging

        logging.disable_progress_bar()
        try:
            self._tokenizer: Any = AutoTokenizer.from_pretrained(
                folder, local_files_only=True, trust_remote_code=False
            )
            self._model: Any = AutoModel.from_pretrained(
                folder, local_files_only=True, trust_remote_code=False, use_safetensors=True
            )
        except (OSError, ValueError) as error:
            raise ModelUnavailable(f"{folder} holds no text encoder with a tokenizer") from error
        self._model.to(device).float().eval().requires_grad_(False)
        self._device = device
        self._lock = threading.Lock()

    @property
    def width(self) -> int:
        return int(self._model.config.hidden_size)

    def memory(self) -> int:
        """Bytes of the weights."""
        return sum(p.numel() * p.element_size() for p in self._model.parameters())

    def __call__(self, texts: Sequence[str]) -> PromptEmbeddings:
        """Embeddings of some texts, in their order."""
        import torch

        with self._lock:  # fast tokenizers refuse to be used by two threads
            tokens = self._tokenizer(
                list(texts),
                padding="longest",
                truncation=True,
                max_length=TOKENS,
                return_tensors="pt",
            ).to(self._device)
        with torch.no_grad():
            states = self._model(**tokens).last_hidden_state.float()
        return as_embeddings(states, tokens["attention_mask"])


def as_embeddings(states: Tensor, mask: Tensor) -> PromptEmbeddings:
    """Normalize raw token states [n, tokens, width], take their means over the mask, fill up.

    States are layer-normalized, means scaled to length sqrt(width), so that both have about
    unit variance whatever the text encoder. What fills up short texts is zero: there is no
    mask, since diffusers' ControlNetModel takes none.
    """
    from torch.nn import functional

    width = states.shape[-1]
    states = functional.layer_norm(states, (width,)) * mask[..., None]
    means = states.sum(dim=1) / mask.sum(dim=1, keepdim=True).clamp_min(1)
    filled = functional.pad(states, (0, 0, 0, TOKENS - states.shape[1]))
    return PromptEmbeddings(filled, functional.normalize(means, dim=-1) * width**0.5)


def joined(first: PromptEmbeddings, second: PromptEmbeddings) -> PromptEmbeddings:
    """The rows of both, one after the other."""
    import torch

    means = None
    if first.means is not None and second.means is not None:
        means = torch.cat([first.means, second.means])
    added = {name: torch.cat([rows, second.added[name]]) for name, rows in first.added.items()}
    return PromptEmbeddings(torch.cat([first.states, second.states]), means, added)
