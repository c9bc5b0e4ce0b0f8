"""The judge of icons, and the evaluation around an image maker."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ragcore.datasets.icons import read_icons
from ragcore.diffusion import Imaginer, ImagineRequest
from ragcore.diffusion.conditions import canny
from ragcore.diffusion.model import LatentModel
from ragcore.settings import Settings
from ragcore.weights import WeightStore
from recipes.icon_evaluation import evaluate_diffusion
from recipes.icon_judge import ClassJudge, FeatureMaker, NameJudge, diversity, frechet
from recipes.icon_samples import sample_batch
from tests.diffusion.icons import draw_icons
from tests.diffusion.test_imaginer import pixels
from tests.diffusion.tiny import make_model


@pytest.fixture(scope="module")
def tiny_model(
    tmp_path_factory: pytest.TempPathFactory, starter_weights: WeightStore
) -> LatentModel:
    folder = make_model(tmp_path_factory.mktemp("evaluated") / "model")
    return LatentModel(folder, starter_weights.ensure("minilm-l6-v2"))


@pytest.mark.usefixtures("starter_weights")
def test_judge_knows_real_icons_in_a_style_it_has_not_seen(tmp_path: Path) -> None:
    icons = read_icons(draw_icons(tmp_path / "icons"))
    features = FeatureMaker(Settings())(icons.pixels)
    seen = [row for row, icon in enumerate(icons.icons) if icon.style != "bold"]
    other = [row for row, icon in enumerate(icons.icons) if icon.style == "bold"]
    names = [icon.name for icon in icons.icons]
    judge = NameJudge(features[seen], [names[row] for row in seen])
    ranks = judge.ranks(features[other], [names[row] for row in other], judge.names)
    assert np.mean(ranks <= 3) > 0.8
    wrong = judge.ranks(features[other][::-1], [names[row] for row in other], judge.names)
    assert np.mean(wrong <= 3) < 0.5
    shapes = [icon.subgroup for icon in icons.icons]
    by_class = ClassJudge(features[seen], [shapes[row] for row in seen])
    assert by_class.accuracy(features[other], [shapes[row] for row in other]) > 0.7


def test_frechet_and_diversity() -> None:
    rng = np.random.default_rng(0)
    real = rng.normal(size=(400, 80)).astype(np.float32)
    same, moved, narrow = real.copy(), real + 1, real * 0.3
    assert frechet(real, same) == pytest.approx(0, abs=0.05)
    assert frechet(real, moved) > 5
    assert frechet(real, narrow) > 5
    assert diversity(real) == pytest.approx(1, abs=0.02)
    assert diversity(real + 10) < 0.05


def test_batches_are_what_the_image_maker_makes(tiny_model: LatentModel) -> None:
    batch = sample_batch(tiny_model, ["cat", "red apple"], seed=5, steps=4, scale=3.0)
    request = ImagineRequest(prompt="red apple", seed=6, steps=4, scale=3.0)
    alone = pixels(Imaginer(tiny_model).imagine(request).images[0].png)
    assert np.abs(alone - batch[1].astype(int)).max() <= 2
    edges = canny(np.full((32, 32, 3), 255, np.uint8))
    controlled = sample_batch(
        tiny_model, ["cat"], seed=5, steps=4, scale=3.0, conditions={"canny": edges[None]},
        classes=(["circles"], 50.0),
    )  # fmt: skip
    assert np.abs(controlled[0].astype(int) - batch[0]).max() > 0


def test_evaluation_has_every_metric(
    tiny_model: LatentModel, tmp_path: Path, starter_weights: object
) -> None:
    result = evaluate_diffusion(
        draw_icons(tmp_path / "icons"),
        settings=Settings(home=tmp_path),
        imaginer=Imaginer(tiny_model),
        prompts=8,
        guided=9,
        controlled=2,
        steps=2,
        images=tmp_path / "sheets",
    )
    assert 0 <= result["name@10of500"] <= 1
    assert set(result["guidance"]) == {"real", "0", "1", "2", "5", "10"}
    assert set(result["guidance"]["5"]) == {
        "class_accuracy", "fine_class_accuracy", "frechet", "diversity",
    }  # fmt: skip
    assert set(result["edge_f1"]) == {
        "with_control", "with_control_no_prompt", "without_control", "without_control_no_prompt",
        "autoencoder",
    }  # fmt: skip
    assert result["seconds_per_image"] > 0
    assert result["ratio_to_denoiser"] > 0.5
    assert {path.name for path in (tmp_path / "sheets").iterdir()} >= {
        "names-train.png", "guidance.png", "edges.png",
    }  # fmt: skip
