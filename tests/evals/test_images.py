"""Image evaluations over small sets with known answers, and clear errors for wrong ones."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ragcore.datasets.image_metrics import caption_recall, label_recall, top_k
from ragcore.errors import UsageError
from ragcore.evals.image_sets import detect
from ragcore.evals.images import evaluate_images
from ragcore.models import Models
from ragcore.settings import Settings

from ..shared_models import models_of

COLORS = {"red": (255, 0, 0), "green": (0, 160, 0), "blue": (0, 0, 255)}


def write_set(folder: Path, listing: str, rows: list[dict[str, object]], archive: str) -> Path:
    """Rows as JSON Lines, and a zip with a plain image for each of their files."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / listing).write_text("\n".join(json.dumps(row) for row in rows))
    with zipfile.ZipFile(folder / archive, "w") as images:
        for row in rows:
            if "missing" in str(row.get("file", "missing")):
                continue
            image = folder / "one.png"
            Image.new("RGB", (40, 30), COLORS["red"]).save(image)
            images.write(image, str(row["file"]))
            image.unlink()
    return folder


def test_caption_recall_by_hand() -> None:
    images = np.eye(3, dtype=np.float32)
    captions = np.array([[1, 0, 0], [0, 1, 0], [0.9, 0, 0.1]], np.float32)
    result = caption_recall(images, captions, [0, 1, 2])
    assert result["t2i@1"] == pytest.approx(2 / 3)
    assert result["i2t@1"] == pytest.approx(1.0)
    assert result["t2i@5"] == 1.0


def test_equal_scores_do_not_count_as_found() -> None:
    same = np.ones((4, 2), np.float32)
    result = caption_recall(same, same, [0, 1, 2, 3])
    assert result["t2i@1"] == 0.0
    assert result["i2t@1"] == 0.0
    assert result["t2i@5"] == 1.0


def test_caption_recall_agrees_with_counting() -> None:
    rng = np.random.default_rng(0)
    images = rng.normal(size=(30, 8)).astype(np.float32)
    owner = [i for i in range(30) for _ in range(3)]
    captions = images[owner] + rng.normal(0, 1.5, (90, 8)).astype(np.float32)
    result = caption_recall(images, captions, owner)
    scores = captions @ images.T
    ranks = [int((row > row[o]).sum()) for row, o in zip(scores, owner, strict=True)]
    assert result["t2i@5"] == pytest.approx(np.mean([r < 5 for r in ranks]))
    columns = scores.T
    first = [
        min(int((c > c[j]).sum()) for j in range(3 * i, 3 * i + 3)) for i, c in enumerate(columns)
    ]
    assert result["i2t@5"] == pytest.approx(np.mean([r < 5 for r in first]))


def test_label_recall_and_top_k() -> None:
    images = np.array([[1, 0], [0.9, 0.1], [0, 1], [0.1, 0.9], [0.7, 0.7]], np.float32)
    assert label_recall(images, [0, 0, 1, 1, 2])["class_recall@1"] == 1.0
    assert label_recall(images[:2], [0, 1]) == {}
    chances = np.array([[0.7, 0.2, 0.1], [0.1, 0.2, 0.7]], np.float32)
    assert top_k(chances, [0, 1]) == {"zeroshot@1": 0.5, "zeroshot@5": 1.0}


def test_layouts_are_recognized(tmp_path: Path) -> None:
    captions = write_set(tmp_path / "c", "test.jsonl", [{"file": "a.png"}], "test.zip")
    assert detect(captions) == ("captions", captions / "test.jsonl")
    labels = write_set(tmp_path / "l", "labels.jsonl", [{"file": "a.png"}], "images.zip")
    assert detect(labels)[0] == "labels"
    copies = write_set(tmp_path / "n", "gallery.jsonl", [{"file": "a.png"}], "images.zip")
    write_set(copies, "queries.jsonl", [{"file": "a.png"}], "queries.zip")
    assert detect(copies)[0] == "near_duplicates"


A, B = {"file": "a.png"}, {"file": "b.png"}


