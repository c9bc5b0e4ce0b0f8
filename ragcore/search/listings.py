"""Passages that only say where something is: tables of contents and indexes of a book.

They hold all the words of a query and none of the answer, so they come after what they point to.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from ragcore.types import Hit

FACTOR = 0.6  # of a listing's score
_LEAST = 4  # entries
_LONGEST = 90  # characters for each entry, on average
_PAGE = r"(?:\d{1,4}|[ivxlc]{1,7})"
_PAGES = rf"{_PAGE}(?:\s*[,–-]\s*{_PAGE})*"
# "Introduction … 3", "Introduction . . . . . 3"
_LEADER = re.compile(rf"(?:…|(?:\. ?){{2,}})\s*{_PAGES}(?!\w)")
# "2.1 Introduction 3"
_NUMBERED = re.compile(r"(?:\d{1,2}(?:\.\d{1,2})*\.?|[A-Z]\.\d[\d.]*)\s+[^\W\d_]{3}.*?\s(\d{1,4})")
# "capacitor, 12, 45-47"
_TERM = re.compile(rf"([^\W\d_][^\d|,]{{1,60}}), {_PAGES}")


def is_listing(text: str) -> bool:
    """Whether a passage is part of a table of contents or of an index."""
    leaders = len(_LEADER.findall(text)) if "…" in text or ". ." in text or ".." in text else 0
    if leaders >= _LEAST and len(text) <= leaders * _LONGEST:
        return True
    lines = [line for line in map(str.strip, text.splitlines()) if len(line) > 1]
    ending = sum(len(line) <= _LONGEST and line[-1].isalnum() for line in lines)
    if ending < max(_LEAST, 0.6 * len(lines)):
        return False
    return _is_contents(lines) or _is_index(lines)


def rank_down(hits: Sequence[Hit]) -> list[Hit]:
    """The hits with listings scored lower, best first."""
    scored = [
        replace(hit, score=FACTOR * hit.score) if is_listing(hit.text) else hit for hit in hits
    ]
    return sorted(scored, key=lambda hit: -hit.score)


def _is_contents(lines: Sequence[str]) -> bool:
    """Most lines are a numbered heading and its page, and pages do not fall."""
    found = [match for match in map(_NUMBERED.fullmatch, lines) if match]
    pages = [int(match.group(1)) for match in found]
    return len(found) >= max(_LEAST, 0.6 * len(lines)) and pages == sorted(pages)


def _is_index(lines: Sequence[str]) -> bool:
    """Most lines are a term and its pages, and terms are in the order of the alphabet."""
    terms = [match.group(1).casefold() for match in map(_TERM.fullmatch, lines) if match]
    return len(terms) >= max(_LEAST, 0.6 * len(lines)) and terms == sorted(terms)
