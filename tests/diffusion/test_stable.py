"""The Stable Diffusion family whole, with tiny random pipelines in diffusers' layout."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ragcore.diffusion import (
    ControlRequest,
    GuidanceRequest,
    Imaginer,
    ImagineRequest,
    LoraRequest,
    read_recipe,
)
from ragcore.diffusion.factories import imaginer_of
from ragcore.diffusion.stable import StableModel
from ragcore.errors import Cancelled, ModelUnavailable, UsageError
from ragcore.models import Models
from ragcore.settings import Settings
from ragcore.types import CancelToken

from .test_imaginer import pixels
from .tiny_stable import make_controlnet, make_lora, make_stable, make_xl

FEW: dict[str, Any] = {"steps": 3, "seed": 3, "prompt": "red apple"}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("stable")
    stable = make_stable(root / "sd")
    return {
        "sd": stable,
        "xl": make_xl(root / "xl"),
        "canny": make_controlnet(stable, root / "canny"),
        "scribble": make_controlnet(stable, root / "scribble"),
        "xl-canny": make_controlnet(root / "xl", root / "xl-canny"),
        "lora1": make_lora(stable, root / "loras", 1),
        "lora2": make_lora(stable, root / "loras", 2),
    }


@pytest.fixture(scope="module", params=["sd", "xl"])
def either(request: pytest.FixtureRequest, folders: dict[str, Path]) -> Imaginer:
    name = request.param
    kinds = {"canny": folders["canny" if name == "sd" else "xl-canny"]}
    if name == "sd":
        kinds["scribble"] = folders["scribble"]
    return Imaginer(StableModel(folders[name], name=name, controlnets=kinds))


@pytest.fixture
def drawn(tmp_path: Path) -> Path:
    image = Image.new("RGB", (40, 40), "white")
    image.paste((10, 10, 10), (10, 10, 30, 30))
    image.save(tmp_path / "square.png")
    return tmp_path / "square.png"


def made(imaginer: Imaginer, **fields: Any) -> np.ndarray:
    return pixels(imaginer.imagine(ImagineRequest(**{**FEW, **fields})).images[0].png)


def test_words_seed_and_size(either: Imaginer) -> None:
    plain = made(either)
    assert plain.shape == (32, 32, 3)
    assert np.abs(plain - made(either)).max() <= 1
    for change in ({"seed": 4}, {"prompt": "blue car"}, {"negative": "zzz"}, {"sampler": "ddim"}):
        assert np.abs(plain - made(either, **change)).max() > 0, change
    assert made(either, size=48).shape == (48, 48, 3)
    with pytest.raises(UsageError, match="steps of 2"):
        made(either, size=33)


def test_same_as_diffusers_own_pipeline(folders: dict[str, Path]) -> None:
    """The loop does what diffusers does: same latents in, same image out."""
    import torch

    model = StableModel(folders["sd"], name="sd")
    pipeline = model.pipeline
    pipeline.scheduler = model.scheduler("ddim")
    noise = torch.randn((1, 4, 16, 16), generator=torch.Generator().manual_seed(3))
    theirs = pipeline(
        "red apple", num_inference_steps=4, guidance_scale=5.0, latents=noise, output_type="np"
    ).images[0]
    ours = made(Imaginer(model), steps=4, scale=5.0, sampler="ddim")
    assert np.abs(ours - np.round(theirs * 255)).max() <= 2


def test_start_image(either: Imaginer, drawn: Path) -> None:
    weak, strong = (made(either, start_image=drawn, strength=s, steps=6) for s in (0.2, 1.0))
    assert np.abs(weak - strong).mean() > 1


def test_controls_one_and_several(either: Imaginer, drawn: Path) -> None:
    plain, canny = made(either), ControlRequest("canny", drawn)
    with_canny = made(either, controls=[canny])
    assert np.abs(plain - with_canny).mean() > 0
    assert np.abs(with_canny - made(either, controls=[canny], guess=True)).max() > 0
    if "scribble" in either.model.control_kinds:
        both = made(either, controls=[canny, ControlRequest("scribble", drawn, 0.5, 0.0, 0.5)])
        assert np.abs(both - with_canny).max() > 0
    with pytest.raises(UsageError, match="no ControlNet for 'depth'"):
        made(either, controls=[ControlRequest("depth", drawn)])


def test_loras_on_several_and_off(folders: dict[str, Path]) -> None:
    imaginer = Imaginer(StableModel(folders["sd"], name="sd"))
    one, two = (LoraRequest(folders[name]) for name in ("lora1", "lora2"))
    plain, with_one = made(imaginer), made(imaginer, loras=[one])
    assert np.abs(plain - with_one).max() > 2
    both = made(imaginer, loras=[one, two])
    assert np.abs(both - with_one).max() > 2
    half = made(imaginer, loras=[LoraRequest(folders["lora1"], 0.5)])
    assert np.abs(half - plain).mean() > 0
    assert np.abs(half - with_one).max() > 0
    assert np.abs(made(imaginer, loras=[LoraRequest(folders["lora1"], 0.0)]) - plain).max() <= 1
    assert np.abs(made(imaginer) - plain).max() <= 1  # off again
    assert np.abs(made(imaginer, loras=[one]) - with_one).max() <= 1


def test_two_people_take_turns_and_one_may_give_up(folders: dict[str, Path]) -> None:
    """LoRA weights sit in the shared denoiser: nobody's image has another's."""
    imaginer = Imaginer(StableModel(folders["sd"], name="sd"))
    lora = LoraRequest(folders["lora1"])
    plain, with_lora = made(imaginer), made(imaginer, loras=[lora])
    with ThreadPoolExecutor() as pool:
        wanted = [{"loras": [lora]} if number % 2 else {} for number in range(6)]
        found = list(pool.map(lambda fields: made(imaginer, **fields), wanted))
    for fields, image in zip(wanted, found, strict=True):
        assert np.abs(image - (with_lora if fields else plain)).max() <= 1
    first = imaginer.stream(ImagineRequest(**FEW))
    next(first)  # has the model
    token = CancelToken()
    token.cancel()
    with pytest.raises(Cancelled, match="before the first step"):
        imaginer.imagine(ImagineRequest(**FEW), cancel=token)
    first.close()  # given up: the next one is made
    assert np.abs(made(imaginer) - plain).max() <= 1


def test_text_guide_is_the_same_one(folders: dict[str, Path]) -> None:
    import torch

    from ragcore.diffusion.guidance import ClipView

    class Brightness(torch.nn.Module):
        """An image tower whose first number is how bright an image is."""

        visual = torch.nn.Identity()

        def encode_image(self, images: torch.Tensor) -> torch.Tensor:
            bright = images.mean(dim=(1, 2, 3))
            return torch.stack([bright, torch.ones_like(bright)], dim=1)

    view = ClipView(Brightness(), size=(32, 32), logit_scale=100.0)
    model = StableModel(folders["sd"], name="sd")
    imaginer = Imaginer(model, clip=lambda: nullcontext((view, lambda _: torch.tensor([1.0, 0.0]))))
    brighter = made(imaginer, guidance=[GuidanceRequest("text", "bright", 100)], steps=8)
    assert brighter.mean() > made(imaginer, steps=8).mean() + 1
    with pytest.raises(UsageError, match="no noise-aware classifier"):
        made(imaginer, guidance=[GuidanceRequest("class", "fruit", 1)])


def test_class_guide_is_the_same_one(folders: dict[str, Path], tmp_path: Path) -> None:
    """A noise-aware classifier over the model's latents pushes as it does for our own models."""
    import torch

    from ragcore.diffusion import classifier, networks

    torch.manual_seed(0)
    noisy = classifier.NoisyClassifier(
        leaves=["dark", "bright"], groups=["all", "all"], latent_channels=4, channels=(16, 32)
    )
    networks.save_half(noisy, tmp_path / classifier.CLASSIFIER)
    model = StableModel(folders["sd"], name="sd", classifier=tmp_path)
    imaginer = Imaginer(model)
    assert imaginer.class_names == ["all", "dark", "bright"]
    plain = made(imaginer)
    assert np.abs(made(imaginer, guidance=[GuidanceRequest("class", "all", 50)]) - plain).max() <= 1
    one, two = (
        made(imaginer, guidance=[GuidanceRequest("class", name, 50)]) for name in ("dark", "bright")
    )
    assert np.abs(one - two).max() > 2
    with pytest.raises(UsageError, match="unknown class 'fruit'"):
        made(imaginer, guidance=[GuidanceRequest("class", "fruit", 1)])