@pytest.mark.parametrize(
    ("listing", "rows", "expected"),
    [
        ("test.jsonl", [A | {"captions": ["red"]}], "one image"),
        ("test.jsonl", [A | {"captions": []}, B | {"captions": ["x"]}], "line 1: a.png has no"),
        ("test.jsonl", [A | {"captions": [3]}], "list of texts"),
        ("test.jsonl", [{"captions": ["x"]}], "'file' is missing"),
        ("test.jsonl", [{"file": "missing.png", "captions": ["x"]}], "no image 'missing.png'"),
        ("labels.jsonl", [A | {"label": ""}], "line 1: a.png has an empty label"),
        ("labels.jsonl", [A | {"label": "cat"}], "1 label"),
        ("labels.jsonl", [{"file": "missing.png", "label": "cat"}], "no image"),
        ("labels.jsonl", [], "0 label"),
    ],
)
def test_wrong_sets_are_said_in_one_line(
    tmp_path: Path, settings: Settings, listing: str, rows: list[dict[str, object]], expected: str
) -> None:
    folder = write_set(tmp_path / "set", listing, rows, "images.zip")
    with pytest.raises(UsageError, match=expected) as error:
        evaluate_images(folder, models=Models(settings))
    assert "\n" not in str(error.value)


def test_wrong_files(tmp_path: Path, settings: Settings) -> None:
    with pytest.raises(UsageError, match="no such folder"):
        evaluate_images(tmp_path / "nowhere", models=Models(settings))
    with pytest.raises(UsageError, match="no image set"):
        evaluate_images(tmp_path, models=Models(settings))
    (tmp_path / "test.jsonl").write_text("{not json")
    with pytest.raises(UsageError, match="line 1 is not JSON"):
        evaluate_images(tmp_path, models=Models(settings))


def test_copies_with_an_unknown_original(tmp_path: Path, settings: Settings) -> None:
    gallery = [{"archive": "images.zip", "file": f} for f in ("a.png", "b.png")]
    folder = write_set(tmp_path / "set", "gallery.jsonl", gallery, "images.zip")
    query = {"file": "q.png", "variant": "crop", "original": {"archive": "x.zip", "file": "a.png"}}
    write_set(folder, "queries.jsonl", [query], "queries.zip")
    with pytest.raises(UsageError, match="not in gallery"):
        evaluate_images(folder, models=Models(settings))


def test_a_small_captioned_set_with_the_starter_model(
    tmp_path: Path,
    starter_weights,
) -> None:
    """Plain colors: the numbers are those of the layout, not of quality."""
    folder = tmp_path / "set"
    folder.mkdir()
    rows = []
    for name, color in COLORS.items():
        Image.new("RGB", (60, 60), color).save(folder / f"{name}.png")
        rows.append({"file": f"{name}.png", "captions": [name, f"a {name} surface"]})
    (folder / "captions.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    result = evaluate_images(folder, models=models_of())
    assert result["images"] == 3
    assert result["captions"] == 6
    assert {f"{way}@{k}" for way in ("t2i", "i2t") for k in (1, 5, 10)} <= set(result)
    assert result["t2i@5"] == 1.0


@pytest.mark.shared
@pytest.mark.full
def test_starter_clip_on_flickr8k_dev(shared: Path, starter_weights) -> None:
    result = evaluate_images(shared / "data/images/flickr8k", models=models_of())
    assert result["images"] == 1000
    assert result["t2i@1"] >= 0.25
    assert result["t2i@5"] >= 0.54
    assert result["t2i@10"] >= 0.68
    assert result["i2t@1"] >= 0.30
    assert result["i2t@5"] >= 0.59
    assert result["i2t@10"] >= 0.73


@pytest.mark.shared
@pytest.mark.full
def test_starter_clip_zero_shot(shared: Path, starter_weights) -> None:
    result = evaluate_images(shared / "data/images/cifar10", models=models_of())
    assert result["zeroshot@1"] >= 0.59
    assert result["zeroshot@5"] >= 0.93
