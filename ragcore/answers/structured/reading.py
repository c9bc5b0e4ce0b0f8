"""A field as a question, and the words of a quote that answer it."""

from __future__ import annotations

import re

from ragcore.answers.citations import without_marks
from ragcore.answers.structured.fields import Leaf
from ragcore.answers.structured.layout import Cell, part
from ragcore.text import stem

_ASKS = re.compile(r"(?:who|what|where|when|which|how|whose)\b", re.IGNORECASE)
_WHETHER = re.compile(
    r"whether\s+(?P<who>.+?)\s+(?P<verb>is|are|was|were|can|may|must|has|have|will|should)\s+(?P<rest>.+)$",
    re.IGNORECASE,
)
_SMALL_WORDS = (
    "a an the of in on at to for from by with as is are was were be been it its this that and or "
    "has have had do does did will can may must not no yes"
)
_SMALL = frozenset(_SMALL_WORDS.split())
LONGEST = 14  # words of a value


def question_for(leaf: Leaf, question: str, *, only: bool) -> str | None:
    """What to ask for a field; None where its name and description make no question.

    The one field of a schema that says nothing of itself is asked for by the question.
    """
    about = leaf.description.strip().rstrip(".")
    if about.endswith("?"):
        return about
    if leaf.kind == "boolean":
        match = _WHETHER.match(about)
        return f"{match['verb'].capitalize()} {match['who']} {match['rest']}?" if match else None
    if only and not about:
        return question
    if _ASKS.match(about):
        return f"{about}?"
    name = about or " ".join((*leaf.parents, leaf.name))
    return f"What is the {name[:1].lower() + name[1:]}?" if name else None


def said(answer: str, quote: Cell, asked: str) -> Cell | None:
    """The words of the quote that the answer has and the question has not."""
    given = {_key(w) for w in re.findall(r"\w+", without_marks(answer))}
    known = {_key(w) for w in re.findall(r"\w+", asked)}
    runs: list[tuple[int, int, int]] = []  # distinctive words, start, end
    count = start = end = 0
    for match in re.finditer(r"\w+", quote.text):
        key = _key(match[0])
        small = match[0].lower() in _SMALL
        gap = quote.text[end : match.start()]
        if (
            key in given
            and key not in known
            and not small
            and not (count and re.search(r"[.;:!?]\s", gap))
        ):
            start = match.start() if not count else start
            count, end = count + 1, match.end()
        elif not (small and key in given and count):
            runs.append((count, start, end))
            count = 0
    runs.append((count, start, end))
    best = max(runs, key=lambda run: run[0])
    if not best[0] or len(quote.text[best[1] : best[2]].split()) > LONGEST:
        return None
    return part(quote, best[1], best[2])


def _key(word: str) -> str:
    return stem(word.lower(), "english")
