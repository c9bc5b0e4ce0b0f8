"""The extractive reader's network while it is trained: a BERT and two outputs, in torch."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from ragcore.encoders import SpanInputs, SpanOutputs
from ragcore.errors import UsageError
from ragcore.extras import require_extra

if TYPE_CHECKING:
    from ragcore.types import FloatArray

_PASSAGE = ("passage.weight", "passage.bias")


class SpanNetwork(nn.Module):
    """A BERT over question and window together, with span and passage outputs.

    The passage output is a cross-encoder's own where the base is one.
    """

    def __init__(self, base: Path, *, frozen_layers: int) -> None:
        """Load the base's folder; embeddings and the first `frozen_layers` stay as they are.

        Raises UsageError if the folder is not a BERT with more layers than that.
        """
        from transformers import BertConfig, BertModel

        super().__init__()
        tensors, values = base_tensors(base)
        layers = int(values.get("num_hidden_layers", 0))
        if values.get("model_type") != "bert" or layers <= frozen_layers:
            raise UsageError(
                f"recipe: base: {base.name} is not a BERT of more than {frozen_layers} layers"
            )
        # Without dropout: one pass over the data does not overfit.
        values |= {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
        self.bert = BertModel(BertConfig(**values))
        width = int(values["hidden_size"])
        self.span, self.passage = nn.Linear(width, 2), nn.Linear(width, 1)
        given = {name: torch.from_numpy(value) for name, value in tensors.items()}
        self.bert.load_state_dict(
            {k: v for k, v in given.items() if k not in _PASSAGE}, strict=False
        )
        if _PASSAGE[0] in given:
            self.passage.load_state_dict({k.partition(".")[2]: given[k] for k in _PASSAGE})
        self.bert.embeddings.requires_grad_(False)
        for layer in self.bert.encoder.layer[:frozen_layers]:
            layer.requires_grad_(False)

    def forward(self, ids: Tensor, types: Tensor, mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Start and end logits [n, tokens], log-odds [n] that the window holds the answer."""
        read = self.bert(input_ids=ids, token_type_ids=types, attention_mask=mask)
        spans = self.span(read.last_hidden_state)
        return spans[..., 0], spans[..., 1], self.passage(read.pooler_output).squeeze(-1)

    def __call__(self, *args: Any) -> Any:
        return super().__call__(*args)

    def outputs(self, inputs: SpanInputs) -> SpanOutputs:
        """The same without gradients, of and as NumPy arrays."""
        with torch.inference_mode():
            found = self(*on_device(inputs, self.span.weight.device))
        return SpanOutputs(*(one.float().cpu().numpy() for one in found))

    def tensors(self) -> dict[str, FloatArray]:
        """All weights under the names of a reader's file."""
        return {
            name.removeprefix("bert."): value.detach().float().cpu().numpy()
            for name, value in self.state_dict().items()
            if value.is_floating_point()
        }

    def config(self) -> str:
        """The BERT's config.json."""
        text: str = self.bert.config.to_json_string()
        return text


def on_device(inputs: SpanInputs, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """The arrays as tensors."""
    arrays = (inputs.ids, inputs.types, inputs.mask.astype(np.int64))
    ids, types, mask = (torch.from_numpy(one).to(device) for one in arrays)
    return ids, types, mask


def base_tensors(folder: Path) -> tuple[dict[str, FloatArray], dict[str, Any]]:
    """Weights of a BERT's folder (safetensors or an 8-bit ONNX export), and its configuration.

    A cross-encoder's output is `passage.weight` and `passage.bias`.
    """
    if (folder / "model.onnx").is_file():
        read, values = _onnx_tensors(folder / "model.onnx")
    else:
        from safetensors.numpy import load_file

        read = dict(load_file(folder / "model.safetensors"))
        values = json.loads((folder / "config.json").read_text("utf-8"))
    tensors = {name.removeprefix("bert."): value for name, value in read.items()}
    for kind in ("weight", "bias"):
        if f"classifier.{kind}" in tensors:
            tensors[f"passage.{kind}"] = tensors.pop(f"classifier.{kind}")
    return {k: v.astype(np.float32) for k, v in tensors.items() if v.dtype.kind == "f"}, values


def _onnx_tensors(path: Path) -> tuple[dict[str, FloatArray], dict[str, Any]]:
    """Weights of a dynamically quantized BERT, in float32, and the sizes that they tell.

    Matrices have lost their names in such an export: each is named after the product that reads it.
    """
    require_extra("ocr", "bases in ONNX")
    import openvino

    model = openvino.Core().read_model(path)
    constants = {
        op.get_friendly_name(): op.get_data()
        for op in model.get_ops()
        if op.get_type_name() == "Constant"
    }

    def matrix(name: str) -> FloatArray:
        whole = constants[f"{name}_quantized"].astype(np.float32)
        zero, scale = constants[f"{name}_zero_point"], constants[f"{name}_scale"]
        return np.asarray((whole - zero.astype(np.float32)) * scale.astype(np.float32))

    found = {
        name: value.astype(np.float32)
        for name, value in constants.items()
        if name.startswith(("bert.", "classifier.")) and "_" not in name.rpartition(".")[2]
    }
    for name in constants:
        if name.startswith("bert.embeddings") and name.endswith("_quantized"):
            whole = name.removesuffix("_quantized")
            found[whole] = matrix(whole)
    for op in model.get_ops():
        if op.get_type_name() == "MatMul" and (name := _quantized(op.input_value(1).get_node())):
            place = re.sub(r"(/Gemm)?(/|_)MatMul.*", "", op.get_friendly_name())
            found[f"{place.strip('/').replace('/', '.')}.weight"] = matrix(name).T.copy()
    return found, _sizes(found)


def _quantized(op: Any, depth: int = 6) -> str:
    """The name of the quantized matrix that an operation's value comes from; "" if none."""
    if op.get_type_name() == "Constant":
        name: str = op.get_friendly_name()
        return name.removesuffix("_quantized") if name.endswith("_quantized") else ""
    if not depth:
        return ""
    parts = (op.input_value(i).get_node() for i in range(op.get_input_size()))
    return next(filter(None, (_quantized(part, depth - 1) for part in parts)), "")


def _sizes(tensors: dict[str, FloatArray]) -> dict[str, Any]:
    words, width = tensors["bert.embeddings.word_embeddings.weight"].shape
    layers = {name.split(".")[3] for name in tensors if name.startswith("bert.encoder.layer.")}
    return {
        "model_type": "bert",
        "vocab_size": words,
        "hidden_size": width,
        "num_hidden_layers": len(layers),
        "num_attention_heads": width // 32,  # as MiniLM's have it
        "intermediate_size": len(tensors["bert.encoder.layer.0.intermediate.dense.bias"]),
        "max_position_embeddings": len(tensors["bert.embeddings.position_embeddings.weight"]),
        "type_vocab_size": len(tensors["bert.embeddings.token_type_embeddings.weight"]),
        "layer_norm_eps": 1e-12,
        "hidden_act": "gelu",
    }
