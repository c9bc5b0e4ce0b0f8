"""Texts to vectors with any sentence-transformers model."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ragcore.encoders.options import first_line, reject_unknown, space_name, valid_text
from ragcore.errors import ModelUnavailable, UsageError
from ragcore.models import ModelMemory, Space, TextKind, Weights, folder_bytes

if TYPE_CHECKING:
    import torch

    from ragcore.models.device import Placement
    from ragcore.types import FloatArray

# Padded tokens in one batch. A CPU wants activations that stay in its caches.
_BATCH_TOKENS = {"cpu": 2048, "cuda": 65536}
_NO_LIMIT = 1 << 20  # tokens; models that read texts of any length say a number above this
_CHARACTERS_A_TOKEN = 4  # estimate where the tokenizer cannot count cheaply


class SentenceTransformerEncoder:
    """A `TextEncoder` over a sentence-transformers folder.

    `name` and `revision` make the space's name. Prompts come from the model unless `options`
    gives them. Vectors are normalized in float32 whatever the model's precision; texts longer
    than the model takes are cut as the model says. Safe to use from several threads.

    Options: `query_prompt`, `passage_prompt` (text put in front), `max_tokens` (a limit lower
    than the model's), `batch_tokens` (padded tokens in one batch).
    """

    OPTIONS = frozenset({"query_prompt", "passage_prompt", "max_tokens", "batch_tokens"})

    def __init__(
        self,
        folder: Path,
        *,
        name: str,
        revision: str,
        placement: Placement,
        options: Mapping[str, Any] | None = None,
        memory: ModelMemory | None = None,
    ) -> None:
        options = dict(options or {})
        reject_unknown(name, options, self.OPTIONS)
        self._folder = folder
        self._name = name
        self._placement = placement
        self._prompts = {kind: options.get(f"{kind}_prompt") for kind in ("query", "passage")}
        self._max_tokens: int | None = options.get("max_tokens")
        self._budget = int(options.get("batch_tokens") or _BATCH_TOKENS[placement.device])
        if self._budget < 1:
            raise UsageError(f"{name}: batch_tokens must be at least 1")
        options.pop("batch_tokens", None)
        self._space_name = space_name(name, revision, options)
        self._space: Space | None = None
        self._tokenizing = threading.Lock()  # fast tokenizers refuse to be used by two threads
        self.weights: Weights[Any] = (memory or ModelMemory()).weights(
            self._load,
            part="text_encoder",
            name=name,
            device=placement.device,
            precision=placement.precision,
            size=lambda: folder_bytes(folder, placement.dtype.itemsize),
        )

    @property
    def space(self) -> Space:
        """The space of these vectors. Loads the model the first time, to know its dimension."""
        if self._space is None:
            self.warm_up()
        assert self._space is not None
        return self._space

    def warm_up(self) -> None:
        """Load the weights. Raises ModelUnavailable if the folder is not such a model."""
        with self.weights.lease() as model:
            if self._space is None:
                dimension = int(model.get_embedding_dimension() or 0)
                if not dimension:
                    dimension = int(self._forward(model, ["a"], "passage").shape[1])
                self._space = Space(self._space_name, "text", dimension)

    def encode(self, texts: Sequence[str], kind: TextKind = "passage") -> FloatArray:
        """Return float32 [n, d], L2-normalized, in the order given."""
        import numpy as np

        if isinstance(texts, str):
            raise UsageError("encode takes a list of texts, not one text")
        dimension = self.space.dimension
        texts = [valid_text(text) for text in texts]
        vectors = np.empty((len(texts), dimension), dtype=np.float32)
        with self.weights.lease() as model:
            for batch in self._batches(model, texts):
                chosen = [texts[i] for i in batch]
                vectors[batch] = self._forward(model, chosen, kind).numpy()
        return vectors

    def token_limit(self) -> int:
        """Tokens that the model reads, as its folder or the option `max_tokens` says."""
        with self.weights.lease() as model:
            limit = model.max_seq_length
        return int(limit) if limit and limit < _NO_LIMIT else 0

    def count_tokens(self, text: str) -> int:
        """Tokens of a text, however long; an estimate where the tokenizer cannot count."""
        with self.weights.lease() as model:
            backend = getattr(getattr(model, "tokenizer", None), "backend_tokenizer", None)
            if backend is None:
                return len(text) // _CHARACTERS_A_TOKEN
            with self._tokenizing:
                backend.no_padding()
                backend.no_truncation()
                return len(backend.encode(valid_text(text), add_special_tokens=False).ids)

    def _load(self) -> Any:
        import torch
        from sentence_transformers import SentenceTransformer
        from transformers.utils import logging

        logging.disable_progress_bar()
        try:
            model = SentenceTransformer(
                str(self._folder),
                device=self._placement.device,
                local_files_only=True,
                trust_remote_code=False,
                model_kwargs={"dtype": self._placement.dtype, "use_safetensors": True},
            )
        except (OSError, ValueError, KeyError, ImportError) as error:
            raise ModelUnavailable(
                f"{self._name}: {self._folder} cannot be loaded as a sentence-transformers model "
                f"({first_line(error)})"
            ) from error
        model.eval().requires_grad_(False)
        if self._max_tokens:
            model.max_seq_length = min(self._max_tokens, model.max_seq_length or self._max_tokens)
        if self._placement.dtype != torch.float32:
            # The transformer keeps its precision; pooling and what follows run in float32.
            for module in list(model)[1:]:
                module.float()
            model[0].register_forward_hook(_widen)
        return model

    def _batches(self, model: Any, texts: Sequence[str]) -> Iterator[list[int]]:
        """Positions of texts of like length, longest first, within the padded-token budget."""
        lengths = self._lengths(model, texts)
        order = sorted(range(len(texts)), key=lengths.__getitem__, reverse=True)
        start = 0
        while start < len(order):
            size = max(1, self._budget // max(1, lengths[order[start]]))
            yield order[start : start + size]
            start += size

    def _lengths(self, model: Any, texts: Sequence[str]) -> list[int]:
        """Tokens of each text as the model will see it (an estimate without a fast tokenizer)."""
        limit = model.max_seq_length or 1 << 30
        if len(texts) == 1:
            return [1]
        backend = getattr(getattr(model, "tokenizer", None), "backend_tokenizer", None)
        if backend is None:
            return [min(limit, 1 + len(text) // _CHARACTERS_A_TOKEN) for text in texts]
        with self._tokenizing:
            backend.no_padding()
            return [min(limit, len(e.ids)) for e in backend.encode_batch_fast(list(texts))]

    def _forward(self, model: Any, texts: list[str], kind: TextKind) -> torch.Tensor:
        """Vectors [n, d] of one batch, float32 on the CPU."""
        import torch

        prompt = self._prompt(model, kind)
        task = "query" if kind == "query" else "document"
        with torch.inference_mode():
            with self._tokenizing:
                features = model.preprocess(texts, prompt=prompt, task=task)
            features = {
                key: value.to(model.device) if isinstance(value, torch.Tensor) else value
                for key, value in features.items()
            }
            output = model(features, task=task)["sentence_embedding"].float()
            return torch.nn.functional.normalize(output, dim=1).cpu()

    def _prompt(self, model: Any, kind: TextKind) -> str | None:
        """The text to put in front: from the options, else the model's own."""
        given: str | None = self._prompts[kind]
        if given is not None:
            return given
        names = ("query",) if kind == "query" else ("document", "passage", "corpus")
        prompts: Mapping[str, str] = getattr(model, "prompts", None) or {}
        found = next((prompts[name] for name in names if prompts.get(name)), None)
        return found or prompts.get(getattr(model, "default_prompt_name", None) or "") or None


def _widen(module: Any, inputs: Any, output: dict[str, Any]) -> dict[str, Any]:
    """Forward hook: floating tensors of a transformer's output to float32."""
    import torch

    return {
        key: value.float()
        if isinstance(value, torch.Tensor) and value.is_floating_point()
        else value
        for key, value in output.items()
    }
