"""Measures of image search, over unit vectors (or any whose dot product is the score)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    from ragcore.types import FloatArray

RANKS = (1, 5, 10)


def caption_recall(
    images: FloatArray, captions: FloatArray, owner: Sequence[int]
) -> dict[str, float]:
    """Recall@1/5/10 both ways: t2i@k, i2t@k.

    `images` [n, d], `captions` [m, d]; caption j belongs to image `owner[j]`. t2i: the share of
    captions whose image is among the k best images; i2t: of images that have one of their own
    captions among the k best. An equal score of a wrong one counts as found before it.
    """
    import numpy as np

    owners = np.asarray(owner)
    ranks_text = np.empty(len(captions), np.int64)
    best_own = np.full(len(images), -np.inf, np.float32)
    step = 2048
    for start in range(0, len(captions), step):
        scores = captions[start : start + step] @ images.T
        own = scores[np.arange(len(scores)), owners[start : start + step]]
        ranks_text[start : start + step] = (scores >= own[:, None]).sum(1) - 1
        np.maximum.at(best_own, owners[start : start + step], own)
    ranks_image = np.empty(len(images), np.int64)
    for start in range(0, len(images), step):
        scores = images[start : start + step] @ captions.T
        wrong = owners[None, :] != np.arange(start, start + len(scores))[:, None]
        ahead = (scores >= best_own[start : start + step, None]) & wrong
        ranks_image[start : start + step] = ahead.sum(1)
    has_caption = np.isfinite(best_own)
    result = {f"t2i@{k}": float((ranks_text < k).mean()) for k in RANKS}
    return result | {f"i2t@{k}": float((ranks_image[has_caption] < k).mean()) for k in RANKS}


def label_recall(images: FloatArray, labels: Sequence[int]) -> dict[str, float]:
    """class_recall@1/5/10: the share of images with one of their own kind among the k nearest.

    `images` [n, d]; images that are the only one of their label are left out.
    """
    import numpy as np

    given = np.asarray(labels)
    scores = images @ images.T
    np.fill_diagonal(scores, -np.inf)
    k = min(max(RANKS), len(images) - 1)
    nearest = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    same = given[nearest] == given[:, None]
    counted = np.bincount(given)[given] > 1
    if not counted.any():
        return {}
    return {f"class_recall@{r}": float(same[counted, :r].any(1).mean()) for r in RANKS}


def top_k(probabilities: FloatArray, labels: Sequence[int]) -> dict[str, float]:
    """zeroshot@1 and zeroshot@5 of class probabilities [n, c]."""
    import numpy as np

    order = np.argsort(-probabilities, axis=1, kind="stable")
    found: np.ndarray = order == np.asarray(labels)[:, None]
    return {f"zeroshot@{k}": float(found[:, :k].any(1).mean()) for k in (1, 5)}


def caption_bleu(said: Sequence[str], references: Sequence[Sequence[str]]) -> float:
    """Corpus BLEU-4 of captions against people's, in [0, 1], as sacrebleu computes it.

    Post 2018; its own tokens, case counts. Images may have different numbers of references.
    """
    from sacrebleu import corpus_bleu

    most = max(len(several) for several in references)
    # sacrebleu takes one list for each place; None stands where an image has fewer
    lists: list[Any] = [[r[k] if k < len(r) else None for r in references] for k in range(most)]
    return float(corpus_bleu(list(said), lists).score) / 100
