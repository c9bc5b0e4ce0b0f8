"""Small models that see, saved as folders: random weights, real tokenizer and image tower."""

from __future__ import annotations

from pathlib import Path

from ragcore.weights import WeightStore

SIZES = {
    "vocab_size": 49152, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 1024,
    "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 2, "initializer_range": 0.2,
}  # fmt: skip


def save_small_llm(folder: Path, store: WeightStore, *, seed: int = 0) -> Path:
    """A Llama of two layers with SmolLM2's own tokenizer."""
    import torch
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    torch.manual_seed(seed)
    LlamaForCausalLM(LlamaConfig(**SIZES)).save_pretrained(folder)
    source = store.ensure("smollm2-135m-instruct")
    AutoTokenizer.from_pretrained(source).save_pretrained(folder)
    return folder


def save_projector(folder: Path, base: Path, *, seed: int = 0) -> Path:
    """A random projector for the small model, with an adapter far from zero."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    from ragcore.encoders.grid import CHANNELS, TOWER
    from ragcore.llm import projector as made

    torch.manual_seed(seed)
    config = made.ProjectorConfig(
        base=str(base), tower=TOWER, side=2, channels=CHANNELS, hidden=16,
        width=SIZES["hidden_size"], caption_question="Describe the picture.",
    )  # fmt: skip
    projector = made.Projector(config)
    made.save_projector(projector, folder)
    lora = LoraConfig(r=4, lora_alpha=8, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM")
    model = get_peft_model(AutoModelForCausalLM.from_pretrained(base), lora)
    for name, weight in model.named_parameters():
        if "lora_" in name:
            torch.nn.init.normal_(weight, std=0.5)
    model.save_pretrained(folder)
    return folder


def save_small_llava(folder: Path, store: WeightStore) -> Path:
    """A LLaVA of random weights in the hub's layout, processor and chat template included."""
    import torch
    from transformers import (
        AutoTokenizer,
        CLIPImageProcessor,
        CLIPVisionConfig,
        LlamaConfig,
        LlavaConfig,
        LlavaForConditionalGeneration,
        LlavaProcessor,
    )

    tokenizer = AutoTokenizer.from_pretrained(store.ensure("smollm2-135m-instruct"))
    tokenizer.add_special_tokens({"additional_special_tokens": ["<image>"]})
    image = tokenizer.convert_tokens_to_ids("<image>")
    torch.manual_seed(0)
    vision = CLIPVisionConfig(
        hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=2,
        image_size=32, patch_size=16, projection_dim=32,
    )  # fmt: skip
    text = LlamaConfig(**{**SIZES, "vocab_size": len(tokenizer)})
    config = LlavaConfig(
        vision_config=vision, text_config=text, image_token_index=image,
        vision_feature_select_strategy="default", vision_feature_layer=-1,
    )  # fmt: skip
    LlavaForConditionalGeneration(config).save_pretrained(folder)
    processor = LlavaProcessor(
        image_processor=CLIPImageProcessor(
            size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}
        ),
        tokenizer=tokenizer,
        patch_size=16,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=(
            "{% for m in messages %}{{ m['role'] }}: {% for part in m['content'] %}"
            "{% if part['type'] == 'image' %}<image>{% else %}{{ part['text'] }}{% endif %}"
            "{% endfor %}\n{% endfor %}assistant:"
        ),
    )
    processor.save_pretrained(folder)
    return folder
