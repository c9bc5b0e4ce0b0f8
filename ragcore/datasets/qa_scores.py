"""Scores of short answers: exact match and token F1 as in SQuAD (Rajpurkar et al. 2016)."""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Sequence

_CITATION = re.compile(r"\s*\[\d+(?:\s*,\s*\d+)*\]")
_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)


def without_citations(text: str) -> str:
    """The answer without its [n] marks."""
    return _CITATION.sub("", text).strip()


def cited(text: str) -> list[int]:
    """The numbers in the answer's [n] marks, in order, repeats dropped."""
    found = [int(n) for mark in _CITATION.findall(text) for n in re.findall(r"\d+", mark)]
    return list(dict.fromkeys(found))


def normalized(text: str) -> str:
    """Lower case, no punctuation, no articles, single spaces: SQuAD's own normalization."""
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split())


def stands_in(answer: str, text: str) -> bool:
    """Whether the text holds the answer's words in a row, after normalization."""
    return f" {normalized(answer)} " in f" {normalized(text)} "


def exact_match(prediction: str, answers: Sequence[str]) -> float:
    """1.0 if the prediction equals one of the answers after normalization."""
    return float(any(normalized(prediction) == normalized(a) for a in answers))


def token_f1(prediction: str, answers: Sequence[str]) -> float:
    """Best harmonic mean of token precision and recall against any accepted answer, in [0, 1]."""
    return max((_f1(normalized(prediction).split(), normalized(a).split()) for a in answers),
               default=0.0)  # fmt: skip


def _f1(prediction: list[str], answer: list[str]) -> float:
    common = sum((Counter(prediction) & Counter(answer)).values())
    if not common:
        return float(prediction == answer)
    return 2 * common / (len(prediction) + len(answer))
