"""Zero-shot classification: checks of labels, probabilities, calibration."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from ragcore.encoders.image_text import OpenClipEncoder
from ragcore.encoders.zero_shot import (
    ZeroShotCalibration,
    classify,
    label_vectors,
    parse_calibration,
)
from ragcore.errors import UsageError
from ragcore.settings import Settings
from ragcore.weights import WeightStore


@pytest.fixture(scope="module")
def encoder(starter_weights: WeightStore) -> OpenClipEncoder:
    return OpenClipEncoder("starter-clip", settings=Settings(threads=2))


@pytest.fixture(scope="module")
def photographs() -> list[Image.Image]:
    """A temple and a dahlia, out of a Python package."""
    from sklearn.datasets import load_sample_image

    return [Image.fromarray(load_sample_image(f"{name}.jpg")) for name in ("china", "flower")]


def test_photographs_get_their_labels(
    encoder: OpenClipEncoder, photographs: list[Image.Image]
) -> None:
    labels = ["sports car", "temple", "flower", "piano", "dog"]
    result = classify(encoder, photographs, labels)
    assert result.shape == (2, 5)
    np.testing.assert_allclose(result.sum(1), 1, rtol=1e-5)
    assert [labels[i] for i in result.argmax(1)] == ["temple", "flower"]
    assert result.max(1).min() > 0.4


def test_the_order_of_labels_and_images_does_not_matter(
    encoder: OpenClipEncoder, photographs: list[Image.Image]
) -> None:
    labels = ["sports car", "temple", "flower"]
    one = classify(encoder, photographs, labels)
    other = classify(encoder, photographs[::-1], labels[::-1])
    np.testing.assert_allclose(one, other[::-1, ::-1], atol=1e-4)


def test_weights_change_what_counts(encoder: OpenClipEncoder) -> None:
    """With a weight on one entry alone, nothing else is left of a label's vector."""
    own = encoder.calibration
    only = np.zeros(encoder.space.dimension, np.float32)
    only[-1] = 1
    rule = ZeroShotCalibration(0.05, only)
    vectors = label_vectors(encoder, ["zoo"], templates=["{}"], calibration=rule)
    assert abs(vectors[0, -1]) == pytest.approx(1)
    assert own.weights is not None
    assert len(own.weights) == encoder.space.dimension


def test_a_label_weighs_the_same_in_every_phrase(encoder: OpenClipEncoder) -> None:
    """The weights of names and sentences are undone before phrases are averaged."""
    assert encoder.calibration.weights is not None
    plain = ZeroShotCalibration(0.05)
    short = label_vectors(encoder, ["tree"], templates=["{}"], calibration=plain)
    long = label_vectors(
        encoder, ["tree"], templates=["here you see a photo of a {}"], calibration=plain
    )
    third = encoder.space.dimension // 6
    lengths = [np.linalg.norm(v[0, :third]) for v in (short, long)]
    assert lengths[0] == pytest.approx(lengths[1], rel=0.1)


def test_underscores_are_spaces(encoder: OpenClipEncoder) -> None:
    one, other = label_vectors(encoder, ["sea_horse"]), label_vectors(encoder, ["sea horse"])
    np.testing.assert_allclose(one, other, atol=1e-5)


@pytest.mark.parametrize(
    ("labels", "templates", "expected"),
    [
        ([], ["{}"], "at least one label"),
        (["cat", " "], ["{}"], "label 2 is empty"),
        (["cat", "cat"], ["{}"], "'cat' is given twice"),
        (["cat"], ["a photo"], "must contain {}"),
        (["cat"], [], "must contain {}"),
    ],
)
def test_wrong_labels_are_named(
    encoder: OpenClipEncoder, labels: list[str], templates: list[str], expected: str
) -> None:
    with pytest.raises(UsageError, match=expected):
        label_vectors(encoder, labels, templates=templates)


def test_calibration_from_a_file() -> None:
    rule = parse_calibration({"temperature": 0.02, "weights": [[2, 1], [1, 3.5]]})
    assert rule.temperature == 0.02
    assert rule.weights is not None
    assert rule.weights.tolist() == [1, 1, 3.5]
