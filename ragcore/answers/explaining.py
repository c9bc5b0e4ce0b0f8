"""Open questions ("Tell me about X", "How does X work?"): the sentences nearest to them.

A small model answers such a question with three words. What a reader wants stands in the passage:
its sentences nearest to the question, as they stand, in the document's order.
"""

from __future__ import annotations

from collections.abc import Sequence

from ragcore.answers.citations import Rerank
from ragcore.answers.sentences import Sentence, sentences
from ragcore.answers.sentences import words as words_of
from ragcore.types import Hit

WORDS = 80  # of an explanation, unless its asker wants another length
# The reranker's logit from which a passage that was found is about the question: a few words get
# lower ones than a whole question.
SURE = -4.0
# How far a sentence's logit may lie below the best one's: in the best passage, and in another. What
# follows a sentence says more of the same thing and names it seldom.
_NEAR = (12.0, 5.0)
_FEWEST_WORDS = 5  # what has fewer is a heading
_SAME = 0.8  # share of the shorter sentence's words
_MOST_READ = 60  # sentences that the reranker reads


def explain(
    question: str, hits: Sequence[Hit], rerank: Rerank, *, words: int = WORDS
) -> list[tuple[int, int, int]]:
    """(place in `hits`, start, end) of the spans that answer an open question, in their order.

    `hits` are as `most_relevant` ordered them. Sentences are taken by their own logit until
    `words` are reached; neighbors are one span. Empty where the best hit is not about the question.
    """
    if not hits or (hits[0].why.rerank or 0.0) < SURE:
        return []
    every = [
        (place, sentence)
        for place, hit in enumerate(hits)
        for sentence in sentences(hit.text)
        if len(sentence.text.split()) >= _FEWEST_WORDS
    ][:_MOST_READ]
    if not every:
        return []
    logits = [float(logit) for logit in rerank(question, [one.text for _, one in every])]
    best = max(logits)
    chosen: list[int] = []
    left = words
    for at in sorted(range(len(every)), key=lambda i: -logits[i]):
        size = len(every[at][1].text.split())
        if logits[at] < best - _NEAR[every[at][0] > 0]:
            continue
        if chosen and size > left:
            break
        said = set(words_of(every[at][1].text))
        if any(_same(said, set(words_of(every[other][1].text))) for other in chosen):
            continue
        chosen.append(at)
        left -= size
    return _spans([every[at] for at in sorted(chosen)], hits)


def _same(first: set[str], second: set[str]) -> bool:
    """Whether two sentences say the same in nearly the same words."""
    return len(first & second) >= _SAME * min(len(first), len(second))


def _spans(
    chosen: Sequence[tuple[int, Sentence]], hits: Sequence[Hit]
) -> list[tuple[int, int, int]]:
    """Sentences of one passage with nothing between them as one span."""
    spans: list[tuple[int, int, int]] = []
    for place, sentence in chosen:
        if spans:
            before, start, end = spans[-1]
            if before == place and not hits[place].text[end : sentence.start].strip():
                spans[-1] = (place, start, sentence.end)
                continue
        spans.append((place, sentence.start, sentence.end))
    return spans
