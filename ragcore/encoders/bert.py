"""A small BERT in NumPy: vectors of a few texts in a fraction of a second after the start.

A query has some ten tokens. Importing torch and building the same network there takes seconds,
and an ONNX file would have to be exported by torch first and stored as a second copy of the
weights. This reads the model's own safetensors; the vectors differ from torch's in float32 by
rounding alone. Many or long texts are torch's work: it is several times faster there.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ragcore.types import FloatArray

_BATCH_TOKENS = 1024  # padded tokens in one batch: activations that stay in the caches
_LARGEST = 200 << 20  # bytes of weights; with more of them torch is worth its start
_SCALE = ".scale"  # of a matrix in 8 bits: one number a row
_MASKED = -1e9  # added to the attention of padding
# Of Abramowitz and Stegun 7.1.26: the error function within 1.5e-7.
_ERF_SLOPE = 0.3275911
_ERF = (1.061405429, -1.453152027, 1.421413741, -0.284496736, 0.254829592)


class _Tensors(dict[str, "FloatArray"]):
    """A model's tensors by name."""


# Encoders of one folder share its tensors: starter-clip reads texts with the text encoder's.
_loaded: WeakValueDictionary[Path, _Tensors] = WeakValueDictionary()


class Bert:
    """The encoder of a transformers folder with `model_type` "bert", on the CPU in float32.

    Texts are cut after `max_tokens`. Safe to use from several threads.
    """

    def __init__(self, folder: Path, *, max_tokens: int) -> None:
        from tokenizers import Tokenizer

        config = json.loads((folder / "config.json").read_text("utf-8"))
        self._heads = int(config["num_attention_heads"])
        self._epsilon = float(config["layer_norm_eps"])
        self._weights = _tensors(folder / "model.safetensors")
        self._layers = [f"encoder.layer.{i}." for i in range(int(config["num_hidden_layers"]))]
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(max_tokens)

    @staticmethod
    def can_read(folder: Path) -> bool:
        """Whether the folder holds such a model, small enough to be worth it."""
        files = [folder / name for name in ("config.json", "tokenizer.json", "model.safetensors")]
        if not all(file.is_file() for file in files) or files[-1].stat().st_size > _LARGEST:
            return False
        config: dict[str, Any] = json.loads(files[0].read_text("utf-8"))
        return (
            config.get("model_type") == "bert"
            and config.get("hidden_act") == "gelu"
            and config.get("position_embedding_type", "absolute") == "absolute"
            and not config.get("is_decoder", False)
            and _in_float32(files[-1])
        )

    @property
    def bytes(self) -> int:
        """Of the weights in memory."""
        return sum(int(tensor.nbytes) for tensor in self._weights.values())

    def mean(self, texts: Sequence[str]) -> FloatArray:
        """The mean of the last layer over each text's tokens: float32 [n, width]."""
        return self._pooled(texts, first=False)

    def first(self, texts: Sequence[str]) -> FloatArray:
        """The last layer at each text's first token: float32 [n, width]."""
        return self._pooled(texts, first=True)

    def _pooled(self, texts: Sequence[str], *, first: bool) -> FloatArray:
        import numpy as np

        ids = [one.ids for one in self._tokenizer.encode_batch(list(texts))]
        order = sorted(range(len(ids)), key=lambda i: len(ids[i]), reverse=True)
        width = self._weights["embeddings.word_embeddings.weight"].shape[1]
        vectors = np.empty((len(ids), width), np.float32)
        start = 0
        while start < len(order):
            longest = len(ids[order[start]])
            batch = order[start : start + max(1, _BATCH_TOKENS // longest)]
            padded = np.zeros((len(batch), longest), np.int64)
            mask = np.zeros((len(batch), longest), np.float32)
            for row, number in enumerate(batch):
                padded[row, : len(ids[number])] = ids[number]
                mask[row, : len(ids[number])] = 1
            states = self.states(padded, mask)
            if first:
                vectors[batch] = states[:, 0]
            else:
                vectors[batch] = (states * mask[:, :, None]).sum(1) / mask.sum(1, keepdims=True)
            start += len(batch)
        return vectors

    def tensors(self, *names: str) -> list[FloatArray]:
        """Further tensors of the file. Raises KeyError for one that it does not hold."""
        return [self._weights[name] for name in names]

    def states(
        self,
        ids: NDArray[np.int64],
        mask: NDArray[np.float32],
        types: NDArray[np.int64] | None = None,
    ) -> FloatArray:
        """The last layer [n, tokens, width] for token ids, their mask (0: padding) and segments."""
        weights = self._weights
        x = weights["embeddings.word_embeddings.weight"][ids]
        x += weights["embeddings.position_embeddings.weight"][: ids.shape[1]]
        x += weights["embeddings.token_type_embeddings.weight"][0 if types is None else types]
        x = self._normalized(x, "embeddings.LayerNorm")
        hidden = ((1 - mask) * _MASKED)[:, None, None, :]
        for layer in self._layers:
            attended = self._attention(x, hidden, f"{layer}attention.self.")
            x = x + self._linear(attended, f"{layer}attention.output.dense")
            x = self._normalized(x, f"{layer}attention.output.LayerNorm")
            inner = _gelu(self._linear(x, f"{layer}intermediate.dense"))
            x = x + self._linear(inner, f"{layer}output.dense")
            x = self._normalized(x, f"{layer}output.LayerNorm")
        return x

    def _attention(self, x: FloatArray, hidden: FloatArray, name: str) -> FloatArray:
        import numpy as np

        n, tokens, width = x.shape

        def heads(part: str) -> FloatArray:
            shape = (n, tokens, self._heads, width // self._heads)
            return self._linear(x, name + part).reshape(shape).transpose(0, 2, 1, 3)

        query, key, value = heads("query"), heads("key"), heads("value")
        scores = query @ key.transpose(0, 1, 3, 2) / np.float32(query.shape[-1] ** 0.5) + hidden
        scores = np.exp(scores - scores.max(-1, keepdims=True))
        scores /= scores.sum(-1, keepdims=True)
        attended: FloatArray = (scores @ value).transpose(0, 2, 1, 3).reshape(n, tokens, width)
        return attended

    def _linear(self, x: FloatArray, name: str) -> FloatArray:
        weight = self._weights[f"{name}.weight"]
        # as one matrix: NumPy multiplies stacks of them one by one
        flat = x.reshape(-1, x.shape[-1]) @ weight.T
        flat += self._weights[f"{name}.bias"]
        return flat.reshape(*x.shape[:-1], weight.shape[0])

    def _normalized(self, x: FloatArray, name: str) -> FloatArray:
        import numpy as np

        x = x - x.mean(-1, keepdims=True)
        x /= np.sqrt((x * x).mean(-1, keepdims=True) + np.float32(self._epsilon))
        x *= self._weights[f"{name}.weight"]
        x += self._weights[f"{name}.bias"]
        return x


def _tensors(path: Path) -> _Tensors:
    from safetensors.numpy import load_file

    tensors = _loaded.get(path)
    if tensors is None:
        read = load_file(path)
        scales = {
            name.removesuffix(_SCALE): read.pop(name)
            for name in list(read)
            if name.endswith(_SCALE)
        }
        for name, scale in scales.items():
            read[name] = read[name].astype("float32") * scale[:, None]
        tensors = _Tensors({name.removeprefix("bert."): read[name] for name in read})
        _loaded[path] = tensors
    return tensors


def unit(vectors: FloatArray) -> FloatArray:
    """The vectors [n, d] at length 1, as torch's `normalize` does it."""
    import numpy as np

    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.asarray(vectors / np.maximum(lengths, 1e-12), dtype=np.float32)


def _gelu(x: FloatArray) -> FloatArray:
    """X * Phi(x), in place."""
    import numpy as np

    size = np.abs(x)
    size *= np.float32(0.5**0.5)
    t = 1 / (1 + np.float32(_ERF_SLOPE) * size)
    tail = np.full_like(t, _ERF[0])
    for coefficient in _ERF[1:]:
        tail *= t
        tail += np.float32(coefficient)
    tail *= t
    tail *= np.exp(-size * size)  # 1 - erf(size)
    # Phi(x) is 1 - tail / 2 for positive x, tail / 2 for negative
    tail *= 0.5
    np.subtract(1, tail, out=tail, where=x > 0)
    x *= tail
    return x


def _in_float32(path: Path) -> bool:
    """Whether all numbers of a safetensors file are float32 or integers (its header says so)."""
    with path.open("rb") as stream:
        header = json.loads(stream.read(int.from_bytes(stream.read(8), "little")))
    kinds = {tensor["dtype"] for name, tensor in header.items() if name != "__metadata__"}
    return kinds <= {"F32", "I64"}
