"""Probes on drawn icons and a tiny autoencoder that was never trained: still, place is linear."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ragcore.datasets.icons import read_icons
from ragcore.diffusion import latents
from ragcore.diffusion.model import LatentModel
from ragcore.errors import ModelUnavailable, UsageError
from ragcore.weights import WeightStore
from recipes.icon_probes import evaluate_probe, main
from recipes.icon_scenes import make_scenes
from tests.diffusion.icons import draw_icons
from tests.diffusion.tiny import make_model

from ..shared_models import models_of


@pytest.fixture(scope="module")
def icons(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_icons(tmp_path_factory.mktemp("icons"))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory, starter_weights: WeightStore) -> LatentModel:
    """A copy of its own: probes are written into the folder."""
    folder = make_model(tmp_path_factory.mktemp("probed") / "model")
    return LatentModel(folder, starter_weights.ensure("minilm-l6-v2"))


@pytest.fixture(scope="module")
def table(icons: Path, model: LatentModel) -> dict[str, dict[str, dict[str, float]]]:
    return evaluate_probe(icons, models=models_of(), model=model, count=800, save=model.folder)


def test_scenes_say_what_is_true_of_them(icons: Path) -> None:
    scenes = make_scenes(read_icons(icons), 60, seed=1)
    assert scenes.pixels.shape == (60, 32, 32, 3)
    for row in range(60):
        ink = scenes.pixels[row].min(axis=2) < 243
        columns = np.nonzero(ink.any(axis=0))[0]
        assert columns[0] / 32 <= scenes.numbers["x"][row] <= (columns[-1] + 1) / 32
    assert np.ptp(scenes.numbers["x"]) > 0.3
    again = make_scenes(read_icons(icons), 60, seed=1)
    assert (again.pixels == scenes.pixels).all()
    assert (make_scenes(read_icons(icons), 60, seed=2).pixels != scenes.pixels).any()


@pytest.mark.full
def test_place_is_linear_and_shuffled_labels_are_not(
    table: dict[str, dict[str, dict[str, float]]],
) -> None:
    for attribute in ("x", "y"):
        row = table["r2"][attribute]
        assert set(row) == {"latents", "shuffled", "image_encoder", "pixels"}
        assert row["latents"] > 0.3 > 0.15 > row["shuffled"], (attribute, row)
    group = table["accuracy"]["group"]
    assert group["shuffled"] <= group["most_frequent"] + 0.15
    assert all(0 <= value <= 1 for value in group.values())


@pytest.mark.full
def test_probes_are_kept_and_read_what_they_measured(
    icons: Path, model: LatentModel, table: dict[str, dict[str, dict[str, float]]]
) -> None:
    probes = latents.load_probes(model.folder)
    assert {name: probe.r2 for name, probe in probes.items()} == {
        name: pytest.approx(row["latents"]) for name, row in table["r2"].items()
    }
    scenes = make_scenes(read_icons(icons), 100, seed=5)
    read = probes["x"].read(latents.encode(model, scenes.pixels))
    assert np.corrcoef(read, scenes.numbers["x"])[0, 1] > 0.6


@pytest.mark.full
def test_moving_a_code_moves_what_is_read(
    icons: Path, model: LatentModel, table: dict[str, dict[str, dict[str, float]]]
) -> None:
    scene = make_scenes(read_icons(icons), 1, seed=3).pixels[0]
    same, read = latents.edit(model, scene, {})
    edited, again = latents.edit(model, scene, {"lightness": 3.0})
    assert again == read
    assert edited.shape == same.shape == (32, 32, 3)
    assert (edited != same).any()
    probe = latents.load_probes(model.folder)["lightness"]
    latent = latents.encode(model, scene[None])
    assert probe.read(latent + probe.direction)[0] > probe.read(latent)[0]
    with pytest.raises(UsageError, match="no probe 'charm'"):
        latents.edit(model, scene, {"charm": 1})
    with pytest.raises(UsageError, match="10 standard deviations"):
        latents.edit(model, scene, {"x": float("nan")})


def test_between_two_codes(icons: Path, model: LatentModel) -> None:
    first, second = make_scenes(read_icons(icons), 2, seed=4).pixels
    steps = latents.interpolate(model, first, second, 5)
    assert steps.shape == (5, 32, 32, 3)
    ends = latents.decode(model, latents.encode(model, np.stack([first, second])))
    assert np.abs(steps[[0, -1]].astype(int) - ends).max() <= 1
    for count in (0, 1, 65):
        with pytest.raises(UsageError, match="2 to 64 steps"):
            latents.interpolate(model, first, second, count)


def test_a_broken_file_of_probes_is_named(model: LatentModel, tmp_path: Path) -> None:
    assert latents.load_probes(tmp_path) == {}
    (tmp_path / latents.PROBES).write_bytes(b"\x00" * 40)
    with pytest.raises(ModelUnavailable, match="holds no probes"):
        latents.load_probes(tmp_path)


def test_too_few_icons_and_none(
    tmp_path: Path, model: LatentModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = replace(model.card, data={"styles": ["blank"], "leave_out": []})
    monkeypatch.setattr(model, "card", own)
    white = np.full((3, 32, 32, 3), 255, np.uint8)
    lines = [json.dumps({"codepoints": [f"{n:04X}"], "name": f"n{n}"}) for n in range(3)]
    np.savez(tmp_path / "blank.npz", images=white)
    (tmp_path / "blank.jsonl").write_text("\n".join(lines))
    with pytest.raises(UsageError, match="differs from its ground"):
        evaluate_probe(tmp_path, models=models_of(), model=model, count=200)
    white[:, 8:20, 8:20] = 0
    np.savez(tmp_path / "blank.npz", images=white)
    with pytest.raises(UsageError, match="3 icons are too few"):
        evaluate_probe(tmp_path, models=models_of(), model=model, count=200)


def test_command_on_what_is_no_set_of_icons(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["icon_probes", str(tmp_path)])
    with pytest.raises(UsageError, match=r"no STYLE\.npz"):
        main()
