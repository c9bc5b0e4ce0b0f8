"""The negative examples do what they are for: a sure classifier, and no image."""

from __future__ import annotations

import numpy as np
import pytest

from ragcore.diffusion.model import LatentModel
from ragcore.diffusion.negative_examples import (
    ImageNetClassifier,
    descend_latent,
    descend_pixels,
    interleave,
)
from ragcore.errors import UsageError
from ragcore.settings import Settings
from ragcore.weights import WeightStore


@pytest.fixture(scope="module")
def classifier(starter_weights: WeightStore) -> ImageNetClassifier:
    return ImageNetClassifier(Settings())


def test_descent_on_pixels_is_sure_of_noise(classifier: ImageNetClassifier) -> None:
    made = descend_pixels(classifier, "chocolate syrup", steps=25)
    assert made.probabilities[0] < 0.1
    assert made.probabilities[-1] > 0.9
    rough = np.abs(np.diff(made.image.astype(int), axis=0)).mean()
    assert rough > 10  # an image of anything is smooth almost everywhere


def test_descent_on_a_latent(classifier: ImageNetClassifier, tiny_model: LatentModel) -> None:
    made = descend_latent(classifier, tiny_model, "chocolate syrup", steps=25)
    assert made.probabilities[-1] > 3 * made.probabilities[0]
    again = descend_latent(classifier, tiny_model, "chocolate syrup", steps=25)
    assert np.array_equal(made.image, again.image)


def test_interleaved(classifier: ImageNetClassifier, tiny_model: LatentModel) -> None:
    made = interleave(classifier, tiny_model, "chocolate syrup", steps=6)
    assert len(made.probabilities) in (5, 6)  # where there is no signal at all, nothing is pushed
    assert made.image.shape == (32, 32, 3)


def test_unknown_class(classifier: ImageNetClassifier) -> None:
    assert classifier.row(" Chocolate  Syrup ") == classifier.row("chocolate syrup")
    with pytest.raises(UsageError, match="perhaps"):
        classifier.row("chocolate")
    with pytest.raises(UsageError, match="1,000"):
        classifier.row("unicorn sauce")
