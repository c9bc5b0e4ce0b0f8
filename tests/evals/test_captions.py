"""BLEU of captions, and the evaluation on a small set with a small model."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest

from ragcore.datasets.image_metrics import caption_bleu
from ragcore.errors import UsageError
from ragcore.evals.captions import evaluate_captions
from ragcore.settings import Settings
from ragcore.weights import WeightStore

from ..image_models import save_projector, save_small_llm
from ..tuning.clip_samples import save_images


def test_bleu_is_that_of_the_book() -> None:
    said = "A dog runs over green grass."
    assert caption_bleu([said], [["A dog runs over green grass ."]]) == pytest.approx(1)
    assert caption_bleu(["Cats sleep."], [["A dog runs over grass."]]) < 0.05
    # clipped precisions 4/5, 3/4, 2/3, 1/2 and no brevity penalty (Papineni et al. 2002)
    found = caption_bleu(["a b c d x"], [["a b c d e"]])
    assert found == pytest.approx((4 / 5 * 3 / 4 * 2 / 3 * 1 / 2) ** 0.25)
    # the better of several references counts, and images may have different numbers of them
    both = caption_bleu(["a b c d", "e f g h"], [["x", "a b c d"], ["e f g h"]])
    assert both == pytest.approx(1)


def zipped(folder: Path, target: Path, name: str) -> None:
    """A folder with captions.jsonl as NAME.jsonl with NAME.zip, captions made longer."""
    target.mkdir(exist_ok=True)
    text = (folder / "captions.jsonl").read_text("utf-8").replace('["a', '["On black is a')
    (target / f"{name}.jsonl").write_text(text, "utf-8")
    with zipfile.ZipFile(target / f"{name}.zip", "w") as archive:
        for image in folder.glob("*.png"):
            archive.write(image, image.name)


def test_a_model_is_measured_beside_its_baselines(
    starter_weights: WeightStore, tmp_path: Path, settings: Settings
) -> None:
    base = save_small_llm(tmp_path / "llm", starter_weights)
    eyes = save_projector(tmp_path / "eyes", base)
    images = save_images(tmp_path / "images", places=1)
    data = tmp_path / "set"
    zipped(images, data, "dev")
    result = evaluate_captions(data, settings=settings, model=str(eyes), limit=4)
    assert result["pictures"] == 4
    assert result["bleu4_nearest"] is None, "there is no train.jsonl"
    zipped(images, data, "train")
    kept = tmp_path / "said.jsonl"
    result = evaluate_captions(data, settings=settings, model=str(eyes), limit=4, details=kept)
    assert result["model"] == "eyes"
    assert result["bleu4_nearest"] == pytest.approx(1), "the nearest of training is itself"
    for name in ("bleu4", "bleu4_no_picture", "bleu4_other_picture"):
        assert 0 <= result[name] < 0.5, "random weights"
    assert 0 <= result["yes_no"] <= 1
    assert result["seconds_per_caption"] > 0
    rows = [json.loads(line) for line in kept.open()]
    assert [set(row) for row in rows] == [{"file", "caption", "people"}] * 4


def test_wrong_folders_are_reported(tmp_path: Path, settings: Settings) -> None:
    with pytest.raises(UsageError, match="no such folder"):
        evaluate_captions(tmp_path / "none", settings=settings)
    (tmp_path / "labels.jsonl").write_text("")
    with pytest.raises(UsageError, match="holds no captions"):
        evaluate_captions(tmp_path, settings=settings)
