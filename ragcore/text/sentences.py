"""Where the sentences of a text begin and end. One rule for passages, citations and evaluation."""

from __future__ import annotations

import re
from collections.abc import Iterator

# A sentence may end at . ! ? … (closing quotes and brackets included) before white space and a
# new beginning: a capital, a digit, a bullet, or an identifier like read.fwf, snake_case, --flag;
# at a CJK full stop; at an empty line; before a line that is a list item.
# Possessive repeats and the look behind keep the time linear for any text.
_MARKS = r"""(?<![.!?…])[.!?…]++["'”’»)\]]*+"""
_END = re.compile(
    _MARKS + r"""(?=\s++["'“‘«(\[]*+(?:[^\Wa-zà-öø-ÿ_]|--?\w|\w{2,}+(?:[._]\w|\()))"""
    "|" + _MARKS + r"""(?=\s++[•\-–—*]\s)"""
    r"""|[。！？]+[」』）]*"""
    r"""|(?=\n[^\S\n]*+\n)"""
    r"""|(?=\n[^\S\n]*+[-•*–]\s)"""
)
_BEFORE = re.compile(r"[\w.]+\.$")
_AFTER = re.compile(r"\s+[\"'“‘«(\[]*([\w'’]+)(\.?)")

# Never the last word of a sentence, and those that may be where a usual beginning follows.
_NEVER = re.compile(
    r"mr|mrs|ms|dr|prof|st|gen|col|capt|lt|sgt|rev|hon|vs|cf|e\.g|i\.e|viz|fig|figs|eq|eqs|sec"
    r"|secs|ch|chap|tab|app|vol|vols|pp|ed|eds|approx|dept|est|bzw|z\.b|d\.h|u\.a|abb|bd|hrsg"
    r"|ca|nr",
    re.IGNORECASE,
)
_RARELY = re.compile(
    r"jr|sr|etc|al|inc|ltd|co|corp|u\.s|u\.k|u\.n|a\.m|p\.m|ph\.d|m\.d|b\.a|m\.a|jan|feb|mar"
    r"|apr|jun|jul|aug|sep|sept|oct|nov|dec|usw",
    re.IGNORECASE,
)
_BEFORE_NUMBERS = re.compile(r"no|p|art|para", re.IGNORECASE)
_BEGINNINGS = re.compile(
    r"a|an|the|this|that|these|those|there|it|its|he|she|his|her|they|their|we|our|you|your|i"
    r"|in|on|at|by|for|from|with|as|if|when|while|where|after|before|since|although|however"
    r"|but|and|or|so|to|all|some|many|most|each|both|one|no|not|what|who|how|why|which|then"
    r"|thus",
    re.IGNORECASE,
)


def sentence_spans(text: str, start: int = 0, end: int | None = None) -> Iterator[tuple[int, int]]:
    """(start, end) of each sentence of `text[start:end]`, outer white space left out.

    Initials ("Brian S. Dean"), abbreviations ("Fig. 3", "U.S. Army") and the numbers of a
    list's items do not end a sentence.
    """
    end = len(text) if end is None else end
    begin = start
    for match in _END.finditer(text, start, end):
        if match.group() == "." and _abbreviates(text, begin, match.end()):
            continue
        yield from _trimmed(text, begin, match.end())
        begin = match.end()
    yield from _trimmed(text, begin, end)


def _trimmed(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    while start < end and text[start].isspace():
        start += 1
    while end > start and text[end - 1].isspace():
        end -= 1
    if start < end:
        yield start, end


def _abbreviates(text: str, begin: int, stop: int) -> bool:
    """Whether the full stop before `stop` belongs to its word, in a sentence from `begin` on."""
    found = _BEFORE.search(text, max(begin, stop - 16), stop)
    if found is None:
        return False
    word = found.group()[:-1]
    before = text[max(begin, found.start() - 60) : found.start()]
    if word.isdigit():  # of a list's item
        return len(word) <= 3 and not before.strip(" (\n\t")
    after = _AFTER.match(text, stop)
    following, dotted = (after.group(1), after.group(2)) if after else ("", "")
    if _NEVER.fullmatch(word):
        return True
    if _BEFORE_NUMBERS.fullmatch(word) and following[:1].isdigit():
        return True
    usual = bool(_BEGINNINGS.fullmatch(following)) and not (dotted and len(following) == 1)
    if _RARELY.fullmatch(word) or re.fullmatch(r"(?:[A-Z]\.)+[A-Z]", word):
        return not usual
    if len(word) == 1 and word.isupper():  # an initial stands beside names
        name = (before.split() or [""])[-1].strip("(“")
        alone = not before.strip(" (\"'“‘\n\t")
        return not usual and following[:1].isupper() and (alone or name[:1].isupper())
    return False
