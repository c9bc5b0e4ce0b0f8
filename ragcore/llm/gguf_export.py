"""A model folder as one GGUF file, as llama.cpp and what is built on it read it: Llama and Qwen2.

In a Llama llama.cpp turns pairs of neighbouring values where transformers turns halves of a head,
so the rows of the query and key projections change places on the way.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ragcore.errors import UsageError
from ragcore.files import atomic_write

if TYPE_CHECKING:
    import torch

Precision = Literal["f32", "f16"]
_NORMAL, _CONTROL = 1, 3  # token types of the format


def export_gguf(model: Path, target: Path, *, precision: Precision = "f16") -> Path:
    """Write the transformers folder `model` as the GGUF file `target`, tokenizer included.

    Norms and biases stay float32. Raises UsageError for a model that is not of the Llama or Qwen2
    architecture with a byte-level BPE.
    """
    import gguf
    from transformers import AutoTokenizer

    config = _config(model)
    if target.exists():
        raise UsageError(f"{target} exists")
    tokenizer = AutoTokenizer.from_pretrained(model, local_files_only=True, trust_remote_code=False)
    with atomic_write(target) as partial:
        writer = gguf.GGUFWriter(partial, config["model_type"])
        _describe(writer, config, precision)
        _add_tokenizer(writer, config, tokenizer)
        for name, tensor in _tensors(model, config):
            kind = _kind(tensor, precision)
            writer.add_tensor(name, gguf.quants.quantize(tensor.numpy(), kind), raw_dtype=kind)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
    return target


def _config(model: Path) -> dict[str, Any]:
    try:
        config: dict[str, Any] = json.loads((model / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"{model} holds no model: {error}") from error
    if config.get("model_type") not in ("llama", "qwen2") or config.get("attention_bias"):
        raise UsageError(f"only models of the Llama and Qwen2 architectures become GGUF: {model}")
    if config.get("use_sliding_window"):
        raise UsageError("a model with sliding-window attention cannot be exported")
    return config


def _describe(writer: Any, config: dict[str, Any], precision: Precision) -> None:
    import gguf

    heads = config["num_attention_heads"]
    rope = config.get("rope_parameters") or {}
    if rope.get("rope_type", "default") != "default":
        raise UsageError("a model with scaled rotary positions cannot be exported")
    writer.add_file_type(
        gguf.LlamaFileType.ALL_F32 if precision == "f32" else gguf.LlamaFileType.MOSTLY_F16
    )
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(heads)
    writer.add_head_count_kv(config.get("num_key_value_heads") or heads)
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_freq_base(rope.get("rope_theta") or config.get("rope_theta") or 10000.0)
    writer.add_rope_dimension_count(config.get("head_dim") or config["hidden_size"] // heads)
    writer.add_vocab_size(config["vocab_size"])


def _add_tokenizer(writer: Any, config: dict[str, Any], tokenizer: Any) -> None:
    """Vocabulary, merges and chat template of a byte-level BPE."""
    whole = json.loads(tokenizer.backend_tokenizer.to_str())
    if whole["model"]["type"] != "BPE":
        raise UsageError("only models with a byte-level BPE tokenizer become GGUF")
    by_id = {number: token for token, number in tokenizer.get_vocab().items()}
    size = config["vocab_size"]
    special = {t["id"] for t in whole["added_tokens"] if t["special"]}
    merges = [m if isinstance(m, str) else " ".join(m) for m in whole["model"]["merges"]]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(_splitting(whole))
    writer.add_token_list([by_id.get(i, f"[PAD{i}]") for i in range(size)])
    writer.add_token_types([_CONTROL if i in special else _NORMAL for i in range(size)])
    writer.add_token_merges(merges)
    for name in ("bos", "eos", "pad", "unk"):
        number = getattr(tokenizer, f"{name}_token_id")
        if number is not None:
            getattr(writer, f"add_{name}_token_id")(number)
    writer.add_add_bos_token(False)
    writer.add_add_space_prefix(False)
    if tokenizer.chat_template:
        writer.add_chat_template(tokenizer.chat_template)


def _splitting(tokenizer: dict[str, Any]) -> str:
    """llama.cpp's name for how text is cut before the merges."""
    step = tokenizer.get("pre_tokenizer") or {}
    parts = (step, *step.get("pretokenizers", ()))
    if any(part.get("type") == "Digits" and part.get("individual_digits") for part in parts):
        return "smollm"  # as GPT-2, each digit by itself
    patterns = [part["pattern"].get("Regex", "") for part in parts if part.get("type") == "Split"]
    if any(r"?\p{L}+|\p{N}|" in pattern for pattern in patterns):
        return "qwen2"
    if patterns:
        raise UsageError("only models that cut text as GPT-2, SmolLM or Qwen2 do become GGUF")
    return "gpt-2"


def _tensors(model: Path, config: dict[str, Any]) -> Iterator[tuple[str, torch.Tensor]]:
    """(llama.cpp's name, float32 tensor) of every weight."""
    import gguf
    from safetensors import safe_open

    layers = config["num_hidden_layers"]
    llama = config["model_type"] == "llama"
    names = gguf.get_tensor_name_map(
        gguf.MODEL_ARCH.LLAMA if llama else gguf.MODEL_ARCH.QWEN2, layers
    )
    heads = config["num_attention_heads"]
    interleave = {"q_proj": heads, "k_proj": config.get("num_key_value_heads") or heads}
    groups = interleave if llama else {}
    for file in sorted(model.glob("*.safetensors")):
        with safe_open(str(file), "pt") as weights:
            for name in weights.keys():  # noqa: SIM118 - not a dictionary
                if name == "lm_head.weight" and config.get("tie_word_embeddings"):
                    continue
                new = names.get_name(name, try_suffixes=(".weight", ".bias"))
                if new is None:
                    raise UsageError(f"{file.name}: {name} has no place in a GGUF")
                tensor = weights.get_tensor(name).float()
                for part, count in groups.items():
                    if f".{part}." in name:
                        tensor = interleaved(tensor, count)
                yield new, tensor


def interleaved(weight: torch.Tensor, heads: int) -> torch.Tensor:
    """Rows of each head from (first half, second half) to neighbouring pairs."""
    rows = weight.shape[0] // heads
    return (
        weight.reshape(heads, 2, rows // 2, *weight.shape[1:]).swapaxes(1, 2).reshape(weight.shape)
    )


def _kind(tensor: torch.Tensor, precision: Precision) -> Any:
    import gguf

    kinds = gguf.GGMLQuantizationType
    if tensor.ndim == 1 or precision == "f32":
        return kinds.F32
    return kinds.F16
