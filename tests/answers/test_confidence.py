from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path

import pytest

from ragcore.answers.citations import check_citations
from ragcore.answers.confidence import ConfidenceCalibration, Signals, fit, signals
from ragcore.errors import RagcoreError
from ragcore.tuning.lora.calibration import write_calibration
from ragcore.types import Hit

SURE = Signals(abstains=-3, fluency=-0.1, passage=0.9, sentence=0.8, names=1, near=0.7)


def test_signals_by_hand(rules: Hit) -> None:
    question = "Is recreation permitted in Norway during working hours?"
    found = check_citations("Not permitted during working hours [1].", question, [rules])
    got = signals(
        question,
        abstention=0.5,
        likelihood=0.25,
        tokens=2,
        citations=found.citations,
        hits=[rules],
        encode=None,
    )
    assert got.abstains == pytest.approx(0)
    assert got.fluency == pytest.approx(-0.6931, abs=1e-3)
    assert got.passage == pytest.approx(4 / 5)  # all but Norway
    assert got.names == 0.0
    assert got.near == 0.0


def test_without_weights_it_is_the_models_own_urge() -> None:
    plain = ConfidenceCalibration()
    assert plain.confidence(replace(SURE, abstains=0)) == pytest.approx(0.5)
    assert plain.confidence(SURE) > 0.9


def test_a_backend_without_probabilities_is_weighed_by_the_rest() -> None:
    quiet = replace(SURE, abstains=None, fluency=None)
    far = replace(quiet, passage=0.1, sentence=0.0, names=0.0, near=0.1)
    for calibration in (
        ConfidenceCalibration(),
        ConfidenceCalibration(0.0, {"abstains": -1.0, "near": 2.0}),
    ):
        assert calibration.confidence(quiet) > 0.5 > calibration.confidence(far)
    fitted = fit([quiet, far] * 4, [True, False] * 4)
    assert "abstains" not in fitted.weights
    assert fitted.confidence(quiet) > 0.5 > fitted.confidence(far)


def test_fit_finds_the_evidence_and_is_calibrated() -> None:
    rng = random.Random(0)
    rows, labels = [], []
    for _ in range(600):
        answerable = rng.random() < 0.5
        rows.append(
            replace(SURE, near=rng.gauss(0.7 if answerable else 0.3, 0.15), names=rng.random())
        )
        labels.append(answerable)
    fitted = fit(rows, labels)
    assert fitted.weights["near"] > abs(fitted.weights["names"])
    sure = [fitted.confidence(row) for row in rows]
    right = sum((s > 0.5) == label for s, label in zip(sure, labels, strict=True)) / len(rows)
    assert right > 0.85
    high = [label for s, label in zip(sure, labels, strict=True) if 0.8 < s < 0.95]
    assert 0.7 < sum(high) / len(high) < 1.0


def test_file_beside_the_adapter(tmp_path: Path) -> None:
    file = tmp_path / "calibration.json"
    assert ConfidenceCalibration.load(file) == ConfidenceCalibration()
    file.write_text(json.dumps({"intercept": 1, "weights": {"near": 2}, "passages": 2}))
    assert ConfidenceCalibration.load(file) == ConfidenceCalibration(1.0, {"near": 2.0}, 2)
    file.write_text(json.dumps({"weights": {"nearness": 2}}))
    with pytest.raises(RagcoreError, match="nearness"):
        ConfidenceCalibration.load(file)


def test_without_a_reranker_its_own_calibration_counts(tmp_path: Path) -> None:
    file = tmp_path / "calibration.json"
    plain = ConfidenceCalibration(-1.0, {"near": 2.0}, 3)
    both = ConfidenceCalibration(-2.0, {"near": 1.0, "relevance": 0.5}, 4, plain)
    write_calibration(both, file)
    assert ConfidenceCalibration.load(file) == both
    assert both.confidence(replace(SURE, relevance=6.0)) > 0.5
    assert both.confidence(replace(SURE, relevance=-6.0)) < 0.5
