"""Tuning a projector: packing, questions from captions, training and its files."""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import pytest

from ragcore.datasets.caption_questions import make_questions
from ragcore.datasets.image_sets import read_captioned
from ragcore.errors import Cancelled, UsageError
from ragcore.models import Models
from ragcore.settings import Settings
from ragcore.tuning.recipe import read_recipe
from ragcore.tuning.vision.data import tidy
from ragcore.tuning.vision.packing import TreeMaker, to_batch
from ragcore.tuning.vision.recipe import ProjectorRecipe
from ragcore.tuning.vision.scores import tree_logits
from ragcore.tuning.vision.train import tune_projector
from ragcore.types import CancelToken, Progress
from ragcore.weights import WeightStore

from ..image_models import save_small_llm
from .clip_samples import save_images


@pytest.fixture(scope="module")
def base(starter_weights: WeightStore, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_small_llm(tmp_path_factory.mktemp("projector") / "llm", starter_weights)


@pytest.fixture(scope="module")
def images(base: Path) -> Path:
    return save_images(base.parent / "images", places=1)


def recipe(base: Path, images: Path, output: Path, **changes: object) -> ProjectorRecipe:
    values: dict[str, object] = {
        "base": str(base), "output": str(output), "side": 2, "hidden": 16,
        "data": {"train": str(images), "dev_fraction": 0.2},
        "captions": {"steps": 6, "learning_rate": 3e-3},
        "questions": {"steps": 30, "learning_rate": 1e-2, "projector_rate": 3e-3, "rank": 4},
        "batch_size": 4, "warmup_steps": 2, "dev_every": 20, "dev_limit": 4, "log_every": 6,
        **changes,
    }  # fmt: skip
    return ProjectorRecipe.model_validate(values)


def test_an_answer_in_a_tree_gets_the_logits_of_a_sequence_of_its_own(base: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(base)
    maker = TreeMaker(AutoTokenizer.from_pretrained(base), 3)
    asked = [
        [("Describe the picture.", ["A dog.", "Two dogs run."]), ("Is there a cat?", ["No."])],
        [("How many?", ["Three of them."])],
    ]
    cells = torch.randn(2, 3, 64)
    with torch.inference_mode():
        batch = to_batch([maker.make(one) for one in asked])
        packed = tree_logits(model, batch, cells)
        place, table = 0, model.get_input_embeddings()
        for row, questions in enumerate(asked):
            for question, answers in questions:
                for answer in answers:
                    before, after = maker.prompt(question)
                    ids = maker.tokenizer(answer + maker.tokenizer.eos_token)["input_ids"]
                    parts = [table(torch.tensor(list(before))), cells[row]]
                    parts.append(table(torch.tensor([*after, *ids])))
                    plain = model(inputs_embeds=torch.cat(parts)[None]).logits[0]
                    found = packed[place : place + len(ids)]
                    assert batch.targets[place : place + len(ids)].tolist() == ids
                    assert torch.allclose(found, plain[-len(ids) - 1 : -1], atol=1e-4)
                    place += len(ids)
    assert place == len(batch.targets)


def test_questions_say_what_captions_agree_on() -> None:
    captions = [
        "Two brown dogs run through the grass .",
        "Two dogs are running .",
        "two brown dogs play on grass",
    ]
    found = {q.kind: q for q in make_questions(captions, random.Random(0)) if q.answer != "No."}
    assert found["what"].answer == "Dogs."
    assert (found["count"].text, found["count"].answer) == ("How many dogs are there?", "Two.")
    assert found["colour"].answer == "Brown."
    assert found["is-there"].answer == "Yes."


def test_what_any_caption_names_is_never_denied() -> None:
    captions = ["A boy on a beach .", "A child plays with a puppy near waves ."]
    denied = {
        question.text
        for seed in range(300)
        for question in make_questions(captions, random.Random(seed))
        if question.answer == "No."
    }
    assert len(denied) > 20
    named = ("boy", "child", "person", "kid", "dog", "puppy", "beach", "water", "people")
    assert not [text for text in denied if any(f" {word}?" in text for word in named)]
    assert make_questions(["zzz"], random.Random(0))[0].answer == "No."


def test_captions_become_sentences() -> None:
    assert tidy("  a dog , running \n fast .") == "A dog, running fast."
    assert tidy("Two dogs") == "Two dogs."


def test_training_learns_and_leaves_the_frozen_parts(
    base: Path, images: Path, tmp_path: Path, settings: Settings
) -> None:
    seen: list[Progress] = []
    plan = recipe(base, images, tmp_path / "run")
    report = tune_projector(plan, settings=settings, progress=seen.append)
    assert report.steps == 36
    assert report.base_unchanged
    assert report.tower_unchanged
    rows = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").open()]
    losses = [row["loss"] for row in rows if "loss" in row]
    assert losses[-1] < losses[0] - 2, losses
    assert {row["stage"] for row in rows if "stage" in row} == {1, 2}
    assert [row["step"] for row in rows if "bleu4" in row] == [0, 20, 36]
    assert (tmp_path / "run" / "curves.png").stat().st_size > 1000
    assert {"captions", "captions and questions"} <= {step.stage for step in seen}
    files = {path.name for path in Path(report.output).iterdir()}
    assert files == {
        *("projector.json", "projector.safetensors"),
        *("adapter_config.json", "adapter_model.safetensors"),
    }
    llm = Models(settings).vision_llm(report.output)
    item = read_captioned(images)[0]
    (caption,) = llm.captions([item.open()])
    assert caption.endswith("."), "it learnt to end a sentence"


def test_a_stopped_run_goes_on_to_the_same_weights(
    base: Path, images: Path, tmp_path: Path, settings: Settings
) -> None:
    from safetensors.numpy import load_file

    short = {"captions": {"steps": 3}, "questions": {"steps": 5, "rank": 4}, "dev_every": 50}

    def weights(run: Path) -> dict[str, np.ndarray]:
        names = ("projector.safetensors", "adapter_model.safetensors")
        return {k: v for name in names for k, v in load_file(run / "model" / name).items()}

    tune_projector(recipe(base, images, tmp_path / "whole", **short), settings=settings)
    plan = recipe(base, images, tmp_path / "halves", **short)
    for stop_after in (2, 5):  # in stage 1, then in stage 2
        token = CancelToken()

        def stop(step: Progress, token: CancelToken = token, after: int = stop_after) -> None:
            if step.stage.startswith("captions") and step.done >= after:
                token.cancel()

        with pytest.raises(Cancelled, match=f"after {stop_after} steps"):
            tune_projector(plan, settings=settings, progress=stop, cancel=token)
    report = tune_projector(plan, settings=settings)
    assert report.resumed
    whole, halves = weights(tmp_path / "whole"), weights(tmp_path / "halves")
    assert whole.keys() == halves.keys()
    for name, value in whole.items():
        assert np.allclose(value, halves[name], atol=2e-3), name
    other = recipe(base, images, tmp_path / "halves", **{**short, "seed": 5})
    with pytest.raises(UsageError, match="another recipe"):
        tune_projector(other, settings=settings)


def test_wrong_recipes_and_data_are_reported(
    base: Path, images: Path, tmp_path: Path, settings: Settings
) -> None:
    for text, result in (
        ("sides = 3", "sides"),
        ("side = 8", "side"),
        ("[captions]\nsteps = 0\n[questions]\nsteps = 0", "nothing to train"),
        ("max_minutes = 0", "max_minutes"),
    ):
        path = tmp_path / "wrong.toml"
        path.write_text(text)
        with pytest.raises(UsageError, match=result):
            read_recipe(path, ProjectorRecipe)
    with pytest.raises(UsageError, match="names no training data"):
        tune_projector(recipe(base, images, tmp_path, data={}), settings=settings)
    alone = tmp_path / "alone"
    alone.mkdir()
    (alone / "captions.jsonl").write_text("")
    with pytest.raises(UsageError):
        tune_projector(recipe(base, alone, tmp_path / "x"), settings=settings)


def test_the_shipped_recipe_can_be_read() -> None:
    path = Path(__file__).resolve().parents[2] / "recipes" / "starter-projector.toml"
    assert read_recipe(path, ProjectorRecipe).base == "smollm2-135m-instruct"


@pytest.mark.gpu
def test_training_on_a_gpu_is_mixed_and_its_result_runs_on_a_cpu(
    base: Path, images: Path, tmp_path: Path, settings: Settings
) -> None:
    plan = recipe(base, images, tmp_path / "run")
    report = tune_projector(plan, settings=settings.model_copy(update={"device": "cuda"}))
    assert report.base_unchanged
    assert report.tower_unchanged
    rows = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").open()]
    losses = [row["loss"] for row in rows if "loss" in row]
    assert losses[-1] < losses[0] - 2, losses
    cpu = settings.model_copy(update={"device": "cpu"})
    item = read_captioned(images)[0]
    assert Models(cpu).vision_llm(report.output).captions([item.open()])[0]
