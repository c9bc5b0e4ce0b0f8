"""The extractive reader: windows, the network, its training, on a tiny BERT of the test's own."""

from __future__ import annotations

import gzip
import json
import random
import shutil
from pathlib import Path

import pytest
import torch
from transformers import BertConfig, BertForSequenceClassification

from ragcore.encoders.extractive import WindowMaker
from ragcore.encoders.extractive_reader import (
    BertSpans,
    SharedExtractiveReader,
    SpanInputs,
    save_extractive,
)
from ragcore.errors import Cancelled, ModelUnavailable, UsageError
from ragcore.settings import Settings
from ragcore.tuning.extractive.data import find_spans
from ragcore.tuning.extractive.network import SpanNetwork
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
    assert maker.question("what is near the mill?")[0] == 2  # [CLS]
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


def inputs(base: Path) -> SpanInputs:
    maker = WindowMaker(base, 64)
    rows = (("what color is the mill?", "The mill is green."), ("mill", "It was built long ago."))
    return SpanInputs([(maker.question(q), maker.windows(text)[0]) for q, text in rows])


def test_a_cross_encoder_keeps_its_output(base: Path, tmp_path: Path) -> None:
    """The passage's log-odds are the base's own before any training."""
    torch.manual_seed(3)
    config = json.loads((base / "config.json").read_text()) | {"num_labels": 1}
    ranker = BertForSequenceClassification(BertConfig(**config)).eval()
    ranker.save_pretrained(tmp_path)
    shutil.copy(base / "tokenizer.json", tmp_path)
    read = inputs(base)
    with torch.inference_mode():
        expected = ranker(
            input_ids=torch.from_numpy(read.ids),
            token_type_ids=torch.from_numpy(read.types),
            attention_mask=torch.from_numpy(read.mask.astype("int64")),
        ).logits[:, 0]
    found = SpanNetwork(tmp_path, frozen_layers=1).eval().outputs(read).passages
    torch.testing.assert_close(torch.from_numpy(found), expected, atol=1e-5, rtol=1e-4)


def test_what_is_stored_in_8_bits_reads_as_what_was_trained(base: Path, tmp_path: Path) -> None:
    torch.manual_seed(3)
    network = SpanNetwork(base, frozen_layers=1).eval()
    save_extractive(tmp_path / "reader", base, network.tensors(), network.config(), window=64)
    read = inputs(base)
    expected, found = network.outputs(read), BertSpans(tmp_path / "reader")(read)
    real = read.mask.astype(bool)
    for one, other in ((expected.starts, found.starts), (expected.ends, found.ends)):
        assert abs(one - other)[real].max() < 0.05
        assert one[real].std() > 0.1
    assert abs(expected.passages - found.passages).max() < 0.05


def test_only_the_upper_layers_change(base: Path) -> None:
    network = SpanNetwork(base, frozen_layers=3)
    changing = {name for name, p in network.named_parameters() if p.requires_grad}
    layers = {name.split(".")[3] for name in changing if ".layer." in name}
    assert layers == {"3"}
    assert {"span.weight", "passage.bias", "bert.pooler.dense.weight"} <= changing
    assert not any("embeddings" in name for name in changing)


def test_a_base_that_is_none_is_refused(base: Path, questions: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="more than 4 layers"):
        tune_reader(
            recipe(base, questions, tmp_path / "run", frozen_layers=4), settings=settings(tmp_path)
        )
    with pytest.raises(ModelUnavailable, match="no extractive reader"):
        SharedExtractiveReader(tmp_path, name="local:none")


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
    reader = SharedExtractiveReader(Path(report.output), name="local:reader")
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
