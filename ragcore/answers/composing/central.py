"""Central sentences.

LexRank (Erkan and Radev 2004) over the stored vectors of passages, then over their sentences.
Sentences are quoted as they are, in the order of the document.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ragcore.answers.composing.listing import repeated
from ragcore.answers.composing.quotes import one_line
from ragcore.answers.composing.sources import ScopedDocuments
from ragcore.answers.lists import is_contents
from ragcore.answers.sentences import sentences
from ragcore.catalog import DocumentText, PassageSpan

if TYPE_CHECKING:
    from ragcore.types import FloatArray

_MOST_PASSAGES = 1500  # that are compared with each other; of more an even sample
_MOST_SENTENCES = 120  # that are encoded for one summary
_THRESHOLD = 0.2  # cosines below it do not count
_DAMPING = 0.85
_EARLY = 0.08  # share of a document that counts as its beginning
_LIKE = 0.75  # cosine of two sentences of which one is left out
_OPENING = re.compile(
    r"\b(?:introduction|overview|abstract|summary|purpose|scope|about|conclusions?|preface|foreword|"
    r"results?|findings|what is|general)\b",
    re.IGNORECASE,
)
_ASIDE = re.compile(
    r"\b(?:appendix|license|license|copyright|acknowledge?ments?|history|credits|index|references|"
    r"bibliography|changelog|changes|contents|footnotes|contributors|thanks|warranty|colophon|definitions|glossary|revision)\b",
    re.IGNORECASE,
)
_LEANING = re.compile(
    r"^(?:this(?! (?:document|manual|guide|standard|paper|report|book|chapter|section|policy)\b)|"
    r"these|those|that|it|its|they|he|she|such|however|therefore|thus|hence|but|and|or|so|also|"
    r"moreover|furthermore|otherwise|then|in this case|for (?:this|example|instance)|note that|"
    r"see|if not|"
    r"as (?:above|before|mentioned)|the (?:following|above|latter|former|same|rest)|here|there|"
    r"again|both|"
    r"nevertheless|instead|similarly|alternatively|likewise|in what follows|in the following|"
    r"\d+[.)]?|(?:figure|fig\.?|table) \d+)\b|^\W|^\d+[A-Za-z]",
    re.IGNORECASE,
)
_NOTICE = re.compile(
    r"\bcopyrights?\b|trademark|all rights reserved|permission is granted|©", re.IGNORECASE
)
_OF_ITSELF = re.compile(
    r"\b(?:this|the present) (?:document|manual|guide|standard|paper|report|book|chapter|section|"
    r"policy)\b"
    r"[^.]{0,60}\b(?:describes?|covers?|explains?|defines?|provides?|contains?|is (?:a|an|the|"
    r"about|intended)|"
    r"presents?|consists?|specif(?:y|ies)|gives?|discusses|enables?|introduces?)\b|\bin this "
    r"paper\b",
    re.IGNORECASE,
)
_VERB = re.compile(
    r"\b(?:is|are|was|were|has|have|can|may|must|should|will|does|do|provides?|describes?|contains?|"
    r"supports?|allows?|means?|requires?|defines?|uses?|gives?|includes?|shows?|\w+ed|\w{3,}es)\b",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Central:
    """A sentence of a document that stands for others, with its weight."""

    start: int
    end: int
    weight: float


def ranks(vectors: FloatArray, prior: FloatArray | None = None) -> FloatArray:
    """LexRank of normalized vectors [n, d]: [n], summing to 1.

    `prior` [n] weighs where the random walk starts again.
    """
    count = len(vectors)
    similar = np.asarray(vectors @ vectors.T, np.float32)
    similar[similar < _THRESHOLD] = 0
    np.fill_diagonal(similar, 0)
    sums = similar.sum(axis=1, keepdims=True)
    steps = np.where(sums > 0, similar / np.maximum(sums, 1e-9), 1 / count)
    start = np.full(count, 1 / count, np.float32) if prior is None else prior / prior.sum()
    rank = start.copy()
    for _ in range(100):
        following = (1 - _DAMPING) * start + _DAMPING * (rank @ steps)
        if float(np.abs(following - rank).sum()) < 1e-6:
            break
        rank = following
    return rank.astype(np.float32)


def is_prose(text: str) -> bool:
    """Whether a passage is made of sentences: no table, listing or table of contents."""
    letters = sum(c.isalpha() or c.isspace() for c in text)
    lines = text.count("\n") + 1
    return (
        len(text) >= 80
        and letters > 0.8 * len(text)
        and text.count("\t") < 4
        and len(text) / lines > 45
        and not is_contents(text)
    )


def stands_alone(text: str) -> bool:
    """Whether a sentence can be read without those around it."""
    line = one_line(text)
    return (
        30 <= len(line) <= 420
        and line[-1] in ".!"
        and not line[0].islower()
        and not _LEANING.match(line)
        and not _NOTICE.search(line)
        and len(_VERB.findall(line)) > 0
        and line.count('"') % 2 == 0
        and sum(c.isalpha() or c.isspace() for c in line) > 0.85 * len(line)
    )


def central_sentences(
    document: DocumentText,
    sources: ScopedDocuments,
    count_words: int,
    *,
    span: tuple[int, int] | None = None,
    topic: str = "",
) -> list[Central]:
    """Sentences of a document (within `span`) of about `count_words` words together, in order.

    With `topic` those near it. Empty where the document has no prose.
    """
    every = document.within(*span) if span else document.passages
    passages = [p for p in every if is_prose(document.text[p.start : p.end])]
    if not passages:  # a short document's lists and sentences share its passages
        passages = [p for p in every if not is_contents(document.text[p.start : p.end])]
    if not passages:
        return []
    step = -(-len(passages) // _MOST_PASSAGES)
    passages = passages[::step]
    chosen = _best_passages(document, passages, sources, count_words, topic)
    found = _candidates(document, chosen, span)
    if not found:
        return []
    return _select(document, found, sources, count_words, topic)


def _best_passages(
    document: DocumentText,
    passages: Sequence[PassageSpan],
    sources: ScopedDocuments,
    count_words: int,
    topic: str,
) -> list[tuple[PassageSpan, float]]:
    """The passages that sentences are taken from, with their weights in [0, 1]."""
    wanted = max(4, count_words // 12)
    known = sources.vectors(document, [p.id for p in passages])
    if len(passages) <= wanted or len(known) < len(passages):
        return [(p, 1.0) for p in passages[: 2 * wanted]]
    vectors = np.stack([known[p.id] for p in passages])
    prior = np.array([_prior(document, p) for p in passages], np.float32)
    rank = ranks(vectors, prior) * np.sqrt(prior)
    if topic:
        near = np.maximum(vectors @ sources.encode([topic])[0], 0)
        rank = rank * near**2
    weights = rank / max(float(rank.max()), 1e-9)
    order: list[int] = []
    for n in np.argsort(-weights, kind="stable").tolist():
        if all(float(vectors[n] @ vectors[m]) < 0.85 for m in order):
            order.append(n)
        if len(order) >= wanted:
            break
    return [(passages[n], float(weights[n])) for n in sorted(order)]


def _prior(document: DocumentText, passage: PassageSpan) -> float:
    """Introductions count more, appendices less."""
    heading = passage.heading
    weight = 1.0
    if _OPENING.search(heading):
        weight *= 2.0
    if _ASIDE.search(heading):
        weight *= 0.15
    early = passage.start < _EARLY * len(document.text)
    return weight * (1.6 if early else 1.0)


def _candidates(
    document: DocumentText,
    passages: Sequence[tuple[PassageSpan, float]],
    span: tuple[int, int] | None,
) -> list[Central]:
    found = []
    for passage, weight in passages:
        text = document.text[passage.start : passage.end]
        for one in sentences(text):
            body = _without_heading(one.text)
            start = passage.start + one.end - len(body)
            inside = span is None or span[0] <= start < span[1]
            if inside and stands_alone(body) and not repeated(document, body):
                found.append(Central(start, start + len(body), weight))
    found.sort(key=lambda one: -one.weight)
    return found[:_MOST_SENTENCES]


def _without_heading(text: str) -> str:
    """What follows the last blank line: a heading has no full stop and sticks to its sentence."""
    return re.split(r"\n[ \t]*\n|\f", text)[-1].lstrip()


def _select(
    document: DocumentText,
    found: Sequence[Central],
    sources: ScopedDocuments,
    count_words: int,
    topic: str,
) -> list[Central]:
    texts = [one_line(document.text[one.start : one.end]) for one in found]
    vectors = sources.encode([topic or document.title, *texts])
    about, own = vectors[0], vectors[1:]
    near = np.maximum(own @ about, 0)
    rank = ranks(own)
    rank = rank / max(float(rank.max()), 1e-9)
    weights = np.array([one.weight for one in found], np.float32)
    early = np.array([one.start < _EARLY * len(document.text) for one in found], np.float32)
    itself = np.array([bool(_OF_ITSELF.search(text)) for text in texts], np.float32)
    score = (
        0.8 * itself
        + rank
        + weights
        + (2.0 if topic else 1.0) * near
        + (0.0 if topic else 0.4) * early
    )
    chosen: list[int] = []
    total = 0
    for n in np.argsort(-score, kind="stable").tolist():
        if any(float(own[n] @ own[m]) > _LIKE for m in chosen):
            continue
        size = len(texts[n].split())
        if chosen and total + size > 1.15 * count_words:
            continue
        chosen.append(n)
        total += size
        if total >= count_words:
            break
    return sorted((found[n] for n in chosen), key=lambda one: one.start)
