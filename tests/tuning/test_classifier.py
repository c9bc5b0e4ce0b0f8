"""Classifiers of one's own categories, with small models that a test has saved."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ragcore.encoders.backbones import Backbone
from ragcore.encoders.classifier import Classifier, classifiers_folder, list_classifiers
from ragcore.errors import Cancelled, ModelUnavailable, UsageError
from ragcore.models import Models
from ragcore.settings import Settings
from ragcore.tuning.classifier.data import read_examples
from ragcore.tuning.classifier.recipe import ClassifierData
from ragcore.tuning.classifier.train import tune_classifier
from ragcore.types import CancelToken, Progress
from tests.encoders.small_models import save_clip, save_text_encoder

from .classifier_samples import draw_classes, recipe, save_timm, save_vit, write_texts


def opened(name: str, settings: Settings) -> Classifier:
    return Classifier(name, settings, Models(settings))


@pytest.fixture(scope="module")
def resnet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_timm(tmp_path_factory.mktemp("models") / "resnet")


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_classes(tmp_path_factory.mktemp("images") / "shapes")


def test_three_ways_on_one_split_make_one_table(
    resnet: Path, images: Path, tmp_path: Path, settings: Settings
) -> None:
    plan = recipe(resnet, images, tmp_path / "run", ways=("full", "features", "lora"))
    report = tune_classifier(plan, settings=settings)
    assert [(row["way"], row["shots"]) for row in report.rows] == [
        ("features", 1), ("features", 0), ("lora", 0), ("full", 0),
    ]  # fmt: skip
    assert report.split == {"train": 15, "dev": 3, "test": 6}
    features, lora, full = report.rows[1:]
    assert features["trained_weights"] < lora["trained_weights"] < full["trained_weights"]
    assert 0 < features["bytes"] < lora["bytes"] < full["bytes"]
    assert features["trained_weights"] == 3 * (
        Backbone(plan.backbone, "image", Models(settings)).dimension + 1
    )
    for row in report.rows:
        assert row["low"] <= row["accuracy"] <= row["high"]
        assert row["tested"] == 6
        assert row["seconds"] > 0
        assert row["peak_bytes"] > 1e6
    assert full["steps"] == lora["steps"] == 4
    assert features["accuracy"] > 0.5  # colors are recognized by random features too
    result = json.loads((Path(report.folder) / "confusion.json").read_text())
    assert np.array(result["matrix"]).sum() == 6
    for name in ("confusion.png", "calibration.png", "curve.png"):
        assert Image.open(Path(report.folder) / name).width > 200


@pytest.mark.parametrize("way", ["features", "lora", "full"])
def test_what_was_measured_is_what_is_kept(
    resnet: Path, images: Path, tmp_path: Path, settings: Settings, way: str
) -> None:
    plan = recipe(
        resnet, images, tmp_path / "run", ways=(way,), keep=way, refit=False, curve=(), name=way
    )
    report = tune_classifier(plan, settings=settings)
    made = opened(way, settings)
    assert made.card.way == way
    assert made.card.labels == ("blue", "green", "red")
    files = sorted(images.rglob("*.png"))
    chances = made.from_items([Image.open(file).convert("RGB") for file in files])
    assert chances.shape == (24, 3)
    assert np.allclose(chances.sum(1), 1, atol=1e-4)
    wrong = {
        file.relative_to(images).as_posix()
        for file, row in zip(files, chances, strict=True)
        if made.card.labels[int(row.argmax())] != file.parent.name
    }
    result = json.loads((Path(report.folder) / "results.json").read_text())
    assert len(result["mistakes"]) == round(6 * (1 - report.rows[0]["accuracy"]))
    assert {one["name"] for one in result["mistakes"]} <= wrong


@pytest.mark.parametrize("kind", ["vit", "clip"])
def test_other_image_models(images: Path, tmp_path: Path, settings: Settings, kind: str) -> None:
    model = save_vit(tmp_path / "vit") if kind == "vit" else save_clip(tmp_path)
    plan = recipe(model, images, tmp_path / "run", ways=("features", "lora"), curve=())
    report = tune_classifier(plan, settings=settings)
    assert report.rows[0]["accuracy"] > 0.4
    assert opened("shapes", settings).card.dimension == 32


def test_texts_and_their_model(tmp_path: Path, settings: Settings) -> None:
    model = save_text_encoder(tmp_path / "model")
    data = write_texts(tmp_path / "texts.jsonl")
    plan = recipe(
        model, data, tmp_path / "run", ways=("features", "lora", "full"), keep="full", curve=()
    )
    report = tune_classifier(plan, settings=settings)
    assert report.modality == "text"
    assert report.rows[0]["accuracy"] > 0.6
    result = opened("shapes", settings).from_items(["tax law law tax law query"])
    assert result.shape == (1, 2)


def test_a_stopped_run_goes_on_and_ends_the_same(
    resnet: Path, images: Path, tmp_path: Path, settings: Settings
) -> None:
    plan = recipe(resnet, images, tmp_path / "run", ways=("features", "full"), curve=())
    token = CancelToken()

    def stop(step: Progress) -> None:
        if step.stage == "full" and step.done == 2:
            token.cancel()

    with pytest.raises(Cancelled, match="1 of the trainings"):
        tune_classifier(plan, settings=settings, progress=stop, cancel=token)
    assert list_classifiers(settings) == []
    report = tune_classifier(plan, settings=settings)
    assert report.resumed
    whole = tune_classifier(
        plan.model_copy(update={"output": str(tmp_path / "other")}), settings=settings
    )
    for one, other in zip(report.rows, whole.rows, strict=True):
        assert one["accuracy"] == other["accuracy"]
    with pytest.raises(UsageError, match="another recipe"):
        tune_classifier(plan.model_copy(update={"seed": 3}), settings=settings)


def test_flipped_labels_are_measured_and_found(tmp_path: Path, settings: Settings) -> None:
    model = save_text_encoder(tmp_path / "model")
    texts = write_texts(tmp_path / "texts.jsonl", each=40)
    plan = recipe(model, texts, tmp_path / "run", curve=())
    plan = plan.model_copy(update={"data": ClassifierData(train=str(texts), flipped=0.1)})
    result = tune_classifier(plan, settings=settings).flipped
    assert result["flipped"] == 6  # of 60 to learn from
    assert result["recall"] > 0.6
    assert result["precision"] > 0.5
    assert result["accuracy_flipped"] <= result["accuracy_clean"]


def test_wrong_labels_are_proposed_for_review(
    resnet: Path, tmp_path: Path, settings: Settings
) -> None:
    data = draw_classes(tmp_path / "swapped", each=12)
    (data / "red" / "0.png").rename(data / "blue" / "swapped.png")
    report = tune_classifier(recipe(resnet, data, tmp_path / "run", curve=()), settings=settings)
    result = json.loads((Path(report.folder) / "suspicious.json").read_text())
    assert report.suspicious == len(result)
    assert "blue/swapped.png" in [one["name"] for one in result]
    found = next(one for one in result if one["name"] == "blue/swapped.png")
    assert (found["label"], found["proposed"]) == ("blue", "red")


def test_awkward_folders(resnet: Path, tmp_path: Path, settings: Settings) -> None:
    def report_of(data: Path, **more: object) -> list[str]:
        plan = recipe(resnet, data, tmp_path / f"run-{data.name}", curve=(), **more)
        return list(tune_classifier(plan, settings=settings).notes)

    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(UsageError, match="one sub-folder a class"):
        report_of(empty)
    (empty / "cats").mkdir()
    with pytest.raises(UsageError, match="no labelled examples"):
        report_of(empty)
    with pytest.raises(UsageError, match="no labelled examples at"):
        report_of(tmp_path / "missing")
    one = draw_classes(tmp_path / "one", classes=("red",))
    with pytest.raises(UsageError, match=r"one class only \('red'\)"):
        report_of(one)
    single = draw_classes(tmp_path / "single", each=1)
    with pytest.raises(UsageError, match="every class has one example"):
        report_of(single)
    mixed = draw_classes(tmp_path / "mixed", each=4)
    (mixed / "Red ").mkdir()
    draw_classes(tmp_path / "more", classes=("red",), each=5)
    (tmp_path / "more" / "red" / "4.png").rename(mixed / "Red " / "x.png")
    (mixed / "blue" / "0.png").write_bytes(b"\x89PNG no image")
    (mixed / "blue" / "empty.png").write_bytes(b"")
    (mixed / "green" / "copy.png").write_bytes((mixed / "green" / "1.png").read_bytes())
    (mixed / "co$t in $").mkdir()  # matplotlib would take it for a formula
    Image.new("RGB", (9, 9)).save(mixed / "co$t in $" / "1.png")
    notes = "\n".join(report_of(mixed))
    assert "'Red ', 'red' are one class" in notes
    assert "2 example(s) could not be read" in notes
    assert "1 exact copy" in notes
    assert "1 class(es) with one example ('co$t in $')" in notes


def test_one_training_of_a_name_at_a_time(
    resnet: Path, images: Path, tmp_path: Path, settings: Settings
) -> None:
    plan = recipe(resnet, images, tmp_path / "run", curve=())
    refused = []

    def again(step: Progress) -> None:
        if step.stage == "features" and not refused:
            with pytest.raises(UsageError, match="is being trained already"):
                tune_classifier(plan, settings=settings)
            refused.append(step)

    tune_classifier(plan, settings=settings, progress=again)
    assert refused


def test_broken_images_only(resnet: Path, tmp_path: Path, settings: Settings) -> None:
    for name in ("a", "b"):
        (tmp_path / "bad" / name).mkdir(parents=True)
        for number in range(3):
            (tmp_path / "bad" / name / f"{number}.jpg").write_bytes(b"no image")
    plan = recipe(resnet, tmp_path / "bad", tmp_path / "run")
    with pytest.raises(UsageError, match="none of the 6 examples can be read"):
        tune_classifier(plan, settings=settings)


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        ("a.csv", "file,color\nx.png,red\n", "must name the columns"),
        ("a.csv", "text,label\nhello,\n", "line 2: the field 'label' is missing"),
        ("a.csv", "text,label\n,greeting\n", "neither a 'file' nor a 'text'"),
        ("a.csv", "file,label\ngone.png,red\n", "no image 'gone.png'"),
        ("a.jsonl", '{"text": "hello"\n', "line 1 is not JSON"),
        ("a.jsonl", '{"text": "hello"}\n', "'label' is missing"),
        ("a.txt", "hello", "no list of labels"),
    ],
)
def test_wrong_lists(tmp_path: Path, name: str, text: str, problem: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(UsageError, match=problem):
        read_examples(tmp_path / name)


def test_a_thousand_classes(tmp_path: Path, settings: Settings) -> None:
    model = save_text_encoder(tmp_path / "model")
    rows = [
        json.dumps(
            {
                "text": f"ship {chr(97 + n % 26)}{chr(97 + n // 26 % 26)} {n} {again}",
                "label": f"class {n}",
            }
        )
        for n in range(1000)
        for again in range(2)
    ]
    (tmp_path / "many.jsonl").write_text("\n".join(rows))
    plan = recipe(
        model, tmp_path / "many.jsonl", tmp_path / "run", curve=(), folds=2, strengths=(1.0,)
    )
    report = tune_classifier(plan, settings=settings)
    assert len(report.labels) == 1000
    assert report.rows[0]["tested"] == 1000
    assert opened("shapes", settings).from_items(["ship aa 0 0"]).shape == (
        1,
        1000,
    )
    too_many = "".join(json.dumps({"text": f"t{n}", "label": f"c{n}"}) + "\n" for n in range(2001))
    (tmp_path / "more.jsonl").write_text(too_many)
    with pytest.raises(UsageError, match="at most 2,000"):
        tune_classifier(recipe(model, tmp_path / "more.jsonl", tmp_path / "x"), settings=settings)


def test_a_given_test_set_is_never_trained_on(
    resnet: Path, tmp_path: Path, settings: Settings
) -> None:
    data, held_out = draw_classes(tmp_path / "train"), tmp_path / "held"
    for name in ("red", "green", "blue"):
        (held_out / name).mkdir(parents=True)
        (held_out / name / "0.png").write_bytes((data / name / "0.png").read_bytes())
    both = ClassifierData(train=str(data), test=str(held_out))
    report = tune_classifier(
        recipe(resnet, data, tmp_path / "run", data=both, curve=()), settings=settings
    )
    assert report.split["test"] == 3
    assert report.split["train"] + report.split["dev"] == 21
    assert "3 exact copy or copies are left out" in report.notes


def test_damaged_and_hostile_classifiers(
    resnet: Path, images: Path, tmp_path: Path, settings: Settings
) -> None:
    tune_classifier(recipe(resnet, images, tmp_path / "run", curve=()), settings=settings)
    folder = classifiers_folder(settings) / "shapes"
    for name in ("../shapes", "", ".hidden", "a/b", "x" * 80):
        with pytest.raises(UsageError, match="cannot name a classifier"):
            opened(name, settings)
    with pytest.raises(UsageError, match="known: shapes"):
        opened("colors", settings)
    weights = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(weights[:50])
    with pytest.raises(ModelUnavailable, match="weights of classifier 'shapes' are damaged"):
        opened("shapes", settings).from_items([Image.new("RGB", (40, 40))])
    (folder / "classifier.json").write_text('{"labels": 3}')
    with pytest.raises(ModelUnavailable, match="train the classifier again"):
        opened("shapes", settings)
    assert list_classifiers(settings) == []


def test_a_model_of_the_wrong_kind(images: Path, tmp_path: Path, settings: Settings) -> None:
    model = save_text_encoder(tmp_path / "model")
    with pytest.raises(UsageError, match="takes no images"):
        tune_classifier(recipe(model, images, tmp_path / "run"), settings=settings)
    with pytest.raises(ModelUnavailable, match="there is no folder"):
        tune_classifier(recipe(tmp_path / "gone", images, tmp_path / "run"), settings=settings)


def test_wrong_recipes(resnet: Path, images: Path, tmp_path: Path) -> None:
    for wrong in (
        {"name": "../x"}, {"ways": ()}, {"ways": ("features", "features")}, {"ways": ("magic",)},
        {"curve": (0,)}, {"strengths": ()}, {"steps": 3},
    ):  # fmt: skip
        with pytest.raises(ValueError, match="1 validation error"):
            recipe(resnet, images, tmp_path / "run", **wrong)
