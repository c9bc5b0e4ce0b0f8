"""From raw scores to a relevance in [0, 1], the same for every query and collection.

Passages. s = cosine + coverage, where coverage = BM25 / (2.2 * sum of the query words' idf) is
the share of the best BM25 that a text could have for this query. On Cranfield, MED and 1,624
SQuAD paragraphs, the queries of each set were put to all three: judged passages of the own set
against the five best of another set (which holds nothing on the subject). A logistic regression
on s separates the two with AUC 0.996 and puts the border at s = 0.503: 96.5 % of the judged
passages lie above it, 3.1 % of the foreign ones. The fitted slope (23) would call nearly
everything 0 or 1; `PASSAGE_SLOPE` is gentler, so that a cut-off can be moved with some feeling,
and leaves the border at 0.5.

Images by words. A cosine between words and an image means something else in each model, and
some images are close to any words. So it is compared with the cosines that `BACKGROUND`, words
for all sorts of things, have with the same images, and counted in their standard deviations.
With the starter model and 200 images of Flickr8k dev, the border of 3.5 lets the best image
through for 95 % of 300 captions, and for 9 % of 90 queries of Cranfield and MED; names of
things that are in none of the images ("a submarine") still pass in a quarter of the cases.
Two images: of Caltech-101's pairs of one class 78 % lie above the border, of other pairs 1 %.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from ragcore.models import ImageTextEncoder
    from ragcore.types import FloatArray

BM25_CEILING = 2.2  # k1 + 1: what BM25 gives a word for each unit of idf at most
PASSAGE_BORDER = 0.50
PASSAGE_SLOPE = 8.0
CUTOFF = 0.5  # the default: the border of the fits

WORDS_BORDER = 3.5  # standard deviations above what other words get from the same image
WORDS_SLOPE = 2.0
WRITTEN_BORDER = 0.30  # coverage of the query by the text in and around an image
WRITTEN_SLOPE = 12.0
IMAGE_BORDER = 0.40  # cosine of two images that show the same kind of thing
IMAGE_SLOPE = 12.0
RERANK_SLOPE = 1.0  # a cross-encoder gives logits already


def passage_relevance(strength: FloatArray) -> FloatArray:
    """Relevance of passages from s = cosine + coverage."""
    return _logistic(PASSAGE_SLOPE * (strength - PASSAGE_BORDER))


def rerank_relevance(logits: FloatArray) -> FloatArray:
    """Relevance from a cross-encoder's logits."""
    return _logistic(RERANK_SLOPE * logits)


def written_relevance(coverage: FloatArray) -> FloatArray:
    """Relevance of images from the words in them, in their captions and their names."""
    return _logistic(WRITTEN_SLOPE * (coverage - WRITTEN_BORDER))


def image_relevance(cosines: FloatArray) -> FloatArray:
    """Relevance of images to an image."""
    return _logistic(IMAGE_SLOPE * (cosines - IMAGE_BORDER))


BACKGROUND = tuple(
    """a dog; a cat; a bird in a tree; a horse; fish under water; an insect; a child playing;
    a woman's face; a man at work; a crowd of people; a football match; a swimmer; a bicycle;
    a car in the street; a train; an aeroplane; a ship at sea; a bridge; a tall building;
    an old church; a kitchen; a bedroom; an office desk; a bookshelf; a plate of food; fruit;
    a cup of coffee; a bottle; a flower; a forest; a mountain; a beach; a river; snow; the night
    sky; a sunset; rain; fire; a map; a chart of numbers; a page of text; a handwritten letter;
    a receipt; a logo; a painting; a statue; a toy; a clock; a telephone; a computer screen;
    a guitar; a dancer; a wedding; a birthday cake; a uniform; a pair of shoes; a hat; jewellery;
    a tool; a machine; an engine; electrical wires; a microscope; an x-ray; a hospital;
    a classroom; a market; a farm; a tractor; a dam; a desert; a cave; an empty room; stairs;
    a window; a door; a fence; a road sign; a flag; money; a candle; a lamp; a mirror""".replace(
        "\n", " "
    ).split("; ")
)

_UNRELATED = (
    "The recipe asks for two eggs, a cup of flour and a pinch of salt.",
    "Interest rates rose by a quarter of a point last Tuesday.",
    "The goalkeeper saved a penalty in the final minute of the match.",
    "Enzymes lower the activation energy of chemical reactions in cells.",
    "Please tighten the four screws on the back of the cabinet.",
    "The treaty was signed in the spring of the following year.",
    "Her grandmother taught her to knit when she was six.",
    "The function returns an empty list when the file has no rows.",
    "Glaciers carve deep valleys as they move towards the sea.",
    "Tickets for the evening train can be bought at the station.",
    "The violin enters two bars after the piano.",
    "A tenant must give three months of notice in writing.",
)


class ImageBackground:
    """What words for all sorts of things have in common in one image-text space."""

    def __init__(self, space: str, vectors: FloatArray) -> None:
        """`vectors` [b, d] are the unit vectors of `BACKGROUND`."""
        self.space = space
        self._vectors = vectors
        self._middle = vectors.mean(axis=0)

    @classmethod
    def of(cls, encoder: ImageTextEncoder) -> ImageBackground:
        texts = [" ".join(text.split()) for text in BACKGROUND]
        return cls(encoder.space.name, encoder.encode_texts(texts))

    def direction(self, words: FloatArray) -> FloatArray:
        """What a text says beyond being a text: unit vector [d] from the middle of all texts."""
        away = words - self._middle
        return np.asarray(away / max(float(np.linalg.norm(away)), 1e-9), dtype=np.float32)

    def relevance(self, images: FloatArray, cosines: FloatArray) -> FloatArray:
        """Relevance of `images` [n, d] to words, from their cosines [n] with them."""
        return _logistic(WORDS_SLOPE * (self.deviations(images, cosines) - WORDS_BORDER))

    def deviations(self, images: FloatArray, cosines: FloatArray) -> FloatArray:
        """By how many standard deviations the cosines exceed those of the background.

        One mean and one deviation for all of the images, so that their order stays that of the
        cosines: taken for each image apart, they ranked worse (recall@1 0.58 instead of 0.70).
        """
        if not len(images):
            return np.zeros(0, np.float32)
        others = images @ self._vectors.T
        spread = max(float(others.std()), 1e-4)
        return np.asarray((cosines - others.mean()) / spread, dtype=np.float32)


def cosine_floor(encode: Callable[[Sequence[str]], FloatArray]) -> float:
    """The mean cosine of texts that have nothing to do with each other, at least 0.

    Some encoders give unrelated texts 0.6 and more; the border above was fitted where it is 0.03
    (MiniLM). `encode` maps texts to unit vectors [n, d].
    """
    vectors = encode(_UNRELATED)
    cosines = vectors @ vectors.T
    apart = cosines[~np.eye(len(cosines), dtype=bool)]
    return max(0.0, float(apart.mean()) - 0.03)


def _logistic(x: FloatArray) -> FloatArray:
    return (1 / (1 + np.exp(-np.clip(x, -60, 60)))).astype(np.float32)
