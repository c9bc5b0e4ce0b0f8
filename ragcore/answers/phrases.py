"""Noun phrases of short English texts, found by function words alone: no tagger is needed.

Good enough to name what a conversation is about; a search decides whether a phrase fits.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

_TOKEN = re.compile(r"[^\W_]+(?:[-.'’][^\W_]+)*")


def _set(line: str) -> frozenset[str]:
    return frozenset(line.split())


_DETERMINERS = _set("the a an my your our its their his her this that these those")
_AUXILIARIES = _set("do does did can could may might must shall should will would")
_BE = _set("am is are was were be been being get gets got")
_QUESTION_WORDS = _set("who whom whose what which when where why how")
_PREPOSITIONS = _set(
    "of in on at to for from by with as into over under between during before after above below "
    "up down out off about against without within through per than since until towards"
)
_OTHER = _set(
    "and or but nor so if because not no yes only also just there here it they them he him she me "
    "us we you i one ones have has had many much long often far few all any some each every both "
    "please tell say says know give show want need there's what's else too very more most"
)
_FUNCTION_WORDS = (
    _DETERMINERS | _AUXILIARIES | _BE | _QUESTION_WORDS | _PREPOSITIONS | _OTHER
)  # fmt: skip

_BEFORE_VERBS = _BE | {
    "who",
    "how",
    "to",
    "not",
    "one",
    "ones",
    "it",
    "they",
    "he",
    "she",
    "you",
    "i",
    "we",
}


@dataclass(frozen=True, slots=True)
class Phrase:
    """A noun phrase; `source[start:end] == text`. `full` begins with its article, if it has one."""

    text: str
    start: int
    end: int
    article: str = ""
    name: bool = False  # written with a capital inside a sentence

    @property
    def full(self) -> str:
        return f"{self.article} {self.text}" if self.article else self.text


def phrases(text: str) -> list[Phrase]:
    """The noun phrases of `text` in order, each once.

    A run of words between function words is one phrase, and "of" joins two ("period of
    notice"). Words that must be verbs by their place are left out: the first after "who", the
    last of a run after an auxiliary ("does the period end"), one after a form of "be".
    """
    tokens = list(_TOKEN.finditer(text))
    lowered = [token.group().lower() for token in tokens]
    found: dict[str, Phrase] = {}
    capitals = [token.group()[0].isupper() for token in tokens]
    for first, last in _phrases(lowered, capitals):
        start, end = tokens[first].start(), tokens[last].end()
        before = lowered[first - 1] if first else ""
        piece = Phrase(
            text[start:end],
            start,
            end,
            before if before in {"the", "a", "an"} else "",
            any(capitals[n] for n in range(max(first, 1), last + 1)),
        )
        found.setdefault(piece.text.lower(), piece)
    return list(found.values())


def _phrases(tokens: list[str], capitals: list[bool]) -> Iterator[tuple[int, int]]:
    """(first, last) token of every phrase."""
    for first, last in _joined(tokens, list(_runs(tokens))):
        before = tokens[first - 1] if first else ""
        second = tokens[first - 2] if first > 1 else ""
        after = tokens[last + 1] if last + 1 < len(tokens) else ""
        verb_first = before in _BEFORE_VERBS and not capitals[first]
        verb_last = (
            before in _AUXILIARIES or (before in _DETERMINERS and second in _AUXILIARIES)
        ) and after not in _BE | {"have", "has", "of"}
        verb_last |= before in {"which", "what"} and tokens[last].endswith("s")
        if after in {"one", "ones"}:  # "a new one": the noun is elsewhere
            continue
        first += verb_first
        last -= verb_last and last > first
        if first <= last:
            yield first, last


def _runs(tokens: list[str]) -> Iterator[tuple[int, int]]:
    """(first, last) of every run of content words."""
    at = 0
    while at < len(tokens):
        if tokens[at] in _FUNCTION_WORDS:
            at += 1
            continue
        first = at
        while at < len(tokens) and tokens[at] not in _FUNCTION_WORDS:
            at += 1
        yield first, at - 1


def _joined(tokens: list[str], runs: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Runs with "of", or "of the", between them are one."""
    at = 0
    while at < len(runs):
        first, last = runs[at]
        while at + 1 < len(runs):
            following = runs[at + 1]
            if tokens[last + 1 : following[0]] not in (["of"], ["of", "the"], ["of", "a"]):
                break
            last = following[1]
            at += 1
        yield first, last
        at += 1
