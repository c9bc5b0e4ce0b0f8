"""The shipped starter-emoji: its size, and that words and edges count."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import ragcore_starter_weights

from ragcore.diffusion import ControlRequest, Imaginer, ImagineRequest, edge_f1
from ragcore.diffusion.conditions import canny
from ragcore.diffusion.factories import imaginer_of
from ragcore.diffusion.images import as_png
from ragcore.models import Models

from .test_imaginer import pixels

FOLDER = Path(ragcore_starter_weights.__file__).parent / "starter-emoji"


@pytest.fixture(scope="module")
def maker(starter_models: Models) -> Imaginer:
    return imaginer_of(starter_models)


def size_of(*parts: str) -> int:
    return sum(p.stat().st_size for part in parts for p in (FOLDER / part).rglob("*"))


def test_it_is_small_and_in_half_precision() -> None:
    from safetensors import safe_open

    assert size_of("autoencoder", "denoiser") < 25_000_000
    assert size_of("controlnets") < 20_000_000
    for path in FOLDER.rglob("*.safetensors"):
        with safe_open(path, "pt") as file:
            assert {str(file.get_tensor(name).dtype) for name in file.keys()} == {  # noqa: SIM118
                "torch.float16"
            }
    assert "CC BY 4.0" in (FOLDER / "README.md").read_text("utf-8")


@pytest.mark.full
def test_words_decide_the_color(maker: Imaginer) -> None:
    def color(prompt: str) -> np.ndarray:
        made = maker.imagine(
            ImagineRequest(prompt=prompt, style="twemoji", seed=0, count=4, steps=12, scale=6.0)
        )
        stack = np.stack([pixels(image.png) for image in made.images])
        return np.asarray(stack[stack.min(axis=-1) < 200].mean(axis=0))

    red, blue = color("red heart"), color("blue heart")
    assert red[0] > red[2] + 60
    assert blue[2] - blue[0] > red[2] - red[0] + 40


@pytest.mark.full
def test_edges_are_followed(maker: Imaginer) -> None:
    if "canny" not in maker.model.control_kinds:
        pytest.skip("these weights have no ControlNet yet")
    image = np.full((64, 64, 3), 255, np.uint8)
    cv2.circle(image, (32, 32), 22, (240, 190, 40), -1)
    cv2.rectangle(image, (18, 24), (26, 32), (20, 20, 20), -1)
    wanted = canny(image)
    control = ControlRequest("canny", as_png(wanted), ready=True)

    def followed(**how: object) -> float:
        request = ImagineRequest(seed=0, count=4, steps=12, scale=1.0, **how)  # type: ignore[arg-type]
        made = maker.imagine(request).images
        return float(
            np.mean([edge_f1(wanted, canny(pixels(one.png).astype(np.uint8))) for one in made])
        )

    assert followed(controls=[control]) > followed() + 0.1
