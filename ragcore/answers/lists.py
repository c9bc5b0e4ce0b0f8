"""Lists in a text: bullets, numbers, options, "First … then …", each item with its place."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from ragcore.answers.sentences import Sentence, sentences

FEWEST = 2  # items that make a list
_LEADS = re.compile(
    r"\b(?:following|below|as follows|(?:a )?number of|these|such as|includes?|several|some|"
    r"steps|ways|"
    r"components|requires?|required)\b[^.]*[.:]?$|:$",
    re.IGNORECASE,
)
_LEANS = re.compile(r"(?:it|its|it['’]s|this|that|these|those|they|their|such)\b", re.IGNORECASE)
_LEAD = 300  # characters before a list in which its introduction is looked for
_BETWEEN = 500  # characters of a paragraph that goes on with the item before it
_ITEM = re.compile(
    r"(?:^|(?<=[\n\f]))[ \t]*(?:(?P<bullet>[•▪◦‣·●○*]|[-–—](?=\s))|(?P<number>\(?\d{1,2}[.)]|"
    r"[Ss]tep \d{1,2}[.:)]?)"
    r"|(?P<letter>\(?[a-z][.)]|\([ivx]{1,4}\)|[ivx]{2,4}[.)])|(?P<option>--?[A-Za-z][\w-]*))(?=\s)\s+(?=\S)"
)
_TABLE = re.compile(r"(?:(?<=[\n\f])|^)(?:[^\n\f\t|]+(?:\t| \| )[^\n\f]*(?:\n|\Z)){3,}")
_BREAK = re.compile(r"\n[ \t]*\n|\f")
_ROMAN = ("i", "ii", "iii", "iv", "v", "vi", "vii", "viii", "ix", "x")
_FIRST = re.compile(r"^(?:first(?:ly)?|to begin(?: with)?|to start(?: with)?|start by)\b", re.I)
_NEXT = re.compile(
    r"^(?:second(?:ly)?|third(?:ly)?|fourth(?:ly)?|then|next|after (?:that|this)|afterwards?|"
    r"finally|lastly|"
    r"once (?:that|this) is|now|at last|in the end)\b",
    re.I,
)
_CONTENTS = re.compile(r"(?:…|\.{2,}|\t|(?:\. ){3,})[\s.…]*(?:\d{1,4}|[ivxl]{1,6})\s*$")


@dataclass(frozen=True, slots=True)
class Item:
    """An item without its mark; `whole[start:end]` is its text, `mark` what stood before it."""

    start: int
    end: int
    mark: str = ""


@dataclass(frozen=True, slots=True)
class ItemList:
    """Neighboring items of one kind. [lead_start, lead_end) introduces them; empty without one.

    `ordered`: numbered, or written as a sequence.
    """

    items: tuple[Item, ...]
    lead_start: int
    lead_end: int
    ordered: bool

    def moved(self, by: int) -> ItemList:
        """The same in a text that begins `by` characters earlier."""
        items = tuple(replace(one, start=one.start + by, end=one.end + by) for one in self.items)
        return ItemList(items, self.lead_start + by, self.lead_end + by, self.ordered)


def find_lists(text: str) -> list[ItemList]:
    """The lists of a text in order, those of at least `FEWEST` items.

    An item ends where the next one begins or its paragraph ends; an item's mark without
    another of its kind near it is no list. Lists inside an item are part of it.
    """
    found = [
        one
        for one in (*_marked(text), *_sequences(text), *_rows(text))
        if not is_contents(text[one.items[0].start : one.items[-1].end])
        and not is_contents(text[one.lead_start : one.items[-1].end])
    ]
    found.sort(key=lambda one: one.items[0].start)
    return found


def is_contents(text: str) -> bool:
    """Whether a text is mostly lines of a table of contents or an index."""
    lines = [line for line in re.split(r"[\n\f]", text) if line.strip()]
    entries = sum(bool(_CONTENTS.search(line)) or line.count("…") > 2 for line in lines)
    return entries >= max(2, 0.4 * len(lines)) or text.count(" … ") > 8


# --- marked items ----------------------------------------------------------------


@dataclass(slots=True)
class _Mark:
    kind: str
    text: str
    start: int  # of the mark
    body: int  # of what follows it


def _marks(text: str) -> Iterator[_Mark]:
    for match in _ITEM.finditer(text):
        kind = match.lastgroup or ""
        mark = match.group(kind)
        yield _Mark(
            f"{kind} {mark}" if kind == "bullet" else kind, mark, match.start(), match.end()
        )


def _marked(text: str) -> Iterator[ItemList]:
    marks = list(_marks(text))
    used = 0
    for at, first in enumerate(marks):
        if first.start < used or not _begins(first):
            continue
        group = [first]
        for mark in marks[at + 1 :]:
            if mark.kind != first.kind:
                continue
            if not _follows(group[-1], mark, text, len(group)):
                break
            group.append(mark)
        if len(group) < FEWEST:
            continue
        items = [
            _item(text, one, group[n + 1].start if n + 1 < len(group) else None)
            for n, one in enumerate(group)
        ]
        used = items[-1].end
        start, end = _lead(text, first.start)
        yield ItemList(tuple(items), start, end, first.kind == "number")


def _number(mark: str) -> int | None:
    digits = re.search(r"\d+", mark)
    return int(digits[0]) if digits else None


def _begins(mark: _Mark) -> bool:
    """A list of numbers begins with 1, one of letters with a or i."""
    if mark.kind == "number":
        return _number(mark.text) == 1
    if mark.kind == "letter":
        return mark.text.strip("().") in {"a", "i"}
    return True


def _after(letter: str) -> set[str]:
    """What may come after a letter or a small Roman number."""
    following = set()
    if letter in _ROMAN[:-1]:
        following.add(_ROMAN[_ROMAN.index(letter) + 1])
    if len(letter) == 1 and letter < "z":
        following.add(chr(ord(letter) + 1))
    return following


def _follows(before: _Mark, mark: _Mark, text: str, count: int) -> bool:
    """Whether `mark` is the next item after `before`, the `count`-th one."""
    between = text[before.body : mark.start]
    if mark.kind == "number":
        numbers = (_number(before.text), _number(mark.text))
        return None not in numbers and numbers[1] == (numbers[0] or 0) + 1 and len(between) < 6000
    if mark.kind == "letter":
        return len(between) < 6000 and mark.text.strip("().") in _after(before.text.strip("()."))
    if between.rstrip().endswith(":") and mark.kind != "option":
        return False  # what follows is another list, which this introduces
    limit = _BETWEEN if mark.kind != "option" else 6 * _BETWEEN
    paragraphs = [p for p in _BREAK.split(between) if p.strip()]
    inner = [p for p in paragraphs[1:] if not _ITEM.match(p.strip())]
    return sum(map(len, inner)) <= limit and not any(_is_heading(p) for p in inner)


def _is_heading(paragraph: str) -> bool:
    line = paragraph.strip()
    return len(line) < 80 and bool(re.match(r"(?:\d+(?:\.\d+)*\.?|[A-Z])\s+[A-Z]", line))


def _item(text: str, mark: _Mark, following: int | None) -> Item:
    """The item to where the next one begins; the last one to the end of its paragraph."""
    if following is None:
        ends = _BREAK.search(text, mark.body)
        following = ends.start() if ends else len(text)
        if ends and ends.group() == "\f" and text[ends.end() : ends.end() + 1].islower():
            # The paragraph runs on on the next page.
            after = _BREAK.search(text, ends.end())
            following = after.start() if after else len(text)
    end = following
    while end > mark.body and text[end - 1].isspace():
        end -= 1
    if text[end - 1] == ":":  # its last sentence introduces another list
        parts = sentences(text[mark.body : end])
        if len(parts) > 1:
            end = mark.body + parts[-2].end
    return Item(mark.body, end, mark.text)


def _lead(text: str, start: int) -> tuple[int, int]:
    """The paragraph before the list, its last sentences, if it is near and ends like one."""
    end = start
    while end > 0 and text[end - 1].isspace():
        end -= 1
    begin = max(0, end - _LEAD)
    breaks = [*_BREAK.finditer(text, begin, end)]
    if breaks:
        begin = breaks[-1].end()
    elif begin:
        starts = [s.start for s in sentences(text[begin:end])][1:]
        begin = begin + starts[0] if starts else end
    while begin < end and text[begin].isspace():
        begin += 1
    if text[begin:end].endswith(":"):  # its last sentence is enough, if that stands alone
        parts = sentences(text[begin:end])
        last = len(parts) - 1
        while last and _LEANS.match(parts[last].text):
            last -= 1
        begin += parts[last].start
    return (begin, end) if begin < end and _leads(text[begin:end]) else (start, start)


def _leads(text: str) -> bool:
    """Whether a text introduces what follows: it says so, or is a short heading."""
    return text.endswith((":", "are")) or len(text) < 80 or bool(_LEADS.search(text))


# --- rows --------------------------------------------------------------------------


def _rows(text: str) -> Iterator[ItemList]:
    """Rows of a table of two or more columns below a line of names."""
    for match in _TABLE.finditer(text):
        lines = list(re.finditer(r"[^\n\f]+", match.group()))
        if len(lines) <= FEWEST or re.search(r"\d", lines[0].group()):
            continue
        at = match.start()
        items = tuple(Item(at + one.start(), at + one.end()) for one in lines[1:])
        start, end = _lead(text, at)
        yield ItemList(items, start, end, False)


# --- first, then -------------------------------------------------------------------


def _sequences(text: str) -> Iterator[ItemList]:
    """Lists such as "First …. Then …. Finally …." in sentences that follow each other."""
    spans = sentences(text)
    at = 0
    while at < len(spans):
        if not _FIRST.match(spans[at].text):
            at += 1
            continue
        group = _sequence(spans, at)
        if len(group) >= FEWEST:
            start, end = _lead(text, spans[at].start)
            yield ItemList(tuple(Item(s.start, s.end) for s in group), start, end, True)
        at += max(1, len(group))


def _sequence(spans: Sequence[Sentence], at: int) -> list[Sentence]:
    group = [spans[at]]
    for n in range(at + 1, len(spans)):
        one = spans[n]
        if _NEXT.match(one.text):
            group.append(one)
        elif n + 1 < len(spans) and _NEXT.match(spans[n + 1].text) and len(one.text) < 250:
            last = group[-1]  # it explains the step before it
            whole = one.end - last.start
            group[-1] = Sentence(last.text + " " + one.text, last.start, last.start + whole)
        else:
            break
    return group
