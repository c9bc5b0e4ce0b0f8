from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ragcore.answers.confidence import Calibration
from ragcore.settings import Settings
from ragcore.tuning.grounded_qa import Context
from ragcore.tuning.lora_calibration import (
    calibrate,
    examples_read,
    questions_among,
    write_calibration,
)
from ragcore.tuning.lora_scores import answer_examples
from ragcore.weights import WeightStore

CONTEXTS = [
    Context(
        f"The {animal} sleeps in the {place}. It eats {food} and nothing else.",
        "Animals",
        False,
        (
            (f"Where does the {animal} sleep?", (f"the {place}",)),
            (f"What does the {animal} eat?", (food,)),
            (f"Who owns the {animal} of the {place}?", ()),
        ),
    )
    for animal, place, food in (
        ("otter", "river bank", "fish"),
        ("badger", "old quarry", "worms"),
        ("heron", "tall tree", "frogs"),
        ("mole", "dark tunnel", "beetles"),
        ("fox", "warm den", "hares"),
    )
]


def encode(texts):
    """Hashed words as unit vectors: near where words are shared."""
    rows = np.zeros((len(texts), 64), np.float32)
    for row, text in enumerate(texts):
        for word in text.lower().strip("?.").split():
            rows[row, sum(map(ord, word)) % 64] += 1
    return rows / np.linalg.norm(rows, axis=1, keepdims=True).clip(1e-6)


def test_questions_stand_beside_the_nearest_passages_and_are_read_nearest_first() -> None:
    every = questions_among(CONTEXTS[:2], CONTEXTS)
    asked, without = every[:6], every[6:]
    assert all(len(one.hits) == 4 and one.hits[0].id == one.gold for one in asked)
    assert without
    for one in without:  # asked once more without the passage that tells: nothing to answer
        assert one.answers == ()
        assert one.gold not in [hit.id for hit in one.hits]
    for example in examples_read(asked, 2, encode):
        assert len(example.sources) == 2
        if example.answers:
            assert example.gold == (1,)
            assert example.answer.endswith("[1].")


@pytest.mark.full
def test_the_calibration_of_the_starter_model(starter_weights: WeightStore, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from ragcore.llm.adapters import AdapterStore

    settings = Settings(home=tmp_path)
    folder = WeightStore(settings).folder_of("smollm2-135m-instruct")
    model = AutoModelForCausalLM.from_pretrained(folder)
    from peft import PeftModel

    model = PeftModel.from_pretrained(model, str(AdapterStore(settings).find("grounded-qa"))).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    asked = questions_among(CONTEXTS[:2], CONTEXTS)
    found, scores = calibrate(model, tokenizer, asked, encode)
    assert found.passages in (2, 3, 4)
    assert set(scores) == {"2", "3", "4"}
    assert scores[str(found.passages)]["f1"] == max(row["f1"] for row in scores.values())
    write_calibration(found, tmp_path)
    assert Calibration.load(tmp_path).passages == found.passages
    examples = examples_read(asked, 2, encode)
    together = answer_examples(model, tokenizer, examples)
    alone = [answer_examples(model, tokenizer, [e])[0] for e in examples]
    assert [g.text for g in together] == [g.text for g in alone]
    assert all(0 <= g.abstains <= 1 and 0 < g.likelihood <= 1 for g in together)
