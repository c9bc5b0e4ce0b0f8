"""Tiny Stable Diffusion pipelines with random weights, saved in diffusers' own layout."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

WIDTH = 32


def _tokenizer(folder: Path) -> Any:
    """A CLIP tokenizer that knows single letters."""
    from transformers import CLIPTokenizer

    folder.mkdir(parents=True, exist_ok=True)
    letters = [chr(code) for code in range(ord("!"), ord("~") + 1)]
    words = [*letters, *(f"{letter}</w>" for letter in letters)]
    words += ["<|startoftext|>", "<|endoftext|>"]
    vocabulary = {word: number for number, word in enumerate(words)}
    (folder / "vocab.json").write_text(json.dumps(vocabulary), "utf-8")
    (folder / "merges.txt").write_text("#version: 0.2\n", "utf-8")
    return CLIPTokenizer(
        str(folder / "vocab.json"), str(folder / "merges.txt"), model_max_length=77
    )


def _text_config(vocabulary: int) -> Any:
    from transformers import CLIPTextConfig

    return CLIPTextConfig(
        vocab_size=vocabulary, hidden_size=WIDTH, intermediate_size=37, num_hidden_layers=2,
        num_attention_heads=4, projection_dim=WIDTH, bos_token_id=vocabulary - 2,
        eos_token_id=vocabulary - 1, pad_token_id=vocabulary - 1,
    )  # fmt: skip


def _parts(work: Path, **unet: Any) -> dict[str, Any]:
    import torch
    from diffusers import AutoencoderKL, PNDMScheduler, UNet2DConditionModel
    from transformers import CLIPTextModel

    torch.manual_seed(0)
    tokenizer = _tokenizer(work / "words")
    return {
        "unet": UNet2DConditionModel(
            sample_size=16, in_channels=4, out_channels=4, layers_per_block=1,
            block_out_channels=(32, 64), norm_num_groups=8,
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"), **unet,
        ),
        "vae": AutoencoderKL(
            block_out_channels=(16, 32), norm_num_groups=8, latent_channels=4,
            down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2,
        ),
        "scheduler": PNDMScheduler(
            beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear",
            skip_prk_steps=True, steps_offset=1,
        ),
        "text_encoder": CLIPTextModel(_text_config(len(tokenizer))),
        "tokenizer": tokenizer,
    }  # fmt: skip


def make_stable(folder: Path) -> Path:
    """A whole Stable Diffusion 1.x folder, images of 32 x 32."""
    from diffusers import StableDiffusionPipeline

    parts = _parts(folder.parent / "work", cross_attention_dim=WIDTH)
    pipeline = StableDiffusionPipeline(
        **parts, safety_checker=None, feature_extractor=None, requires_safety_checker=False
    )
    pipeline.save_pretrained(folder)
    return folder


def make_xl(folder: Path) -> Path:
    """A whole Stable Diffusion XL folder, images of 32 x 32."""
    from diffusers import StableDiffusionXLPipeline
    from transformers import CLIPTextModel, CLIPTextModelWithProjection

    parts = _parts(
        folder.parent / "work-xl", cross_attention_dim=2 * WIDTH, addition_embed_type="text_time",
        addition_time_embed_dim=8, projection_class_embeddings_input_dim=6 * 8 + WIDTH,
        use_linear_projection=True,
    )  # fmt: skip
    config = _text_config(len(parts["tokenizer"]))
    pipeline = StableDiffusionXLPipeline(
        **{**parts, "text_encoder": CLIPTextModel(config)},
        text_encoder_2=CLIPTextModelWithProjection(config),
        tokenizer_2=parts["tokenizer"],
    )
    pipeline.save_pretrained(folder)
    return folder


def make_controlnet(stable: Path, folder: Path) -> Path:
    """A ControlNet over that model, as if it had learned something."""
    import torch
    from diffusers import ControlNetModel, UNet2DConditionModel

    unet = UNet2DConditionModel.from_pretrained(stable / "unet")
    control = ControlNetModel.from_unet(unet, conditioning_embedding_out_channels=(8, 16))
    for layer in (*control.controlnet_down_blocks, control.controlnet_mid_block):
        torch.nn.init.normal_(layer.weight, std=0.2)
    control.save_pretrained(folder)
    return folder


def make_lora(stable: Path, folder: Path, seed: int) -> Path:
    """A LoRA file for that model's denoiser, with weights that matter."""
    import torch
    from diffusers import StableDiffusionPipeline, UNet2DConditionModel
    from peft import LoraConfig, get_peft_model_state_dict

    torch.manual_seed(seed)
    unet = UNet2DConditionModel.from_pretrained(stable / "unet")
    unet.add_adapter(LoraConfig(r=4, lora_alpha=4, target_modules=["to_q", "to_v", "to_out.0"]))
    for name, weight in unet.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.5)
    StableDiffusionPipeline.save_lora_weights(
        folder,
        unet_lora_layers=get_peft_model_state_dict(unet),
        weight_name=f"lora{seed}.safetensors",
    )
    return folder / f"lora{seed}.safetensors"
