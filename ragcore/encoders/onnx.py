"""Encoders and rerankers stored as ONNX: a folder with model.onnx and tokenizer.json."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ragcore.encoders.options import first_line, reject_unknown, space_name, valid_text
from ragcore.errors import ModelUnavailable, UsageError
from ragcore.models import ModelMemory, Space, TextKind, Weights, folder_bytes

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ragcore.types import FloatArray

_DEFAULT_TOKENS = 512
_BATCH_TOKENS = 2048


class OnnxTextEncoder:
    """A `TextEncoder` over an ONNX export of a BERT-like model, on the CPU.

    Options: `pooling` ("mean" or "cls"), `query_prompt`, `passage_prompt`, `max_tokens`.
    """

    OPTIONS = frozenset({"pooling", "query_prompt", "passage_prompt", "max_tokens"})

    def __init__(
        self,
        folder: Path,
        *,
        name: str,
        revision: str,
        threads: int = 0,
        options: Mapping[str, Any] | None = None,
        memory: ModelMemory | None = None,
    ) -> None:
        options = dict(options or {})
        reject_unknown(name, options, self.OPTIONS)
        self._pooling = options.get("pooling", "mean")
        if self._pooling not in ("mean", "cls"):
            raise UsageError(f"{name}: pooling is mean or cls, not {self._pooling!r}")
        self._prompts = {kind: options.get(f"{kind}_prompt", "") for kind in ("query", "passage")}
        limit = int(options.get("max_tokens", _DEFAULT_TOKENS))
        self._network = _Network(
            folder, part="text_encoder", name=name, threads=threads, max_tokens=limit, memory=memory
        )
        self.weights = self._network.weights
        self._space_name = space_name(name, revision, options)
        self._space: Space | None = None

    @property
    def space(self) -> Space:
        """The space of these vectors. Loads the model the first time, to know its dimension."""
        if self._space is None:
            dimension = int(self._embed(["a"]).shape[1])
            self._space = Space(self._space_name, "text", dimension)
        return self._space

    def warm_up(self) -> None:
        with self.weights.lease():
            pass

    def encode(self, texts: Sequence[str], kind: TextKind = "passage") -> FloatArray:
        """Return float32 [n, d], L2-normalized, in the order given."""
        import numpy as np

        if isinstance(texts, str):
            raise UsageError("encode takes a list of texts, not one text")
        vectors = np.empty((len(texts), self.space.dimension), dtype=np.float32)
        prompted = [self._prompts[kind] + valid_text(text) for text in texts]
        order = sorted(range(len(texts)), key=lambda i: len(prompted[i]), reverse=True)
        start = 0
        while start < len(order):
            # four characters a token is an estimate; it only decides the size of a batch
            longest = 2 + min(self._network.max_tokens, len(prompted[order[start]]) // 4)
            batch = order[start : start + max(1, _BATCH_TOKENS // longest)]
            vectors[batch] = self._embed([prompted[i] for i in batch])
            start += len(batch)
        return vectors

    def token_limit(self) -> int:
        """Tokens that the model reads: the option `max_tokens`, else 512."""
        return self._network.max_tokens

    def count_tokens(self, text: str) -> int:
        """Tokens of a text, however long."""
        return self._network.count_tokens(valid_text(text))

    def _embed(self, texts: list[str]) -> FloatArray:
        import numpy as np

        states, mask = self._network.run(texts)
        if states.ndim == 2:  # the export pools itself
            pooled = states
        elif self._pooling == "cls":
            pooled = states[:, 0]
        else:
            weights = mask[:, :, None].astype(np.float32)
            pooled = (states * weights).sum(axis=1) / weights.sum(axis=1)
        norms = np.linalg.norm(pooled, axis=1, keepdims=True)
        return np.asarray(pooled / np.maximum(norms, 1e-12), dtype=np.float32)


class OnnxReranker:
    """A `Reranker` over an ONNX cross-encoder with one output, on the CPU.

    Options: `batch_size` (pairs at once, 16), `max_tokens`.
    """

    OPTIONS = frozenset({"batch_size", "max_tokens"})

    def __init__(
        self,
        folder: Path,
        *,
        name: str,
        threads: int = 0,
        options: Mapping[str, Any] | None = None,
        memory: ModelMemory | None = None,
    ) -> None:
        options = dict(options or {})
        reject_unknown(name, options, self.OPTIONS)
        self._batch_size = int(options.get("batch_size", 16))
        limit = int(options.get("max_tokens", _DEFAULT_TOKENS))
        self._network = _Network(
            folder, part="reranker", name=name, threads=threads, max_tokens=limit, memory=memory
        )
        self.weights = self._network.weights

    def warm_up(self) -> None:
        with self.weights.lease():
            pass

    def scores(self, query: str, passages: Sequence[str]) -> FloatArray:
        """Return float32 [n], higher is more relevant: the model's logits."""
        import numpy as np

        scores = np.empty(len(passages), dtype=np.float32)
        order = sorted(range(len(passages)), key=lambda i: len(passages[i]), reverse=True)
        for start in range(0, len(order), self._batch_size):
            batch = order[start : start + self._batch_size]
            logits, _ = self._network.run(
                [(valid_text(query), valid_text(passages[i])) for i in batch]
            )
            scores[batch] = logits.reshape(len(batch))
        return scores


