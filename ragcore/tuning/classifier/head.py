"""The linear layer on frozen features, its temperature, and labels that look wrong."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ragcore.encoders import softmax

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ragcore.types import FloatArray, IdArray

_ITERATIONS = 300
Check = Callable[[], None]


@dataclass(frozen=True, slots=True)
class Head:
    """Logits are features [n, d] @ weight [classes, d].T + bias [classes]."""

    weight: FloatArray
    bias: FloatArray

    def logits(self, features: FloatArray) -> FloatArray:
        result: FloatArray = (features @ self.weight.T + self.bias).astype(np.float32)
        return result


def fit_head(features: FloatArray, labels: IdArray, classes: int, strength: float) -> Head:
    """Multinomial logistic regression with L2 penalty 1 / `strength` (scikit-learn, L-BFGS).

    Classes without an example get the lowest bias that others have, less ten: never chosen.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    present = np.unique(labels)
    weight = np.zeros((classes, features.shape[1]), np.float32)
    bias = np.zeros(classes, np.float32)
    if len(present) == 1:
        bias[present] = 1.0
    else:
        model = LogisticRegression(C=strength, max_iter=_ITERATIONS, tol=1e-3)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            warnings.filterwarnings("ignore", message="The number of unique classes")
            model.fit(features.astype(np.float32, copy=False), labels)
        if len(present) == 2:  # one row then: the second class against the first
            weight[present[1]], bias[present[1]] = model.coef_[0], model.intercept_[0]
        else:
            weight[present], bias[present] = model.coef_, model.intercept_
    absent = np.setdiff1d(np.arange(classes), present)
    bias[absent] = bias[present].min() - 10
    return Head(weight, bias)


def log_loss(logits: FloatArray, labels: IdArray, temperature: float = 1.0) -> float:
    """Mean negative log-likelihood."""
    chances = softmax(logits / temperature)[np.arange(len(labels)), labels]
    return float(-np.log(np.maximum(chances, 1e-12)).mean())


def choose_strength(
    features: FloatArray,
    labels: IdArray,
    held_out: FloatArray,
    held_out_labels: IdArray,
    classes: int,
    strengths: Sequence[float],
    check: Check,
) -> float:
    """The strength with the lowest loss on held-out examples, each at its own temperature."""
    if len(strengths) == 1:
        return strengths[0]
    losses = {}
    for strength in strengths:
        check()
        logits = fit_head(features, labels, classes, strength).logits(held_out)
        losses[strength] = log_loss(
            logits, held_out_labels, fit_temperature(logits, held_out_labels)
        )
    return min(losses, key=lambda strength: (losses[strength], strength))


def fit_temperature(logits: FloatArray, labels: IdArray) -> float:
    """The temperature in [0.05, 20] with the least loss; 1 with fewer than two examples.

    Guo et al. 2017, "On Calibration of Modern Neural Networks".

    A share 1 / (n + 2) of each target goes to all classes alike (after Platt 1999): a few
    examples that are all right are no reason to be certain.
    """
    from scipy.optimize import minimize_scalar

    if len(labels) < 2:
        return 1.0
    share = 1 / (len(labels) + 2)

    def loss(power: float) -> float:
        chances = np.log(np.maximum(softmax(logits / float(np.exp(power))), 1e-12))
        own = chances[np.arange(len(labels)), labels]
        return float(-((1 - share) * own + share * chances.mean(1)).mean())

    found = minimize_scalar(loss, bounds=(np.log(0.05), np.log(20)), method="bounded")
    return float(np.exp(found.x))


def out_of_fold(
    features: FloatArray,
    labels: IdArray,
    classes: int,
    strength: float,
    *,
    folds: int,
    seed: int,
    check: Check,
) -> FloatArray:
    """Logits [n, classes] of every example from a head that was not trained on it."""
    rng = np.random.default_rng(seed)
    fold = np.empty(len(labels), np.int64)
    for label in np.unique(labels):  # each class is spread over the folds
        rows = rng.permutation(np.flatnonzero(labels == label))
        fold[rows] = (np.arange(len(rows)) + rng.integers(folds)) % folds
    logits = np.zeros((len(labels), classes), np.float32)
    for number in range(folds):
        check()
        held_out = fold == number
        if held_out.any() and not held_out.all():
            head = fit_head(features[~held_out], labels[~held_out], classes, strength)
            logits[held_out] = head.logits(features[held_out])
    return logits


def suspicious(chances: FloatArray, labels: IdArray) -> NDArray[np.int64]:
    """Rows whose label looks wrong, the most doubtful first, from out-of-fold probabilities.

    Confident learning (Northcutt, Jiang, Chuang 2021): a row counts as of another class where
    its probability for that class is at least what rows labelled so have on average, and for
    its own label is lower. Rows whose class has no other example cannot be judged.
    """
    rows = np.arange(len(labels))
    own = chances[rows, labels]
    counts = np.bincount(labels, minlength=chances.shape[1])
    usual = np.array(
        [own[labels == c].mean() if n else np.inf for c, n in enumerate(counts)], np.float64
    )
    confident = np.where(chances >= usual, chances, -1.0)
    other = confident.argmax(1)
    doubtful = (confident[rows, other] > 0) & (other != labels) & (counts[labels] > 1)
    doubtful &= chances[rows, other] > own
    found = np.flatnonzero(doubtful)
    margin = chances[found].max(1) - own[found]
    order: NDArray[np.int64] = found[np.argsort(-margin, kind="stable")]
    return order


def worth_labelling(
    chances: FloatArray | None, vectors: FloatArray, known: FloatArray, count: int
) -> NDArray[np.int64]:
    """Rows to label next: unsure ones that are unlike each other and unlike what is labelled.

    Of the `10 * count` (at least 200) rows with the smallest margin between the two best classes
    (all rows while there are no `chances`), farthest-first by cosine, weighted by 1 - margin
    (k-center; Sener and Savarese 2018). vectors [n, d] and known [m, d] are unit vectors.
    """
    total = len(vectors)
    if total == 0 or count < 1:
        return np.zeros(0, np.int64)
    doubt = np.ones(total, np.float32)
    if chances is not None and chances.shape[1] > 1:
        best = -np.partition(-chances, 1, axis=1)[:, :2]
        doubt = 1 - (best[:, 0] - best[:, 1])
    wide = total if chances is None else max(10 * count, 200)
    pool = np.argsort(-doubt, kind="stable")[:wide]
    points = vectors[pool]
    near = (points @ known.T).max(1) if len(known) else points @ _middle(points)
    taken: list[int] = []
    for _ in range(min(count, len(pool))):
        gain = doubt[pool] * np.maximum(1 - near, 1e-6)
        gain[taken] = -1
        best_at = int(gain.argmax())
        taken.append(best_at)
        near = np.maximum(near, points @ points[best_at])
    return np.asarray(pool[taken], np.int64)


def _middle(points: FloatArray) -> FloatArray:
    mean: FloatArray = points.mean(0)
    return mean / max(float(np.linalg.norm(mean)), 1e-9)
