"""A small language model of random weights with the real tokenizer, and the real small one."""

from __future__ import annotations

from pathlib import Path

import pytest

from ragcore.llm.gguf_export import export_gguf
from ragcore.llm.llamacpp import LlamaCppLLM
from ragcore.llm.transformers_llm import TransformersLLM
from ragcore.models.device import place
from ragcore.settings import Settings
from ragcore.weights import WeightStore


@pytest.fixture(scope="session")
def smollm(starter_weights: WeightStore) -> Path:
    return starter_weights.ensure("smollm2-135m-instruct")


@pytest.fixture(scope="session")
def tiny_model(smollm: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Llama of two layers with random weights and SmolLM2's own tokenizer."""
    import torch
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    folder = tmp_path_factory.mktemp("tiny-llama")
    torch.manual_seed(5)
    config = LlamaConfig(
        vocab_size=49152,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=2048,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=2,
        initializer_range=0.3,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    AutoTokenizer.from_pretrained(smollm).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_adapters(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of two adapters of the tiny model, "left" and "right", far from zero."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    root = tmp_path_factory.mktemp("adapters")
    for seed, name in enumerate(("left", "right")):
        torch.manual_seed(seed)
        config = LoraConfig(
            r=4, lora_alpha=8, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM"
        )
        model = get_peft_model(AutoModelForCausalLM.from_pretrained(tiny_model), config)
        for key, value in model.named_parameters():
            if "lora_" in key:
                torch.nn.init.normal_(value, std=0.5)
        model.peft_config["default"].base_model_name_or_path = str(tiny_model)
        model.save_pretrained(root / name)
    return root


@pytest.fixture
def tiny_llm(tiny_model: Path, tiny_adapters: Path, settings: Settings) -> TransformersLLM:
    return TransformersLLM(
        tiny_model,
        name="tiny",
        placement=place(settings),
        adapters=lambda name: tiny_adapters / name,
    )


@pytest.fixture(scope="session")
def tiny_gguf(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny Llama as a GGUF file."""
    return export_gguf(tiny_model, tmp_path_factory.mktemp("gguf") / "tiny.gguf", precision="f32")


@pytest.fixture(scope="module")
def cpp_llm(
    tiny_gguf: Path, tiny_adapters: Path, tmp_path_factory: pytest.TempPathFactory
) -> LlamaCppLLM:
    """The tiny Llama in llama.cpp, with its adapters."""
    return LlamaCppLLM(
        tiny_gguf,
        name="tiny",
        cache=tmp_path_factory.mktemp("adapters-gguf"),
        adapters=lambda name: tiny_adapters / name,
        threads=1,
    )


@pytest.fixture(scope="session")
def real_llm(smollm: Path) -> TransformersLLM:
    """SmolLM2-135M-Instruct without an adapter."""
    return TransformersLLM(smollm, name="smollm2", placement=place(Settings()))
