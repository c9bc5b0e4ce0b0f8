from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ragcore.errors import UsageError
from ragcore.evals.structured import Score, compare, evaluate_structured, read_cases
from ragcore.settings import Settings

from ..shared_models import models_of

SETS = Path(__file__).resolve().parents[2] / "benchmarks" / "structured"
SCHEMA = {
    "description": "What does the invoice say?",
    "type": "object",
    "properties": {
        "total": {"type": ["number", "null"]},
        "due_date": {"type": ["string", "null"], "format": "date"},
    },
    "required": ["total", "due_date"],
}


def scored(expected: Any, found: Any) -> dict[str, Any]:
    score = Score()
    compare("", expected, found, score)
    return score.metrics()


def test_fields_are_counted_by_hand() -> None:
    expected = {"a": 1.0, "b": None, "c": ["x", "Y"], "d": [{"e": 1, "f": None}], "g": True}
    assert scored(expected, {**expected, "c": ["y.", "X"]}) == {
        "accuracy": 1.0, "wrong": 0.0, "fields": 6, "values_missed": 0, "nulls": 2,
        "nulls_right": 2,
    }  # fmt: skip
    found = {"a": 2, "b": "?", "c": [], "d": [{"e": 1, "f": None}, {"e": 3}], "g": 1}
    assert scored(expected, found) == {
        "accuracy": 0.2857, "wrong": 0.5714, "fields": 7, "values_missed": 1, "nulls": 3,
        "nulls_right": 1,
    }  # fmt: skip
    assert scored({"a": 1, "b": {"c": None}}, None)["accuracy"] == 0.5


def test_a_folder_is_asked_and_shown(tmp_path: Path, tiny_profile: Path) -> None:
    kind = tmp_path / "invoices"
    kind.mkdir()
    (kind / "schema.json").write_text(json.dumps(SCHEMA))
    (kind / "one.txt").write_text("Date: 1 May 2025\nTotal: 12.50 EUR\n")
    (kind / "one.json").write_text(json.dumps({"total": 12.5, "due_date": None}))
    details = tmp_path / "details.jsonl"
    settings = Settings(profile=str(tiny_profile))
    result = evaluate_structured(
        tmp_path, settings=settings, models=models_of(settings), details=details
    )
    assert (result["accuracy"], result["wrong"], result["nulls_right"]) == (1.0, 0.0, 1)
    assert result["kinds"]["invoices"]["fields"] == 2
    assert json.loads(details.read_text())["document"] == "invoices/one.txt"
    (kind / "one.json").unlink()
    with pytest.raises(UsageError, match=r"one\.json cannot be read"):
        list(read_cases(tmp_path))


@pytest.mark.parametrize("name", ["first", "second"])
def test_the_sets_fit_their_schemas(name: str) -> None:
    from jsonschema import Draft202012Validator

    cases = list(read_cases(SETS / name))
    assert len(cases) == 20
    for case in cases:
        Draft202012Validator(case.schema).validate(case.expected)


@pytest.mark.full
@pytest.mark.starter_models
@pytest.mark.parametrize(("name", "accuracy"), [("first", 0.92), ("second", 0.72)])
def test_fields_by_the_starter_model(name: str, accuracy: float, starter_weights: object) -> None:
    """Floors a little below what docs/measurements/answers.md has; the code was not fitted to the
    second set.
    """
    settings = Settings(profile="starter")
    result = evaluate_structured(SETS / name, settings=settings, models=models_of(settings))
    assert result["accuracy"] >= accuracy
    assert result["wrong"] <= 0.10
