"""The extractive reader: windows, the network, its training, on a tiny BERT of the test's own."""

from __future__ import annotations

import gzip
import json
import random
from pathlib import Path

import pytest
import torch
from transformers import BertModel

from ragcore.encoders.extractive import (
    FrozenLayers,
    Shape,
    SpanHead,
    WindowMaker,
    base_weights,
    padded,
)
from ragcore.encoders.extractive_reader import ExtractiveReader
from ragcore.errors import Cancelled, ModelUnavailable, UsageError
from ragcore.settings import Settings
from ragcore.tuning.extractive.data import find_spans
from ragcore.tuning.extractive.recipe import ExtractiveRecipe, ReaderData
from ragcore.tuning.extractive.scores import auc
from ragcore.tuning.extractive.train import span_loss, tune_reader
from ragcore.types import CancelToken, Progress

from ..encoders.small_models import save_small_bert

PLACES = ("harbour", "tower", "market", "bridge", "garden", "mill", "school", "forge")
COLORS = ("red", "blue", "green", "white", "black", "yellow", "brown", "gray")
OTHERS = ("the", "is", "what", "color", "near", "it", "was", "built", "long", "ago", "by", "people")
WORDS = (*PLACES, *COLORS, *OTHERS, ".", "?")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_small_bert(tmp_path_factory.mktemp("base"), WORDS)


@pytest.fixture
def questions(tmp_path: Path) -> Path:
    """Sixteen articles, each of a place and its color; a third of the questions have no answer."""
    rng = random.Random(0)
    path = tmp_path / "train.jsonl.gz"
    with gzip.open(path, "wt") as out:
        for number in range(16):
            place, other = rng.sample(PLACES, 2)
            color = rng.choice(COLORS)
            context = f"The {place} is {color}. It was built long ago by people {number}."
            for asked, answers in ((place, [color]), (place, [color]), (other, [])):
                row = {
                    "question": f"what color is the {asked}?", "answers": answers,
                    "context": context, "title": f"{place} {number}",
                }  # fmt: skip
                out.write(json.dumps(row) + "\n")
    return path


def recipe(base: Path, questions: Path, output: Path, **changes: object) -> ExtractiveRecipe:
    values = {
        "base": str(base), "output": str(output), "frozen_layers": 1, "window": 64,
        "epochs": 2.0, "batch_size": 4, "learning_rate": 2e-3, "warmup_steps": 2,
        "data": ReaderData(train=str(questions), held_out_articles=0.2), "score_limit": 8,
        "log_every": 1, "average": 0.0,
    }  # fmt: skip
    return ExtractiveRecipe(**{**values, **changes})


def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "home", device="cpu")


def test_windows_hold_the_whole_text_and_know_where(base: Path) -> None:
    maker = WindowMaker(base, 24)
    text = " ".join(f"The {place} is {COLORS[0]}." for place in PLACES * 4)
    windows = maker.windows(text, "near the mill")
    assert len(windows) > 3
    covered = bytearray(len(text))
    for window in windows:
        assert len(window.ids) <= 24
        assert len(window.ids) == window.first + len(window.offsets) + 1
        assert text[slice(*window.offsets[0])] == "The"  # between sentences
        for start, end in window.offsets:
            covered[start:end] = b"\1" * (end - start)
    assert all(covered[i] for i, letter in enumerate(text) if letter != " ")
    endless = maker.windows("mill " * 200)
    assert all(len(window.ids) <= 24 for window in endless)
    assert [len(w.offsets) for w in maker.windows("")] == [0]


def test_the_layers_are_berts_own(base: Path) -> None:
    shape = Shape.of_base("tiny", base, lower=1, window=64)
    lower, upper = base_weights(base, shape)
    frozen, reader = FrozenLayers(shape), SpanHead(shape)
    frozen.load_state_dict(lower)
    assert set(reader.load_state_dict(upper, strict=False).missing_keys) == {
        "segments", "span.weight", "span.bias", "passage.weight", "passage.bias",
    }  # fmt: skip
    maker = WindowMaker(base, 64)
    ids, padding = padded([maker.question("what color is it?"), maker.question("mill")])
    bert = BertModel.from_pretrained(base, add_pooling_layer=False).eval()
    with torch.inference_mode():
        states = frozen.eval()(ids, padding)
        for layer in reader.eval().layers:
            states = layer(states, src_key_padding_mask=padding)
        expected = bert(input_ids=ids, attention_mask=(~padding).long()).last_hidden_state
    torch.testing.assert_close(states[~padding], expected[~padding], atol=1e-5, rtol=1e-4)