def test_profile_with_a_folder(folders: dict[str, Path], tmp_path: Path, drawn: Path) -> None:
    profile = tmp_path / "stable.toml"
    profile.write_text(
        f"""
name = "stable"
[diffusion]
weights = "local:{folders["sd"]}"
kind = "diffusers"
[controlnets.canny]
weights = "local:{folders["canny"]}"
kind = "diffusers"
""",
        "utf-8",
    )
    imaginer = imaginer_of(Models(Settings(home=tmp_path, profile=str(profile))))
    controls = [ControlRequest("canny", drawn)]
    first = imaginer.imagine(
        ImagineRequest(**FEW, controls=controls, loras=[LoraRequest(folders["lora2"], 0.7)])
    )
    again, _ = read_recipe(first.images[0].png)
    assert again.loras == [LoraRequest(folders["lora2"], 0.7)]
    repeated = pixels(imaginer.imagine(again).images[0].png)
    assert np.abs(repeated - pixels(first.images[0].png)).max() <= 1


def test_what_is_no_model_is_said(tmp_path: Path, folders: dict[str, Path]) -> None:
    with pytest.raises(ModelUnavailable, match="no diffusers model"):
        StableModel(tmp_path, name="x")
    imaginer = Imaginer(StableModel(folders["sd"], name="sd"))
    wrong = tmp_path / "wrong.safetensors"
    wrong.write_bytes(b"\x08\0\0\0\0\0\0\0{}      ")
    with pytest.raises(UsageError, match="does not fit"):
        made(imaginer, loras=[LoraRequest(wrong)])
    assert made(imaginer).shape == (32, 32, 3)
