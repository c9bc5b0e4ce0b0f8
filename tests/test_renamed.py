"""Earlier names of fields, keys and options are accepted, with a line in the log."""

from __future__ import annotations

import logging

import pytest
from pydantic import ValidationError

from ragcore.renamed import warn_renamed, with_current_names
from ragcore.tuning.classifier.recipe import ClassifierData
from ragcore.tuning.diffusion.recipe import Stage
from ragcore.weights.profiles import parse_profile


@pytest.fixture(autouse=True)
def lines(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    warn_renamed.cache_clear()
    caplog.set_level(logging.WARNING, logger="ragcore")
    return caplog


def test_an_earlier_key_is_accepted_and_logged_once(lines: pytest.LogCaptureFixture) -> None:
    for _ in range(2):
        assert with_current_names({"old": 1, "x": 2}, {"old": "new"}, "the key") == {
            "new": 1,
            "x": 2,
        }
    assert [line.getMessage() for line in lines.records] == [
        "the key 'old' is now 'new'; the old name will not be accepted by the next release"
    ]


def test_a_key_by_both_names_and_other_values_stay() -> None:
    both = {"old": 1, "new": 2}
    assert with_current_names(both, {"old": "new"}, "the key") == both
    assert with_current_names(["old"], {"old": "new"}, "the key") == ["old"]


def test_a_profile_with_an_earlier_table() -> None:
    text = """name = "x"
[picture_llm]  # deprecated
weights = "starter-projector"
kind = "projector"
"""
    found = parse_profile(text, where="test").vision_llm
    assert found is not None
    assert found.name == "starter-projector"


def test_recipes_with_earlier_keys() -> None:
    old = "picture_every"  # deprecated
    stage = Stage.model_validate({old: 7, "cpu": {old: 3}})
    assert (stage.image_every, stage.on("cpu").image_every) == (7, 3)
    with pytest.raises(ValidationError, match="Extra inputs"):
        Stage.model_validate({old: 7, "image_every": 3})
    data = ClassifierData.model_validate({"kind": "pictures"})  # deprecated
    assert data.kind == "images"


def test_requests_with_earlier_fields() -> None:
    shapes = pytest.importorskip("ragcore.api.schemas")
    imagine = pytest.importorskip("ragcore.api.routes.imagine")
    body = shapes.SearchRequest.model_validate({"same_picture": True})  # deprecated
    assert body.same_image
    start, control = "start_picture", "picture"  # deprecated
    form = imagine.ImagineForm.model_validate(
        {start: "QQ==", "controls": [{"kind": "canny", control: "Qg=="}], "guides": ["text:a:1"]}
    )
    assert form.guidance == ["text:a:1"]
    assert (form.start_image, form.controls[0].image) == ("QQ==", "Qg==")
