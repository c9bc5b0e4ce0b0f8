from __future__ import annotations

import gzip
import json
import random
import re
from pathlib import Path

import pytest

from ragcore.answers.prompt import ABSTENTION
from ragcore.datasets.contexts import held_out_contexts, read_contexts
from ragcore.tuning.lora.packing import read_examples
from ragcore.tuning.lora.recipe import LoraRecipe
from ragcore.tuning.recipe import read_recipe
from recipes.grounded_qa import (
    GroundedQaData,
    as_answer,
    build_dev,
    build_groups,
    planted,
    write_examples,
    write_held_out,
)
from recipes.policy_qa import policy_group

RECIPES = Path(__file__).resolve().parents[2] / "recipes"


@pytest.mark.parametrize(
    ("span", "expected"),
    [
        ("in the garden", "In the garden [2]."),
        ("he was sick .", "He was sick [2]."),
        ("  1,200  men;", "1,200 men [2]."),
    ],
)
def test_spans_become_short_cited_sentences(span: str, expected: str) -> None:
    assert as_answer(span, 2) == expected


def test_policy_answers_follow_from_the_rule_that_they_cite() -> None:
    rng = random.Random(0)
    kinds = {"Yes": 0, "No": 0, "I": 0}
    for _ in range(60):
        for example in policy_group(rng):
            kinds[example.answer.split()[0].strip(",")] = (
                kinds.get(example.answer.split()[0].strip(","), 0) + 1
            )
            if example.answer == ABSTENTION:
                assert example.gold == ()
                continue
            (number,) = example.gold
            assert example.answer.endswith(f"[{number}].")
            said = re.sub(r"^(Yes|No), ", "", example.answer).rsplit(" [", 1)[0]
            assert said.lower() in example.sources[number - 1].text.lower()
            if example.answer.startswith(("Yes", "No")):
                forbids = re.search("not |prohibited|forbidden|banned", said) is not None
                assert example.answer.startswith("No") == forbids
            assert "foosball" not in example.question.lower()
    assert min(kinds["Yes"], kinds["No"], kinds["I"]) > 50


@pytest.mark.shared
def test_training_set_of_the_shared_data(shared: Path, tmp_path: Path) -> None:
    train = shared / "data/text/qa/train.jsonl.gz"
    dev = shared / "data/text/qa/dev.jsonl.gz"
    groups = list(build_groups(train, dev, groups=120, seed=3))
    assert len(groups) == 120
    examples = [example for group in groups for example in group]
    declined = sum(e.answer == ABSTENTION for e in examples) / len(examples)
    assert 0.12 < declined < 0.4
    reserved = {c.text for c in read_contexts(dev)}
    positions = set()
    for example in examples:
        assert 1 <= len(example.sources) <= 6
        assert not reserved & {s.text for s in example.sources}
        if example.gold:
            assert example.answer.endswith(f"[{example.gold[0]}].")
            positions.add(example.gold[0])
    assert positions >= {1, 2, 3, 4}
    path = tmp_path / "train.jsonl"
    assert write_examples(examples, path) == len(examples)
    assert read_examples(path) == examples
    again = [e for g in build_groups(train, dev, groups=120, seed=3) for e in g]
    assert again == examples


def test_a_passage_stands_where_ask_would_put_it(tmp_path: Path) -> None:
    train = tmp_path / "train.jsonl"
    rows = [
        {"question": f"Where does the {n} sleep?", "answers": [f"in {n} houses"],
         "context": f"The {n} sleeps in {n} houses. The other animals sleep where the {m} does."}
        for n, m in (("otter", "heron"), ("heron", "otter"), ("badger", "heron"), ("mole", "otter"))
    ]  # fmt: skip
    train.write_text("".join(json.dumps(row) + "\n" for row in rows))
    examples = [e for g in build_groups(train, None, groups=60, seed=0) for e in g if e.answers]
    places = [e.gold[0] for e in examples if e.question.startswith("Where does the")]
    assert places.count(1) > 1.2 * places.count(2) > 0  # the nearest first, guests behind it


def test_an_order_in_a_document_is_only_added_text() -> None:
    rng = random.Random(1)
    text = "The otter swims. It eats fish. It sleeps at noon."
    found = {planted(text, rng) for _ in range(40)}
    assert len(found) > 20
    for changed in found:
        kept = [s for s in re.split(r"(?<=[.!?]) ", text) if s in changed]
        assert len(kept) == 3
        assert len(changed) > len(text)


@pytest.mark.shared
def test_dev_has_the_gold_passage_among_hard_ones(shared: Path) -> None:
    examples = build_dev(shared / "data/text/qa/dev.jsonl.gz", contexts=10, seed=1)
    rows = {}
    lines = gzip.decompress((shared / "data/text/qa/dev.jsonl.gz").read_bytes()).decode()
    for row in map(json.loads, lines.splitlines()):
        rows[(row["question"].strip(), row["context"])] = row
    for example in examples:
        assert len(example.sources) == 4
        if example.gold:
            gold = example.sources[example.gold[0] - 1].text
            assert rows[(example.question, gold)]["answers"]


@pytest.mark.parametrize("name", ["grounded-qa", "grounded-qa-qwen"])
def test_what_a_recipe_trains_on_is_what_its_data_recipe_writes(name: str) -> None:
    data = read_recipe(RECIPES / f"{name}-data.toml", GroundedQaData)
    lora = read_recipe(RECIPES / f"{name}.toml", LoraRecipe)
    output = data.path(data.output)
    assert (lora.train, lora.dev) == (output / "train.jsonl", output / "dev.jsonl")


def test_contexts_kept_for_calibration_come_first(tmp_path: Path) -> None:
    train, dev, file = (tmp_path / f"{name}.jsonl" for name in ("train", "dev", "held-out"))
    rows = [
        {"question": f"What is number {n}?", "answers": ["it"] if n % 2 else [],
         "context": f"It is {n}.", "title": "Numbers"}
        for n in range(20)
    ]  # fmt: skip
    train.write_text("".join(json.dumps(row) + "\n" for row in rows))
    dev.write_text(json.dumps(rows[0]) + "\n")
    write_held_out(train, dev, file, held_out=4)
    written = read_contexts(file)
    assert written[:4] == held_out_contexts(train, dev, held_out=4)
    assert sorted(written, key=str) == sorted(read_contexts(train), key=str)
