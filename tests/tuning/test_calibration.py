from __future__ import annotations

import json
from pathlib import Path

import pytest

from ragcore.answers import Answerer
from ragcore.answers.confidence import ConfidenceCalibration
from ragcore.datasets.contexts import Context
from ragcore.errors import UsageError
from ragcore.models import Models
from ragcore.settings import Settings
from ragcore.tuning.lora.calibration import calibrate, calibrate_model, write_calibration
from ragcore.tuning.questions import questions_among
from ragcore.types import SearchResult
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


def test_questions_stand_beside_the_nearest_passages_and_are_read_nearest_first() -> None:
    every = questions_among(CONTEXTS[:2], CONTEXTS)
    asked, without = every[:6], every[6:]
    assert all(len(one.hits) == 4 and one.hits[0].id == one.gold for one in asked)
    assert without
    for one in without:  # asked again without the passage that answers: nothing to answer
        assert one.answers == ()
        assert one.gold not in [hit.id for hit in one.hits]


@pytest.mark.full
def test_the_calibration_of_the_starter_model(starter_weights: WeightStore, tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    models = Models(settings)
    answerer = Answerer(models.llm(), lambda _: SearchResult(()), settings=settings, models=models)
    asked = questions_among(CONTEXTS, CONTEXTS)
    found, scores = calibrate(answerer, asked, read=(2, 3))
    assert found.passages in (2, 3)
    assert set(scores) == {"2", "3"}
    assert scores[str(found.passages)]["f1"] == max(row["f1"] for row in scores.values())
    file = tmp_path / "calibration.json"
    write_calibration(found, file)
    assert ConfidenceCalibration.load(file).passages == found.passages
    one = answerer.calibrated(found)
    assert one.calibration(None) == found
    assert one.threshold == 0


def test_a_model_that_cites_nothing_cannot_be_calibrated(
    tiny_profile: Path, tmp_path: Path
) -> None:
    file = tmp_path / "questions.jsonl"
    rows = [
        {"question": question, "context": c.text, "title": c.title, "answers": list(answers)}
        for c in CONTEXTS
        for question, answers in c.questions
    ]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    settings = Settings(home=tmp_path, profile=str(tiny_profile))
    with pytest.raises(UsageError, match="answered too few"):
        calibrate_model(file, settings=settings, read=(2,))
    assert not (tmp_path / "calibrations").exists()
