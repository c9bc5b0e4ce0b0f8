"""The words of a query: cut like the lexical index cuts text."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

from ragcore.catalog import QueryWords, is_unspaced
from ragcore.text import stem as snowball_stem

MAX_WORDS = 48  # distinct words that are looked up; more add time and no precision
_WORD = re.compile(r"[^\W_]+", re.UNICODE)
# Two rules that the index's stemmer has of Porter's later version: -logy is -log, -bly is -ble.
_LATER = re.compile(r"^(.*[aeiouy][^aeiouy].*)(log|bl)(?:y|ies|i)$")
_COMPOUND = re.compile(r"[^\W_]+(?:[^\w\s]+[^\W_]+)+|[^\W_]+(?:_+[^\W_]+)+", re.UNICODE)

# Function words of English questions; they rank nothing and match nearly everything.
_FUNCTION_WORDS = """
a about after all also am an and any are as at be been being both but by can could did do does
doing done each every few for from give given had has have having he her here his how i if in
into is it its itself just kind many may me might more most much must my no nor not of off on
once one only or other our out over own please same shall she should show so some such tell
than that the their them then there these they this those through to too under up upon us use
used using very was we were what when where whether which while who whom whose why will with
within without would you your
"""
STOP_WORDS = frozenset(_FUNCTION_WORDS.split())


def query_words(text: str) -> QueryWords:
    """The words of `text` worth looking up: no function words unless there are no others."""
    plain = unicodedata.normalize("NFC", text)
    found = list(dict.fromkeys(word.lower() for word in _WORD.findall(plain)))
    informative = [word for word in found if word not in STOP_WORDS] or found
    phrases = dict.fromkeys(
        " ".join(parts)
        for compound in _COMPOUND.findall(plain)
        if 1 < len(parts := [part.lower() for part in _WORD.findall(compound)]) <= 8
    )
    return QueryWords(tuple(informative[:MAX_WORDS]), tuple(phrases)[:MAX_WORDS])


@lru_cache(maxsize=50_000)
def stem(word: str) -> str:
    """The lexical index's form of a word: lower case, without accents, Porter's stem."""
    flat = "".join(
        c for c in unicodedata.normalize("NFD", word.lower()) if not unicodedata.combining(c)
    )
    return flat if len(flat) < 3 else snowball_stem(_LATER.sub(_later, flat), "porter")


def _later(found: re.Match[str]) -> str:
    return f"{found[1]}{'log' if found[2] == 'log' else 'ble'}"


def matched_words(text: str, words: tuple[str, ...], limit: int = 20) -> tuple[str, ...]:
    """Words of the query as they stand in `text`, in the order of the query, each once."""
    wanted, unspaced = _wanted(words)
    first: dict[int, str] = {}  # one form of each word is enough
    for token in dict.fromkeys(_WORD.findall(text)):
        place = wanted.get(stem(token))
        if place is not None:
            first.setdefault(place, token)
    for word in unspaced:
        if word in text:
            first.setdefault(wanted[stem(word)], word)
    return tuple(first[place] for place in sorted(first))[:limit]


@lru_cache(maxsize=64)
def _wanted(words: tuple[str, ...]) -> tuple[dict[str, int], list[str]]:
    """(place in the query by stem, words of scripts without spaces)."""
    unspaced = [word for word in words if is_unspaced(word)]
    return {stem(word): n for n, word in enumerate(words)}, unspaced
