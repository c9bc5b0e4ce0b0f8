"""Zero-shot classification: any list of labels over any images, with calibrated scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ragcore.errors import UsageError

if TYPE_CHECKING:
    from PIL.Image import Image

    from ragcore.models import ImageTextEncoder
    from ragcore.types import FloatArray

# A label's vector is the mean over these: no single wording decides (Radford et al. 2021, 3.1.4).
TEMPLATES = (
    "{}",
    "a photo of a {}",
    "a picture of the {}",
    "a blurry photo of a {}",
    "a drawing of a {}",
    "a low resolution photo of a {}",
)


@dataclass(frozen=True, slots=True)
class ZeroShotCalibration:
    """How one model's cosines become probabilities.

    `temperature` divides the scores; `weights` [d], if given, multiplies the label vectors
    entry by entry, because short labels are best distinguished by other parts of a space than
    whole sentences are. `sentences` and `names` [d], if given, multiply the vectors of long and
    of short texts in the same way whenever texts are encoded (see `text_weights`).
    """

    temperature: float = 0.01
    weights: FloatArray | None = None
    sentences: FloatArray | None = None
    names: FloatArray | None = None


# A text of up to three words is taken for a name of something, a longer one for a sentence.
NAME_WORDS, SENTENCE_WORDS = 3, 4


def text_weights(texts: Sequence[str], calibration: ZeroShotCalibration) -> FloatArray | None:
    """Factors [n, d] for the vectors of texts, between `names` and `sentences` by their length.

    None where the model has none.
    """
    import numpy as np

    names, sentences = calibration.names, calibration.sentences
    if names is None or sentences is None:
        return None
    words = np.array([len(text.split()) for text in texts], np.float32)
    share = np.clip((SENTENCE_WORDS - words) / (SENTENCE_WORDS - NAME_WORDS), 0, 1)
    factors = sentences + share[:, None] * (names - sentences)
    return factors.astype(np.float32)


def classify(
    encoder: ImageTextEncoder,
    images: Sequence[Image],
    labels: Sequence[str],
    *,
    templates: Sequence[str] = TEMPLATES,
    calibration: ZeroShotCalibration | None = None,
) -> FloatArray:
    """The probability of each label for each image, float32 [n, c]; rows sum to 1.

    `calibration` is the encoder's own (`encoder.calibration`, else its trained temperature)
    unless given. Raises UsageError as `classify_vectors`.
    """
    return classify_vectors(
        encoder,
        encoder.encode_images(images),
        labels,
        templates=templates,
        calibration=calibration,
    )


def classify_vectors(
    encoder: ImageTextEncoder,
    vectors: FloatArray,
    labels: Sequence[str],
    *,
    templates: Sequence[str] = TEMPLATES,
    calibration: ZeroShotCalibration | None = None,
) -> FloatArray:
    """As `classify`, for images already encoded: unit vectors [n, d] of this encoder's space.

    Raises UsageError for no labels, an empty label, the same label twice, or a template
    without {}.
    """
    rule = calibration or calibration_of(encoder)
    columns = label_vectors(encoder, labels, templates=templates, calibration=rule)
    return probabilities(vectors, columns, rule)


def probabilities(
    vectors: FloatArray, labels: FloatArray, calibration: ZeroShotCalibration
) -> FloatArray:
    """[n, c] for images [n, d] and labels [c, d] as `label_vectors` makes them."""
    import numpy as np

    logits = vectors @ labels.T / calibration.temperature
    logits -= logits.max(axis=1, keepdims=True) if logits.size else 0.0
    exponentials = np.exp(logits)
    result: FloatArray = exponentials / exponentials.sum(axis=1, keepdims=True)
    return result.astype(np.float32)


def label_vectors(
    encoder: ImageTextEncoder,
    labels: Sequence[str],
    *,
    templates: Sequence[str] = TEMPLATES,
    calibration: ZeroShotCalibration | None = None,
) -> FloatArray:
    """One unit vector a label, float32 [c, d]: the mean over the templates."""
    import numpy as np

    names = [label.strip().replace("_", " ") for label in labels]
    _check(names, templates)
    texts = [template.format(name) for name in names for template in templates]
    vectors = encoder.encode_texts(texts)
    own = calibration_of(encoder)
    factors = text_weights(texts, own)
    if factors is not None:  # undone, so that a name weighs the same in every phrase
        vectors = vectors / factors
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors = vectors.reshape(len(names), len(templates), -1).mean(axis=1)
    rule = calibration or own
    if rule.weights is not None:
        vectors = vectors * rule.weights
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    result: FloatArray = (vectors / np.maximum(lengths, 1e-12)).astype(np.float32)
    return result


def calibration_of(encoder: ImageTextEncoder) -> ZeroShotCalibration:
    """What the encoder says of itself, else the temperature that it was trained with."""
    given: Any = getattr(encoder, "calibration", None)
    if isinstance(given, ZeroShotCalibration):
        return given
    scale = getattr(encoder, "logit_scale", None)
    return ZeroShotCalibration(1 / float(scale)) if scale else ZeroShotCalibration()


def parse_calibration(values: Mapping[str, Any]) -> ZeroShotCalibration:
    """From a model folder's zero_shot.json: temperature, weights, sentences, names.

    The vectors are written as runs: [[count, value], …].
    """
    import numpy as np

    def vector(runs: Any) -> FloatArray | None:
        if not runs:
            return None
        return np.concatenate([np.full(int(n), float(v), np.float32) for n, v in runs])

    weights, sentences, names = (vector(values.get(k)) for k in ("weights", "sentences", "names"))
    return ZeroShotCalibration(float(values["temperature"]), weights, sentences, names)


def _check(names: Sequence[str], templates: Sequence[str]) -> None:
    if not names:
        raise UsageError("zero-shot classification needs at least one label")
    if not all(names):
        raise UsageError(f"label {list(names).index('') + 1} is empty: give every label a name")
    if len(set(names)) < len(names):
        twice = next(name for name in names if list(names).count(name) > 1)
        raise UsageError(f"the label {twice!r} is given twice")
    if not templates or not all("{}" in template for template in templates):
        raise UsageError("every prompt template must contain {} for the label")
