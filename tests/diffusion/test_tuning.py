"""Training from a recipe on drawn icons: it learns, stops, goes on, and says what is wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ragcore.datasets.icons import icon_captions, read_icons, split_icons
from ragcore.diffusion import ControlRequest, Imaginer, ImagineRequest
from ragcore.diffusion.model import LatentModel
from ragcore.errors import Cancelled, UsageError
from ragcore.settings import Settings
from ragcore.tuning.diffusion.classifier import moved
from ragcore.tuning.diffusion.controlnet import converged_at, tune_controlnet
from ragcore.tuning.diffusion.recipe import ControlNetRecipe, DenoiserStage, DiffusionRecipe
from ragcore.tuning.diffusion.train import tune_diffusion
from ragcore.tuning.recipe import parse_recipe
from ragcore.types import CancelToken, Progress
from ragcore.weights import WeightStore

from .icons import draw_icons


def recipe(folder: Path, **changes: Any) -> DiffusionRecipe:
    stage = {"batch_size": 8, "warmup": 2, "average": 0.9, "log_every": 5, "learning_rate": 2e-3}
    values: dict[str, Any] = {
        "name": "shapes",
        "output": str(folder / "run"),
        "data": {"folder": str(folder / "icons"), "unseen_names": 0.1, "unseen_pairs": 0.1},
        "autoencoder": {**stage, "steps": 40, "channels": [16, 32], "latent_channels": 4},
        "denoiser": {**stage, "steps": 20, "channels": [16, 32], "batch_size": 8},
        "classifier": {**stage, "steps": 10, "channels": [16, 32], "smallest_class": 4},
    }
    for stage_name, more in changes.items():
        values[stage_name] = {**values.get(stage_name, {}), **more}
    return parse_recipe(values, DiffusionRecipe)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, starter_weights: WeightStore) -> Path:
    """The folder of a run that was cancelled in its second stage and then finished."""
    folder = tmp_path_factory.mktemp("tuning")
    draw_icons(folder / "icons")
    settings, token = Settings(home=folder / "home"), CancelToken()

    def stop_in_the_denoiser(step: Progress) -> None:
        if step.stage == "denoiser" and step.done == 7:
            token.cancel()

    with pytest.raises(Cancelled, match="7 steps, which are kept"):
        tune_diffusion(
            recipe(folder), settings=settings, progress=stop_in_the_denoiser, cancel=token
        )
    report = tune_diffusion(recipe(folder), settings=settings)
    assert report.autoencoder is not None
    assert report.autoencoder.resumed
    assert report.denoiser is not None
    assert report.denoiser.resumed
    assert report.classifier is not None
    assert not report.classifier.resumed
    assert report.denoiser.steps == 20
    assert sum(report.images.values()) == 48
    return folder


@pytest.mark.full
def test_each_stage_learns_and_logs(trained: Path) -> None:
    for stage, name in (("autoencoder", "l1"), ("denoiser", "loss")):
        rows = [json.loads(line) for line in (trained / "run" / stage / "log.jsonl").open()]
        values = [row[name] for row in rows if name in row]
        assert values[-1] < 0.9 * values[0], stage
        assert (trained / "run" / stage / "curves.png").stat().st_size > 1000
        assert list((trained / "run" / stage).glob("strip-*.png")), stage


@pytest.mark.full
def test_what_was_trained_makes_images(trained: Path, starter_weights: WeightStore) -> None:
    model = LatentModel(trained / "run" / "model", starter_weights.ensure("minilm-l6-v2"))
    imaginer = Imaginer(model)
    assert imaginer.styles == ("bold style", "flat style", "line style")
    assert imaginer.class_names[:2] == ["round things", "straight things"]
    made = imaginer.imagine(ImagineRequest(prompt="red square", style="flat", steps=3, seed=1))
    assert made.images[0].png.startswith(b"\x89PNG")


@pytest.mark.full
def test_one_stage_by_the_clock(trained: Path) -> None:
    before = (trained / "run" / "denoiser" / "log.jsonl").read_text()
    long = recipe(
        trained, classifier={"steps": 100_000, "channels": [16, 24], "shift": 1, "mirror": True}
    )
    with pytest.raises(UsageError, match="run of another recipe"):
        tune_diffusion(long, settings=Settings(home=trained / "home"), stages=["classifier"])
    report = tune_diffusion(
        long,
        settings=Settings(home=trained / "home"),
        stages=["classifier"],
        max_minutes=0.01,
        resume=False,
    )
    assert report.autoencoder is None
    assert report.denoiser is None
    assert report.classifier is not None
    assert 1 <= report.classifier.steps < 100_000
    assert report.classifier.seconds < 30
    assert (trained / "run" / "denoiser" / "log.jsonl").read_text() == before


@pytest.mark.full
def test_a_stage_needs_the_autoencoder(trained: Path, tmp_path: Path) -> None:
    values = recipe(trained).model_dump(mode="json") | {"output": str(tmp_path / "none")}
    with pytest.raises(UsageError, match="train the stage autoencoder first"):
        tune_diffusion(
            parse_recipe(values, DiffusionRecipe),
            settings=Settings(home=trained / "home"),
            stages=["denoiser"],
        )


def test_a_stage_without_a_gpu() -> None:
    stage = DenoiserStage(steps=30_000, batch_size=256, cpu={"steps": 8_000, "batch_size": 32})
    assert (stage.on("cuda").steps, stage.on("cpu").steps) == (30_000, 8_000)
    assert stage.on("cpu", 2.5).max_minutes == 2.5
    with pytest.raises(UsageError, match=r"no key 'denoiser\.batch'"):
        parse_recipe({"data": {"folder": "x"}, "denoiser": {"cpu": {"batch": 3}}}, DiffusionRecipe)


def test_moved_latents() -> None:
    latents = torch.arange(16.0).view(1, 1, 4, 4).repeat(64, 1, 1, 1)
    same = moved(latents, 0, torch.Generator())
    assert same is latents
    shifted = moved(latents, 1, torch.Generator().manual_seed(0))
    places = {tuple(one.flatten().tolist()) for one in shifted}
    assert len(places) == 9
    assert tuple(latents[0].flatten().tolist()) in places


@pytest.mark.gpu
def test_the_gpu_trains(trained: Path, tmp_path: Path) -> None:
    changes = {name: {"compile": True} for name in ("autoencoder", "denoiser", "classifier")}
    values = recipe(trained, **changes).model_dump(mode="json") | {"output": str(tmp_path / "run")}
    settings = Settings(home=tmp_path / "home", device="cuda")
    report = tune_diffusion(parse_recipe(values, DiffusionRecipe), settings=settings)
    assert report.denoiser is not None
    assert report.denoiser.steps == 20
    rows = [json.loads(line) for line in (tmp_path / "run/autoencoder/log.jsonl").open()]
    values_ = [row["l1"] for row in rows if "l1" in row]
    assert values_[-1] < 0.9 * values_[0]
    on_cpu = LatentModel(tmp_path / "run/model", WeightStore(settings).ensure("minilm-l6-v2"))
    made = Imaginer(on_cpu).imagine(ImagineRequest(prompt="red square", steps=2, seed=1))
    assert made.images[0].png.startswith(b"\x89PNG")


def test_another_recipe_does_not_go_on(trained: Path) -> None:
    other = recipe(trained, autoencoder={"learning_rate": 5e-3})
    with pytest.raises(UsageError, match="run of another recipe"):
        tune_diffusion(other, settings=Settings(home=trained / "home"))


@pytest.mark.full
@pytest.mark.parametrize("zeros", [True, False])
def test_controlnet(trained: Path, starter_weights: WeightStore, zeros: bool) -> None:
    values = {
        "kind": "canny",
        "model": str(trained / "run" / "model"),
        "output": str(trained / f"control-{zeros}"),
        "install": True,
        "data": {"folder": str(trained / "icons")},
        "training": {
            "steps": 6, "batch_size": 4, "log_every": 2, "image_every": 3,
            "zero_convolutions": zeros, "embedding_channels": [8, 8, 16, 16],
        },
    }  # fmt: skip
    report = tune_controlnet(
        parse_recipe(values, ControlNetRecipe), settings=Settings(home=trained / "home")
    )
    rows = [json.loads(line) for line in (trained / f"control-{zeros}" / "log.jsonl").open()]
    assert [row["step"] for row in rows if "control_error" in row] == [0, 3, 6]
    model = LatentModel(trained / "run" / "model", starter_weights.ensure("minilm-l6-v2"))
    before = Imaginer(model).imagine(ImagineRequest(seed=1, steps=2, scale=1))
    assert Path(report.output, "config.json").is_file()
    assert model.control_kinds == ["canny"]
    square = ControlRequest("canny", trained / "run" / "autoencoder" / "curves.png")
    after = Imaginer(model).imagine(ImagineRequest(seed=1, steps=2, scale=1, controls=[square]))
    assert after.images[0].png != before.images[0].png


def test_sudden_convergence_is_found() -> None:
    errors = [0.9, 0.88, 0.89, 0.4, 0.3]
    rows = [{"step": 10 * n, "control_error": e} for n, e in enumerate(errors)]
    assert converged_at(rows) == 30
    assert converged_at(rows[:1]) is None


def test_split_is_by_concept_and_lasts(tmp_path: Path) -> None:
    icons = read_icons(draw_icons(tmp_path / "icons")).icons
    parts = split_icons(icons, seed=1, names=0.2, pairs=0.2)
    assert sorted(row for rows in parts.values() for row in rows) == list(range(48))
    unseen = {icons[row].concept for row in parts["unseen_names"]}
    assert unseen
    assert not unseen & {icons[row].concept for row in parts["train"] + parts["unseen_pairs"]}
    fewer = [icon for icon in icons if icon.concept not in ("0000", "0001")]
    again = split_icons(fewer, seed=1, names=0.2, pairs=0.2)
    assert {fewer[row] for row in again["train"]} <= {icons[row] for row in parts["train"]}
    assert abs(sum(p for p, _ in icon_captions(icons[0], 0)) - 1) < 1e-9
    assert icon_captions(icons[0], 0)[0][1] == "red square, bold style"


def test_wrong_data_is_said(tmp_path: Path) -> None:
    folder = draw_icons(tmp_path / "icons", styles=("flat",))
    with pytest.raises(UsageError, match="holds no STYLE"):
        read_icons(tmp_path)
    with pytest.raises(UsageError, match="no style 'cubist'"):
        read_icons(folder, ["cubist"])
    with pytest.raises(UsageError, match="no icon is left"):
        read_icons(folder, leave_out=["round things", "straight things"])
    np.savez(folder / "wide.npz", images=np.zeros((2, 4, 4), np.uint8))
    with pytest.raises(UsageError, match=r"\[n, h, w, 3\]"):
        read_icons(folder)
    np.savez(folder / "wide.npz", images=np.zeros((2, 4, 4, 3), np.uint8))
    (folder / "wide.jsonl").write_text('{"name": "x"}\n')
    with pytest.raises(UsageError, match="line 1"):
        read_icons(folder)
    (folder / "wide.npz").write_bytes(b"no archive")
    with pytest.raises(UsageError, match="no array 'images'"):
        read_icons(folder)


@pytest.mark.shared
def test_real_icons(shared: Path) -> None:
    icons = read_icons(shared / "data" / "images" / "emoji", ["noto", "twemoji"])
    assert icons.pixels.shape == (1906 + 1856, 64, 64, 3)
    parts = split_icons(icons.icons, seed=0, names=0.05, pairs=0.05)
    assert 0.03 < len(parts["unseen_names"]) / len(icons.icons) < 0.07
    assert parts["unseen_pairs"] == []  # two styles only


def test_controlnet_of_an_unknown_kind(tmp_path: Path) -> None:
    values = {"kind": "pose", "model": "x", "data": {"folder": "x"}}
    with pytest.raises(UsageError, match="use canny, hough"):
        tune_controlnet(parse_recipe(values, ControlNetRecipe), settings=Settings(home=tmp_path))
