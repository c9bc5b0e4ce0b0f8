"""Texts to vectors with any sentence-transformers model."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ragcore.encoders.bert import Bert
from ragcore.encoders.options import load_local, reject_unknown, space_name, valid_text
from ragcore.encoders.quick_text import QuickText, are_few, find_quick_text
from ragcore.errors import UsageError
from ragcore.models import ModelMemory, Space, TextKind, Weights, folder_bytes

if TYPE_CHECKING:
    import torch

    from ragcore.models import Placement
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

    With `quick`, a few texts are encoded without torch while the model is not loaded, where the
    folder allows it (see `quick_text`): same space, and the same vectors up to rounding.
    `placement` is asked for when the model loads.

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
        placement: Placement | Callable[[], Placement],
        options: Mapping[str, Any] | None = None,
        memory: ModelMemory | None = None,
        quick: bool = False,
    ) -> None:
        options = dict(options or {})
        reject_unknown(name, options, self.OPTIONS)
        self._folder = folder
        self._name = name
        self._place = placement
        self._prompts = {kind: options.get(f"{kind}_prompt") for kind in ("query", "passage")}
        self._max_tokens: int | None = options.get("max_tokens")
        self._batch_tokens = int(options.pop("batch_tokens", None) or 0)
        if self._batch_tokens < 0:
            raise UsageError(f"{name}: batch_tokens must be at least 1")
        self._space_name = space_name(name, revision, options)
        self._space: Space | None = None
        self._tokenizing = threading.Lock()  # fast tokenizers refuse to be used by two threads
        memory = memory or ModelMemory()
        self.weights: Weights[Any] = memory.weights(
            self._load,
            part="text_encoder",
            name=name,
            device=lambda: self._placement.device,
            size=lambda: folder_bytes(folder, self._placement.dtype.itemsize),
        )
        self._quick = find_quick_text(folder, self._max_tokens) if quick else None
        self._quick_weights: Weights[Bert] = memory.weights(
            self._load_quick,
            part="text_encoder",
            name=name,
            precision="float32 (numpy)",
            size=lambda: folder_bytes(folder),
            measure=lambda bert: bert.bytes,
        )

    @cached_property
    def _placement(self) -> Placement:
        return self._place() if callable(self._place) else self._place

    @property
    def space(self) -> Space:
        """The space of these vectors.

        Loads the model the first time, to know its dimension, unless its folder says it.
        """
        if self._space is None and self._quick is not None:
            self._space = Space(self._space_name, "text", self._quick.dimension)
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
        if self._quick is not None and not self.weights.loaded and are_few(texts):
            return self._encode_quickly(self._quick, texts, kind)
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

    def _encode_quickly(self, quick: QuickText, texts: Sequence[str], kind: TextKind) -> FloatArray:
        prompt = self._prompt(quick.prompts, quick.default_prompt, kind) or ""
        with self._quick_weights.lease() as bert:
            return quick.encode(bert, [prompt + text for text in texts])

    def _load_quick(self) -> Bert:
        assert self._quick is not None
        return self._quick.load()

    def _load(self) -> Any:
        self._quick_weights.unload()  # their work is done from here on
        self.weights.precision = self._placement.precision
        import torch
        from sentence_transformers import SentenceTransformer

        model = load_local(
            SentenceTransformer, self._folder, self._placement,
            name=self._name, what="sentence-transformers model",
        )  # fmt: skip
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
        budget = self._batch_tokens or _BATCH_TOKENS[self._placement.device]
        lengths = self._lengths(model, texts)
        order = sorted(range(len(texts)), key=lengths.__getitem__, reverse=True)
        start = 0
        while start < len(order):
            size = max(1, budget // max(1, lengths[order[start]]))
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

        prompts = getattr(model, "prompts", None) or {}
        prompt = self._prompt(prompts, getattr(model, "default_prompt_name", None), kind)
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

    def _prompt(
        self, prompts: Mapping[str, str], default: str | None, kind: TextKind
    ) -> str | None:
        """The text to put in front: from the options, else the model's own."""
        given: str | None = self._prompts[kind]
        if given is not None:
            return given
        names = ("query",) if kind == "query" else ("document", "passage", "corpus")
        found = next((prompts[name] for name in names if prompts.get(name)), None)
        return found or prompts.get(default or "") or None


def _widen(module: Any, inputs: Any, output: dict[str, Any]) -> dict[str, Any]:
    """Forward hook: floating tensors of a transformer's output to float32."""
    import torch

    return {
        key: value.float()
        if isinstance(value, torch.Tensor) and value.is_floating_point()
        else value
        for key, value in output.items()
    }
