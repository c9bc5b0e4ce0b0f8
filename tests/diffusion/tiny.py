"""A latent diffusion model with random weights, small enough for tests: shapes are real."""

from __future__ import annotations

from pathlib import Path

SIZE = 32
STYLES = ("flat style", "round style")
LEAVES = ["circles", "bars", "squares"]
GROUPS = ["round things", "straight things", "straight things"]
DATA = {
    "styles": ["flat", "line", "bold"],
    "leave_out": [],
    "unseen_names": 0.15,
    "unseen_pairs": 0.15,
    "seed": 0,
}


def make_model(folder: Path, *, controls: tuple[str, ...] = ("canny", "scribble")) -> Path:
    """Write a whole model folder: autoencoder, denoiser, classifier, ControlNets."""
    import torch
    from diffusers import ControlNetModel

    from ragcore.diffusion import classifier, networks
    from ragcore.diffusion.model import ModelCard, write_card
    from ragcore.diffusion.sampling import new_scheduler

    torch.manual_seed(0)
    autoencoder = networks.new_autoencoder(stem=4, channels=(16, 32), layers=1, latent_channels=4)
    denoiser = networks.new_denoiser(
        size=4, latent_channels=4, channels=(16, 32), layers=1, text_width=384
    )
    noisy = classifier.NoisyClassifier(
        leaves=LEAVES, groups=GROUPS, latent_channels=4, channels=(16, 32)
    )
    networks.save_half(autoencoder.vae, folder / networks.AUTOENCODER)
    networks.save_half(denoiser, folder / networks.DENOISER)
    networks.save_half(noisy, folder / classifier.CLASSIFIER)
    for kind in controls:
        control = ControlNetModel.from_unet(
            denoiser, conditioning_embedding_out_channels=(8, 8, 16, 16)
        )
        for convolution in (*control.controlnet_down_blocks, control.controlnet_mid_block):
            torch.nn.init.normal_(convolution.weight, std=0.2)  # as if it had learned something
        networks.save_half(control, folder / networks.CONTROLNETS / kind)
    scheduler = new_scheduler("ddim", prediction="v_prediction", schedule="squaredcos_cap_v2")
    scheduler.save_pretrained(folder / "scheduler")
    write_card(ModelCard("tiny", SIZE, STYLES, "minilm-l6-v2", DATA), folder)
    return folder


def make_profile(folder: Path, model: Path) -> Path:
    """A profile file with this image maker and the starter's encoders."""
    path = folder / "images.toml"
    path.write_text(
        f"""
name = "images"
[text_encoder]
weights = "minilm-l6-v2"
kind = "sentence-transformers"
[image_text_encoder]
weights = "starter-clip"
kind = "open_clip"
[diffusion]
weights = "local:{model}"
kind = "latent"
""",
        "utf-8",
    )
    return path
