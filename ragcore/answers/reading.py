"""What of the found passages the model gets to read."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from ragcore.answers.sentences import sentences, words
from ragcore.types import Hit

if TYPE_CHECKING:
    from ragcore.answers.citations import Encode, Rerank


# How far a passage may lie below the best one, in the reranker's logits, to be read by a model that
# reads few. On 172 dev questions beside three hard distractors, at most four passages: the gold one
# is among them for .97, and 1.8 are read; of three always read it is there for .95.
MARGIN = 3.0
NEAR = 3.0  # weight of the cosine beside the share of words, fitted on held-out questions


def most_relevant(question: str, hits: Sequence[Hit], rerank: Rerank) -> list[Hit]:
    """The hits in the order of the reranker's logits of question and passage, best first.

    Each logit is the hit's `why.rerank` then.
    """
    if not hits:
        return []
    texts = [f"{hit.heading}\n{hit.text}" if hit.heading else hit.text for hit in hits]
    logits = [float(logit) for logit in rerank(question, texts)]
    order = sorted(range(len(hits)), key=lambda i: -logits[i])
    return [replace(hits[i], why=replace(hits[i].why, rerank=logits[i])) for i in order]


def worth_reading(hits: Sequence[Hit], count: int) -> list[Hit]:
    """At most `count` (0: all) of the hits that `most_relevant` ordered.

    Where there is a limit, those within `MARGIN` of the best. A small model mixes up passages that
    it reads together.
    """
    if not count or not hits:
        return list(hits)
    least = (hits[0].why.rerank or 0.0) - MARGIN
    return [hit for hit in hits[:count] if (hit.why.rerank or 0.0) >= least]


def closest(
    question: str, hits: Sequence[Hit], count: int, *, encode: Encode | None = None
) -> list[Hit]:
    """The `count` passages (0: all) nearest to the question, those first.

    Nearness is the share of the question's words that a passage holds, rare ones (among these
    passages) weighing more, plus, with `encode`, `NEAR` times the cosine of the question and the
    passage's nearest sentence. Equal ones stay in the order of the search. A small model
    confuses passages that are alike: it answers better from two of them than from four.
    """
    if not count or len(hits) <= count:
        return list(hits)
    scores = nearness(question, [hit.text for hit in hits], encode=encode)
    order = sorted(range(len(hits)), key=lambda i: -scores[i])
    return [hits[i] for i in order[:count]]


def nearness(
    question: str, texts: Sequence[str], *, encode: Encode | None = None
) -> Sequence[float]:
    """How near each text is to the question among these: see `closest`."""
    scores = _shares(question, texts)
    if encode is None:
        return scores
    cosines = _nearest_sentences(question, texts, encode)
    return [share + NEAR * cosine for share, cosine in zip(scores, cosines, strict=True)]


def cached(encode: Encode) -> Encode:
    """`encode` that remembers every text's vector."""
    import numpy as np

    known: dict[str, Any] = {}

    def remembered(texts: Sequence[str]) -> Any:
        fresh = [text for text in dict.fromkeys(texts) if text not in known]
        if fresh:
            known.update(zip(fresh, encode(fresh), strict=True))
        return np.stack([known[text] for text in texts])

    return remembered


def _shares(question: str, texts: Sequence[str]) -> list[float]:
    """Share of the question's words in each text, weighted by their rarity among these."""
    asked = set(words(question))
    shared = [asked & set(words(text)) for text in texts]
    rarity = {
        word: math.log(1 + len(texts) / (sum(word in there for there in shared) + 0.5))
        for word in sorted(asked)
    }
    whole = sum(rarity.values()) or 1.0
    return [sum(rarity[word] for word in sorted(there)) / whole for there in shared]


def _nearest_sentences(question: str, passages: Sequence[str], encode: Encode) -> list[float]:
    """Cosine of the question and each passage's nearest sentence."""
    texts = [[s.text for s in sentences(passage)] or [passage] for passage in passages]
    vectors = encode([question, *(text for group in texts for text in group)])
    cosines = vectors[1:] @ vectors[0]
    ends = list(accumulate(map(len, texts)))
    return [
        float(cosines[end - len(group) : end].max()) for end, group in zip(ends, texts, strict=True)
    ]


def fit(hits: Sequence[Hit], count: Callable[[str], int], budget: int) -> Iterator[Hit]:
    """The best hits that fit into `budget` tokens; the last one may lose its end.

    A passage is cut after a whole sentence, so what is left is a beginning of its text and
    spans stay right. The first hit is always there, cut if it must be.
    """
    left = budget
    for hit in hits:
        size = count(hit.text) + 24  # its header
        if size <= left:
            left -= size
            yield hit
            continue
        end = 0
        for sentence in sentences(hit.text):
            if count(hit.text[: sentence.end]) + 24 > left:
                break
            end = sentence.end
        if not end and left == budget:
            end = len(hit.text) * left // (2 * size)  # one endless sentence
        if end > 80:
            span = (hit.span[0], hit.span[0] + end) if hit.span else None
            yield replace(hit, text=hit.text[:end], span=span)
        return