def test_a_base_that_is_none_is_refused(base: Path, questions: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="more than 4 layers"):
        tune_reader(
            recipe(base, questions, tmp_path / "run", frozen_layers=4), settings=settings(tmp_path)
        )
    with pytest.raises(ModelUnavailable, match="no extractive reader"):
        ExtractiveReader.load(tmp_path, base)


def test_the_loss_counts_every_right_span_and_every_empty_window() -> None:
    starts = torch.full((2, 5), -9.0)
    ends = torch.full((2, 5), -9.0)
    starts[0, 2] = ends[0, 3] = 9.0
    assert float(span_loss(starts, ends, [(2, 3)])) < 1e-3
    assert float(span_loss(starts, ends, [(1, 1), (2, 3)])) < 1e-3
    assert float(span_loss(starts, ends, [(1, 1)])) > 10
    assert float(span_loss(starts, ends, [])) > 10
    starts[:, 0] = ends[:, 0] = 20.0
    assert float(span_loss(starts, ends, [])) < 1e-3


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        (["six ships"], ["six ships", "Six ships"]),
        (["They wait at the outer buoy for a pilot."], ["wait at the outer buoy for a pilot"]),
        (["a dancing bear"], []),
        (["ship"], []),
    ],
)
def test_answers_are_found_where_they_stand(answers: list[str], expected: list[str]) -> None:
    context = "In March six ships came. Six ships wait at the outer buoy for a pilot."
    spans = find_spans(context, answers, 0.6)
    assert [context[start:end] for start, end in spans] == expected


@pytest.mark.full
def test_a_reader_is_trained_and_reads(base: Path, questions: Path, tmp_path: Path) -> None:
    report = tune_reader(
        recipe(base, questions, tmp_path / "run", epochs=30.0), settings=settings(tmp_path)
    )
    rows = [json.loads(line) for line in (tmp_path / "run/log.jsonl").read_text().splitlines()]
    losses = [row["loss"] for row in rows if "loss" in row]
    assert sum(losses[-10:]) < 0.7 * sum(losses[:10])
    assert report.steps == len(losses)
    assert report.held_out["questions"] == 8
    reader = ExtractiveReader.load(Path(report.output), base)
    passages = ["", "The mill is green. It was built long ago.", "The tower is white."]
    spans = reader.read("what color is the mill?", passages, ["", "mill", "tower"])
    assert sorted(span.passage for span in spans) == [1, 2]
    assert spans == sorted(spans, key=lambda span: -span.rank)
    for span in spans:
        assert passages[span.passage][span.start : span.end].strip()
    assert reader.read("what?", [""]) == []


def test_a_stopped_run_ends_as_one_that_was_not(
    base: Path, questions: Path, tmp_path: Path
) -> None:
    whole = tune_reader(recipe(base, questions, tmp_path / "a"), settings=settings(tmp_path))
    cancel = CancelToken()

    def stop(progress: Progress) -> None:
        if progress.done == 5:
            cancel.cancel()

    stopped = recipe(base, questions, tmp_path / "b")
    with pytest.raises(Cancelled):
        tune_reader(stopped, settings=settings(tmp_path), progress=stop, cancel=cancel)
    resumed = tune_reader(stopped, settings=settings(tmp_path))
    assert resumed.resumed
    assert (whole.steps, whole.loss) == (resumed.steps, resumed.loss)
    written = [Path(r.output).joinpath("model.safetensors").read_bytes() for r in (whole, resumed)]
    assert written[0] == written[1]
    with pytest.raises(UsageError, match="another recipe"):
        tune_reader(recipe(base, questions, tmp_path / "b", seed=5), settings=settings(tmp_path))


def test_auc() -> None:
    assert auc([(1.0, True), (0.0, False)]) == 1.0
    assert auc([(1.0, False), (0.0, True)]) == 0.0
    assert auc([(1.0, True), (1.0, False)]) == 0.5
    assert auc([(1.0, True)]) == 0.5
