"""Reranking with any sentence-transformers cross-encoder."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ragcore.encoders.options import load_local, reject_unknown, valid_text
from ragcore.errors import ModelUnavailable
from ragcore.models import ModelMemory, Weights, folder_bytes

if TYPE_CHECKING:
    from ragcore.models import Placement
    from ragcore.types import FloatArray


class CrossEncoderReranker:
    """A `Reranker` over a cross-encoder's folder with one output, its relevance logit.

    Options: `batch_size` (pairs at once, 32), `max_tokens` (a limit lower than the model's).
    Safe to use from several threads, which then take turns.
    """

    OPTIONS = frozenset({"batch_size", "max_tokens"})

    def __init__(
        self,
        folder: Path,
        *,
        name: str,
        placement: Placement,
        options: Mapping[str, Any] | None = None,
        memory: ModelMemory | None = None,
    ) -> None:
        options = dict(options or {})
        reject_unknown(name, options, self.OPTIONS)
        self._folder = folder
        self._name = name
        self._placement = placement
        self._batch_size = int(options.get("batch_size", 32))
        self._max_tokens: int | None = options.get("max_tokens")
        self._lock = threading.Lock()
        self.weights: Weights[Any] = (memory or ModelMemory()).weights(
            self._load,
            part="reranker",
            name=name,
            device=placement.device,
            precision=placement.precision,
            size=lambda: folder_bytes(folder, placement.dtype.itemsize),
        )

    def warm_up(self) -> None:
        """Load the weights. Raises ModelUnavailable if the folder is no such model."""
        with self.weights.lease():
            pass

    def scores(self, query: str, passages: Sequence[str]) -> FloatArray:
        """Return float32 [n], higher is more relevant: the model's logits."""
        import numpy as np
        import torch

        if not passages:
            return np.zeros(0, dtype=np.float32)
        with self.weights.lease() as model, self._lock:
            logits = model.predict(
                [(valid_text(query), valid_text(passage)) for passage in passages],
                batch_size=self._batch_size,
                show_progress_bar=False,
                activation_fn=torch.nn.Identity(),
                convert_to_numpy=False,
                convert_to_tensor=True,
            )
        return np.asarray(logits.float().cpu().numpy(), dtype=np.float32).reshape(len(passages))

    def _load(self) -> Any:
        from sentence_transformers import CrossEncoder

        model = load_local(
            CrossEncoder, self._folder, self._placement,
            name=self._name, what="cross-encoder", max_length=self._max_tokens,
        )  # fmt: skip
        if model.num_labels != 1:
            raise ModelUnavailable(
                f"{self._name}: a reranker has one output, this cross-encoder has "
                f"{model.num_labels}"
            )
        model.eval()
        return model
