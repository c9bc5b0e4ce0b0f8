"""Contrastive tuning, with a small model and drawn images."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from ragcore.catalog import Catalog, FileState, NewDocument
from ragcore.catalog.documents import store_document
from ragcore.datasets.image_sets import read_captioned
from ragcore.encoders.image_text import OpenClipEncoder
from ragcore.errors import Cancelled, UsageError
from ragcore.readers.images import pixels_sha256, thumbnail
from ragcore.settings import Settings
from ragcore.tuning.clip.data import training_images
from ragcore.tuning.clip.recipe import ClipData, ClipRecipe
from ragcore.tuning.clip.train import tune_clip
from ragcore.types import CancelToken, Progress, ReadDocument, ReadImage
from ragcore.weights import WeightStore

from .clip_samples import draw, save_images, save_small_model


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_small_model(tmp_path_factory.mktemp("models") / "small")


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_images(tmp_path_factory.mktemp("images") / "shapes")


def recipe(model: Path, images: Path, output: Path, **changes: object) -> ClipRecipe:
    values: dict[str, object] = {
        "model": f"local:{model}",
        "output": str(output),
        "data": {"train": str(images), "dev_fraction": 0.3},
        "mode": "full",
        "epochs": 12,
        "batch_size": 24,
        "learning_rate": 3e-3,
        "warmup_steps": 2,
        "augment": {"crop_scale": (0.8, 1.0), "flip": 0.0, "jitter": 0.0, "gray": 0.0},
        **changes,
    }
    return ClipRecipe.model_validate(values)


@pytest.mark.parametrize("loss", ["clip", pytest.param("siglip", marks=pytest.mark.full)])
def test_training_finds_more_and_the_result_is_a_model(
    model: Path, images: Path, tmp_path: Path, settings: Settings, loss: str
) -> None:
    # each pair is judged on its own, so smaller batches and more steps do
    more = {"logit_scale": 10.0, "batch_size": 8, "epochs": 40} if loss == "siglip" else {}
    plan = recipe(model, images, tmp_path / "run", loss=loss, **{"epochs": 20, **more})
    report = tune_clip(plan, settings=settings)
    assert sum(report.metrics.values()) > sum(report.start.values()) + 0.5
    log = [json.loads(line) for line in (tmp_path / "run/log.jsonl").read_text().splitlines()]
    assert [row["epoch"] for row in log] == list(range(plan.epochs + 1))
    assert log[-1]["loss"] < log[1]["loss"]
    assert (tmp_path / "run/curves.png").read_bytes().startswith(b"\x89PNG")
    encoder = OpenClipEncoder(f"local:{report.output}", settings=settings, backend="torch")
    red, blue = encoder.encode_texts(["a red square", "a blue square"])
    image = encoder.encode_images([draw("red", "square", 1)])[0]
    assert image @ red > image @ blue


def test_a_cancelled_run_resumes_to_the_same_weights(
    model: Path, images: Path, tmp_path: Path, settings: Settings
) -> None:
    straight = tune_clip(recipe(model, images, tmp_path / "a", epochs=4), settings=settings)
    token = CancelToken()

    def stop_in_third_epoch(progress: Progress) -> None:
        if progress.done >= 3:
            token.cancel()

    plan = recipe(model, images, tmp_path / "b", epochs=4)
    with pytest.raises(Cancelled):
        tune_clip(plan, settings=settings, progress=stop_in_third_epoch, cancel=token)
    resumed = tune_clip(plan, settings=settings)
    assert resumed.resumed
    assert not straight.resumed
    assert resumed.steps == straight.steps
    one, two = (
        OpenClipEncoder(f"local:{report.output}", settings=settings, backend="torch")
        for report in (straight, resumed)
    )
    texts = ["a red square", "bar in green"]
    np.testing.assert_allclose(one.encode_texts(texts), two.encode_texts(texts), atol=1e-5)


@pytest.mark.parametrize("mode", ["heads", "lora"])
def test_fewer_trained_weights_still_learn(
    model: Path, images: Path, tmp_path: Path, settings: Settings, mode: str
) -> None:
    plan = recipe(model, images, tmp_path / mode, mode=mode, learning_rate=1e-2)
    report = tune_clip(plan, settings=settings)
    full = sum(p.numel() for p in _parameters(model, settings))
    assert report.trained_weights < full / 10
    assert sum(report.metrics.values()) > sum(report.start.values())
    OpenClipEncoder(f"local:{report.output}", settings=settings, backend="torch").warm_up()


def test_early_stopping(model: Path, images: Path, tmp_path: Path, settings: Settings) -> None:
    plan = recipe(model, images, tmp_path / "run", patience=2, epochs=50, learning_rate=1e-9)
    report = tune_clip(plan, settings=settings)
    assert report.stopped_early
    assert report.epochs < 50


def test_pairs_take_the_place_of_the_data(
    model: Path, images: Path, tmp_path: Path, settings: Settings
) -> None:
    files = sorted(images.glob("*.png"))[:12]
    pairs = [(file, f"a {file.stem.replace('-', ' ')}") for file in files]
    plan = recipe(model, images, tmp_path / "run", data={"dev_fraction": 0.3}, epochs=1)
    assert tune_clip(plan, settings=settings, pairs=pairs).steps == 1


def test_another_recipe_in_the_same_folder_is_refused(
    model: Path, images: Path, tmp_path: Path, settings: Settings
) -> None:
    tune_clip(recipe(model, images, tmp_path / "run", epochs=1), settings=settings)
    changed = recipe(model, images, tmp_path / "run", epochs=2)
    with pytest.raises(UsageError, match="another recipe"):
        tune_clip(changed, settings=settings)
    assert tune_clip(changed, settings=settings, resume=False).epochs == 2


def test_wrong_recipes_are_named(
    model: Path, images: Path, tmp_path: Path, settings: Settings
) -> None:
    file = tmp_path / "r.toml"
    for text, expected in [
        ("epochs = 0", "epochs"),
        ("ephocs = 3", "ephocs"),
        ("cache_features = true\nmode = 'full'", "cache_features"),
        ("mode = ", "not TOML"),
        ("", "training data"),
        ("[data]\ntrain = 'nowhere.jsonl'", "nowhere.jsonl"),
    ]:
        file.write_text(text)
        with pytest.raises(UsageError, match=expected):
            tune_clip(file, settings=settings)
    cached = recipe(model, images, tmp_path / "run", mode="heads", cache_features=True)
    with pytest.raises(UsageError, match="timm"):
        tune_clip(cached, settings=settings)


def test_too_few_images(model: Path, images: Path, tmp_path: Path, settings: Settings) -> None:
    only = [(next(images.glob("*.png")), "an image")]
    with pytest.raises(UsageError, match="at least 2"):
        tune_clip(recipe(model, images, tmp_path / "run"), settings=settings, pairs=only)


def _parameters(model: Path, settings: Settings) -> list:
    from ragcore.encoders.clip_models import load_clip

    return list(load_clip(f"local:{model}", settings=settings).model.parameters())


@pytest.mark.full
def test_starter_clip_is_trained_from_cached_features(
    images: Path, tmp_path: Path, starter_weights: WeightStore
) -> None:
    """Its members learn, and what is written loads into a fresh model."""
    import torch
    from safetensors.torch import load_file

    from ragcore.encoders import starter_clip, starter_heads, starter_space

    plan = ClipRecipe.model_validate(
        {
            "output": str(tmp_path / "run"),
            "data": {"train": str(images), "dev_fraction": 0.3},
            "epochs": 6,
            "batch_size": 24,
            "learning_rate": 3e-3,
            "warmup_steps": 2,
            "cache_features": True,
            "cache_views": 2,
            "eval_every": 3,
        }
    )
    settings = Settings(threads=2)
    report = tune_clip(plan, settings=settings)
    assert sum(report.metrics.values()) > sum(report.start.values()) + 0.3
    written = load_file(Path(report.output) / starter_clip.SHIPPED_WEIGHTS)
    assert not set(starter_clip.FROM_PACKAGES) & set(written)
    assert not any(name.startswith(("visual.trunk", "text.transformer")) for name in written)
    fresh = starter_clip.build_untrained(settings)
    starter_clip.apply_changes(fresh.model, {k: v.float() for k, v in written.items()})
    image_head, _ = starter_clip.heads(fresh.model)
    features = torch.rand(3, starter_heads.FEATURES)
    learned = fresh.model.visual.head(features)[:, : starter_space.LEARNED]
    torch.testing.assert_close(learned.norm(dim=-1), torch.ones(3))
    assert image_head.usual.abs().max() > 0


def test_a_collection_is_trained_on(
    model: Path, images: Path, tmp_path: Path, settings: Settings
) -> None:
    catalog = Catalog(settings.catalog_url)
    row = catalog.create_collection("figures")
    items = read_captioned(images)
    for number, item in enumerate(items):
        image = item.open()
        path = tmp_path / f"{number}.png"
        image.save(path)
        record = ReadImage(
            width=image.width,
            height=image.height,
            pixels_sha256=pixels_sha256(image),
            thumbnail=thumbnail(image),
            caption=item.captions[0] if number else "",
        )
        read = ReadDocument("image/png", path.name, images=(record,))
        new = NewDocument(FileState(str(path), path.name, 1000, 0), read, [], media=[""])
        with catalog.write() as session:
            store_document(session, row.id, new)
    plan = recipe(model, images, tmp_path / "run", epochs=1)
    plan = plan.model_copy(update={"data": ClipData(train="collection:figures", dev_fraction=0.3)})
    train, dev = training_images(plan, settings, None)
    assert len(train) + len(dev) == len(items) - 1, "the one without a caption is left out"
    assert {c for item in [*train, *dev] for c in item.captions} <= {
        c for item in items for c in item.captions
    }
    report = tune_clip(plan, settings=settings)
    assert (tmp_path / "run" / "model").is_dir()
    assert report.metrics
    catalog.create_collection("bare")
    for name, message in (("bare", "has a caption"), ("nope", "no collection named")):
        wrong = plan.model_copy(update={"data": ClipData(train=f"collection:{name}")})
        with pytest.raises(UsageError, match=message):
            tune_clip(wrong, settings=settings)
    catalog.close()