class _Network:
    """An ONNX session with its tokenizer, loaded when first used."""

    def __init__(
        self,
        folder: Path,
        *,
        part: str,
        name: str,
        threads: int,
        max_tokens: int,
        memory: ModelMemory | None,
    ) -> None:
        self.max_tokens = max_tokens
        self._folder = folder
        self._name = name
        self._threads = threads
        self.weights: Weights[tuple[Any, Any]] = (memory or ModelMemory()).weights(
            self._load,
            part=part,
            name=name,
            precision="onnx",
            size=lambda: folder_bytes(folder),
            measure=lambda _: (folder / "model.onnx").stat().st_size,
        )

    def _load(self) -> tuple[Any, Any]:
        """Session and tokenizer. Raises ModelUnavailable if the folder holds no such model."""
        import onnxruntime
        from tokenizers import Tokenizer

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self._threads
        # Threads that wait sleep: spinning ones would take the time of other work.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            tokenizer = Tokenizer.from_file(str(self._folder / "tokenizer.json"))
            tokenizer.enable_truncation(self.max_tokens)
            tokenizer.enable_padding()
            session = onnxruntime.InferenceSession(
                str(self._folder / "model.onnx"), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # both libraries raise bare exceptions of their own
            raise ModelUnavailable(
                f"{self._name}: {self._folder} cannot be loaded as an ONNX model "
                f"({first_line(error)})"
            ) from error
        return session, tokenizer

    def count_tokens(self, text: str) -> int:
        with self.weights.lease() as (_, tokenizer):
            encoding = tokenizer.encode(text, add_special_tokens=False)
            return len(encoding.ids) + sum(len(part.ids) for part in encoding.overflowing)

    def run(
        self, texts: Sequence[str] | Sequence[tuple[str, str]]
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """The first output of the network, and the attention mask [n, tokens]."""
        import numpy as np

        with self.weights.lease() as (session, tokenizer):
            encodings = tokenizer.encode_batch(list(texts))
            mask = np.array([e.attention_mask for e in encodings], dtype=np.int64)
            inputs = {
                "input_ids": np.array([e.ids for e in encodings], dtype=np.int64),
                "attention_mask": mask,
                "token_type_ids": np.array([e.type_ids for e in encodings], dtype=np.int64),
            }
            wanted = {node.name for node in session.get_inputs()}
            feed = {name: value for name, value in inputs.items() if name in wanted}
            return session.run(None, feed)[0], mask
