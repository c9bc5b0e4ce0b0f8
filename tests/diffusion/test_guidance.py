"""CLIP guidance with the real starter-clip: what its gradient says is so."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from ragcore.diffusion import GuidanceRequest, ImagineRequest
from ragcore.diffusion.factories import _clip, imaginer_of
from ragcore.diffusion.guidance import ClipGuidance, ClipView
from ragcore.diffusion.model import LatentModel
from ragcore.models import Models
from ragcore.settings import Settings

from .test_imaginer import pixels
from .tiny import make_profile

Encode = Callable[[str], torch.Tensor]


@pytest.fixture(scope="module")
def models(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Models:
    folder = tmp_path_factory.mktemp("guidance")
    settings = Settings(home=folder / "home", profile=str(make_profile(folder, tiny_folder)))
    return Models(settings)


@pytest.mark.full
@pytest.mark.usefixtures("starter_weights")
def test_a_step_along_the_gradient_looks_more_like_the_words(
    models: Models, tiny_model: LatentModel
) -> None:
    with _clip(models) as (view, encode):
        check_gradient(view, encode, tiny_model)


def check_gradient(view: ClipView, encode: Encode, tiny_model: LatentModel) -> None:
    text = encode("a red apple")
    signal = tiny_model.scheduler("ddim").alphas_cumprod.sqrt()
    guidance = ClipGuidance(view, text, tiny_model.autoencoder.decode, signal, 1.0, crops=8)
    clean = torch.randn((2, 4, 4, 4), generator=torch.Generator().manual_seed(0))

    def likeness(latents: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            images = (tiny_model.autoencoder.decode(latents).clamp(-1, 1) + 1) / 2
            sized = torch.nn.functional.interpolate(images, size=view.size, mode="bilinear")
            return view(sized) @ text

    steps = torch.tensor([100, 100])
    moved = clean.clone()
    for _ in range(6):
        gradient = guidance.gradient(moved, moved, steps)
        assert gradient.shape == clean.shape
        moved = moved + 0.3 * gradient / gradient.square().mean().sqrt()
    assert (likeness(moved) > likeness(clean)).all()
    weaker = guidance.gradient(clean, clean, torch.tensor([900, 900])).abs().mean()
    assert weaker < guidance.gradient(clean, clean, steps).abs().mean()  # noise says little


@pytest.mark.usefixtures("starter_weights")
def test_text_guide_through_the_profile(models: Models) -> None:
    maker = imaginer_of(models)
    assert imaginer_of(models) is maker
    request = ImagineRequest(seed=1, steps=3, guidance=[GuidanceRequest("text", "a red apple", 5)])
    one, two = (pixels(maker.imagine(request).images[0].png) for _ in range(2))
    assert np.abs(one - two).max() <= 1
    plain = pixels(maker.imagine(ImagineRequest(seed=1, steps=3)).images[0].png)
    assert np.abs(one - plain).max() > 0
    (entry,) = [model for model in models.loaded() if model.part == "diffusion"]
    assert (entry.name, entry.bytes > 0) == ("tiny", True)
    assert models.unload(entry.name) == 1
    assert not [model for model in models.loaded() if model.part == "diffusion"]
