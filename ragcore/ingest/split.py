"""Documents into passages: along headings, paragraphs and sentences, with exact offsets.

A document's text is its pages' texts joined by one form feed. Passages are cut from it in order
and do not overlap: a sentence stands in one passage. Linear in the length of the text.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ragcore.text import sentence_spans
from ragcore.types import (
    DEFAULT_PASSAGES,
    PAGE_BREAK,
    Page,
    PassageDraft,
    PassageSize,
    ReadDocument,
)

_HEADING_LENGTH = 200
_LEAD_TOKENS = 40
_SHORT_TOKENS = 40  # a rest of a section below this joins the passage before it
_HEADING_TOKENS = 24  # what stands under a heading and has less than this is a heading, too
_TABLE_CELL = re.compile(r" \| |\t")


def document_text(pages: Sequence[Page]) -> str:
    """The text that passage offsets refer to."""
    return PAGE_BREAK.join(page.text for page in pages)


def page_starts(pages: Sequence[Page]) -> list[int]:
    """The offset of each page's first character in `document_text(pages)`."""
    starts, offset = [], 0
    for page in pages:
        starts.append(offset)
        offset += len(page.text) + 1
    return starts


_TOKEN = re.compile(r"[^\W\d_]+|\d+|[^\w\s]|_")
_CJK = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")


def approximate_tokens(text: str) -> int:
    """About the number of word pieces that an English BERT vocabulary makes of `text`.

    Measured on English prose and manuals it is within some 10 %; long and foreign words, numbers
    and marks count more than one each, as they do there.
    """
    count = 0
    for token in _TOKEN.findall(text):
        length = len(token)
        if length <= 8 and token.isascii():
            count += 1 if not token.isdigit() else (length + 2) // 3
        elif _CJK.match(token):
            count += length
        else:
            count += (length + 3) // 4
    return count


def approximate_reach(text: str, start: int, end: int, limit: float) -> int:
    """The furthest place up to `end` with at most `limit` tokens from `start`.

    By `approximate_tokens`; at least one character on. Reads no further than that.
    """
    at, count = start, 0
    # Whole words at a time while they fit surely: most of a part is counted at one go.
    while (ahead := text.rfind(" ", at, min(end, at + int(limit - count)))) > at:
        count += approximate_tokens(text[at:ahead])
        at = ahead
    for match in _TOKEN.finditer(text, at, end):
        cost = approximate_tokens(match.group())
        if count + cost > limit:
            if count:
                return match.start()
            return max(start + 1, match.start() + int(limit * (match.end() - match.start()) / cost))
        count += cost
    return end


_COMMON = "the of and to is that for with are this by be from or which it not"
_ENGLISH = frozenset(_COMMON.split())
_FOREIGN_FACTOR = 1.4  # measured: German 1.26, French 1.42, Latin 1.57


@dataclass(frozen=True, slots=True)
class TokenCount:
    """`approximate_tokens`, times a factor."""

    factor: float = 1.0

    def __call__(self, text: str) -> int:
        return round(self.factor * approximate_tokens(text))

    def times(self, factor: float) -> TokenCount:
        """The same, times another factor."""
        return TokenCount(self.factor * factor)

    def reach(self, text: str, start: int, end: int, limit: int) -> int:
        """See `approximate_reach`."""
        return approximate_reach(text, start, end, limit / self.factor)


def token_counter(text: str) -> TokenCount:
    """What counts the tokens of `text`.

    More for one that is not in English, because an English vocabulary breaks its short words, too.
    """
    words = re.findall(r"[^\W\d_]+", text[:200_000].lower())
    if len(words) < 50 or sum(word in _ENGLISH for word in words) > 0.06 * len(words):
        return TokenCount()
    return TokenCount(_FOREIGN_FACTOR)


def split(document: ReadDocument, size: PassageSize = DEFAULT_PASSAGES) -> list[PassageDraft]:
    """The passages of `document`, in order, covering all of its text.

    A passage is closed at a heading, and at a paragraph's end once it holds about
    `size.target` tokens; a longer paragraph is cut between sentences, a table or listing
    between lines, and only a sentence longer than a passage between words. Tokens are counted as
    `token_counter` estimates. With an overlap, a passage begins with the last whole sentences of
    the one before under the same heading. Offsets hold exactly:
    `passage.text == document_text(pages)[start:end]`.

    Raises `ValueError` unless 0 <= size.overlap < size.tokens and size.factor > 0.
    """
    if not (0 <= size.overlap < size.tokens and size.factor > 0):
        raise ValueError("a passage has tokens above 0, and an overlap of fewer than these")
    text = document_text(document.pages)
    count = token_counter(text).times(size.factor)
    starts = page_starts(document.pages)
    numbers = [page.number for page in document.pages]
    limit = size.tokens - size.overlap
    packer = _Packer(size.target, limit)
    for section in _sections(document.pages, text, starts):
        for piece in _pieces(text, section, limit, count):
            packer.add(piece)
        packer.end_section()
    drafts: list[PassageDraft] = []
    for group, before in zip(packer.groups, [None, *packer.groups], strict=False):
        start, end = group.start, group.end
        if size.overlap and before is not None and before.heading == group.heading:
            start = _overlapping(text, before.start, start, size.overlap, count)
        drafts.append(
            PassageDraft(
                text=text[start:end],
                start=start,
                end=end,
                page=numbers[bisect_right(starts, start) - 1],
                page_end=numbers[bisect_right(starts, end - 1) - 1],
                heading=group.heading,
            )
        )
    return drafts


def _overlapping(text: str, before: int, start: int, overlap: int, count: TokenCount) -> int:
    """The first start of a sentence at most `overlap` tokens before `start`.

    It is after `before`.
    """
    for sentence, _ in sentence_spans(text, before, start):
        if sentence > before and count(text[sentence:start]) <= overlap:
            return sentence
    return start


# --- sections: what stands under one heading ----------------------------------


@dataclass(frozen=True, slots=True)
class _Section:
    start: int
    end: int
    heading: str


def _sections(pages: Sequence[Page], text: str, starts: Sequence[int]) -> Iterator[_Section]:
    path: list[tuple[int, str]] = []
    begin, heading = 0, ""
    for page, offset in zip(pages, starts, strict=True):
        for start, level, title in page.headings:
            at = offset + start
            if at > begin:
                yield _Section(begin, at, heading)
                begin = at
            while path and path[-1][0] >= level:
                path.pop()
            path.append((level, title))
            heading = _heading(path)
    yield _Section(begin, len(text), heading)


def _heading(path: Sequence[tuple[int, str]]) -> str:
    """The path's titles, the outermost dropped while the whole is too long."""
    titles = [title for _, title in path]
    while len(titles) > 1 and len(" > ".join(titles)) > _HEADING_LENGTH:
        titles.pop(0)
    return " > ".join(titles)[:_HEADING_LENGTH]


# --- pieces: what is not cut any further --------------------------------------


@dataclass(frozen=True, slots=True)
class _Piece:
    """A sentence, a table's lines, or a whole paragraph that fits.

    `breakable` says how good a place its start is to begin a passage: 2 a paragraph's start,
    1 a sentence's or line's, 0 the middle of a sentence.
    """

    start: int
    end: int
    tokens: int
    heading: str
    breakable: int
    leads: bool = False  # a short line that ends in a colon: it belongs to what follows


# Paragraphs end at a blank line. A page's end is none: its last paragraph may run on.
_PARAGRAPH_END = re.compile(r"\n[ \t]*\n\s*")


def _pieces(text: str, section: _Section, limit: int, count: TokenCount) -> Iterator[_Piece]:
    for start, end in _paragraphs(text, section.start, section.end):
        tokens = count(text[start:end])
        if tokens <= limit and PAGE_BREAK not in text[start:end]:
            leads = text[end - 1] == ":" and tokens < _LEAD_TOKENS
            yield _Piece(start, end, tokens, section.heading, 2, leads)
            continue
        heading = section.heading
        lines = _line_spans(text, start, end)
        if _is_table(text, lines):
            header = " ".join(text[slice(*lines[0])].split())
            if len(lines) > 2 and len(header) <= 120 and _TABLE_CELL.search(text[slice(*lines[0])]):
                heading = f"{heading} > {header}" if heading else header
            spans = lines
        elif _is_listing(text, lines):
            spans = lines
        else:
            spans = list(sentence_spans(text, start, end))
        first = True
        for begin, stop in spans:
            for a, b, whole in _fit(text, begin, stop, limit, count):
                yield _Piece(
                    a,
                    b,
                    count(text[a:b]),
                    section.heading if first else heading,
                    2 if first else (1 if whole else 0),
                )
                first = False


def _paragraphs(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    begin = start
    for match in _PARAGRAPH_END.finditer(text, start, end):
        span = _trim(text, begin, match.start())
        if span:
            yield span
        begin = match.end()
    span = _trim(text, begin, end)
    if span:
        yield span


def _trim(text: str, start: int, end: int) -> tuple[int, int] | None:
    while start < end and text[start].isspace():
        start += 1
    while end > start and text[end - 1].isspace():
        end -= 1
    return (start, end) if start < end else None


def _line_spans(text: str, start: int, end: int) -> list[tuple[int, int]]:
    spans = []
    for match in re.compile(r"[^\n\f]+").finditer(text, start, end):
        span = _trim(text, match.start(), match.end())
        if span:
            spans.append(span)
    return spans


def _is_table(text: str, lines: Sequence[tuple[int, int]]) -> bool:
    with_cells = sum(1 for a, b in lines if _TABLE_CELL.search(text, a, b))
    return with_cells >= 2 and with_cells >= 0.5 * len(lines)


def _is_listing(text: str, lines: Sequence[tuple[int, int]]) -> bool:
    """Code, word lists, logs: many lines, few of which end or run on like prose."""
    if len(lines) < 4:
        return False
    mean = sum(b - a for a, b in lines) / len(lines)
    prose = sum(1 for a, b in lines if text[b - 1] in ".!?,;" or text[b - 1].islower())
    return mean < 40 or (mean < 400 and prose < 0.4 * len(lines))


def _fit(
    text: str, start: int, end: int, limit: int, count: TokenCount
) -> Iterator[tuple[int, int, bool]]:
    """[start, end) in parts of at most `limit` tokens.

    The last field: is the part's start the sentence's own start.
    """
    whole = True
    # A token is rarely shorter than a character: this bounds the work on huge "sentences".
    while start < end:
        if end - start <= limit or (end - start <= 12 * limit and count(text[start:end]) <= limit):
            yield start, end, whole
            return
        stop = _cut(text, start, min(end, start + 12 * limit), limit, count)
        span = _trim(text, start, stop)
        if span:
            yield (*span, whole)
            whole = False
        start = stop
        while start < end and text[start].isspace():
            start += 1


_SOFT_BREAKS = (re.compile(r"[;:,)\]}]\s|\n|\f"), re.compile(r"\s"))


def _cut(text: str, start: int, end: int, limit: int, count: TokenCount) -> int:
    """The furthest good place to end a part that begins at `start`."""
    low = count.reach(text, start, end, limit)
    if low >= end:
        return end
    earliest = start + (low - start) // 2
    for pattern in _SOFT_BREAKS:
        last = None
        for match in pattern.finditer(text, earliest, low):
            last = match
        if last is not None:
            return last.end()
    return max(low, start + 1)


# --- packing -------------------------------------------------------------------


@dataclass(slots=True)
class _Group:
    start: int
    end: int
    tokens: int
    heading: str
    last: _Piece | None = None  # the piece added last, where there are several,
    end_before: int = 0  # and where the one before it ends


class _Packer:
    """Pieces into passages.

    A passage grows while it is below the target and may not pass the maximum; a short rest joins
    what stands before it.
    """

    def __init__(self, target: int, limit: int) -> None:
        self.target = target
        self.limit = limit
        self.groups: list[_Group] = []
        self._section = 0  # the first group of the section
        self._open = False
        self._waiting = False  # only headings so far

    def add(self, piece: _Piece) -> None:
        current = self.groups[-1] if self._open else None
        if current is not None and self._joins(current, piece):
            if self._waiting:
                current.heading = _deeper(current.heading, piece.heading)
                self._waiting = False
            current.last, current.end_before = piece, current.end
            current.end = piece.end
            current.tokens += piece.tokens
            return
        self._waiting = False
        start, tokens = piece.start, piece.tokens
        lead = current.last if current is not None else None
        if current and lead and lead.leads and lead.tokens + tokens <= self.limit:
            current.end = current.end_before
            current.tokens -= lead.tokens
            start, tokens = lead.start, lead.tokens + tokens
        self.groups.append(_Group(start, piece.end, tokens, piece.heading))
        self._open = True

    def _joins(self, current: _Group, piece: _Piece) -> bool:
        total = current.tokens + piece.tokens
        if total > self.limit:
            return False
        if self._waiting or current.tokens < self.target // 2 or piece.breakable == 0:
            return True
        # Near the target, either side of it: take whichever end comes closer.
        return abs(total - self.target) <= abs(current.tokens - self.target)

    def end_section(self) -> None:
        """A heading follows. A heading alone waits for the text under the next one."""
        if not self._open:
            return
        last = self.groups[-1]
        if len(self.groups) - 1 > self._section and last.tokens < _SHORT_TOKENS:
            before = self.groups[-2]
            if before.tokens + last.tokens <= self.limit and before.heading == last.heading:
                before.end, before.tokens = last.end, before.tokens + last.tokens
                self.groups.pop()
        self._waiting = self.groups[-1].tokens <= _HEADING_TOKENS
        if not self._waiting:
            self._open = False
            self._section = len(self.groups)


def _deeper(heading: str, following: str) -> str:
    """The heading of a passage that begins under `heading` and goes on under `following`."""
    if following.startswith(heading):
        return following
    shared = []
    for one, other in zip(heading.split(" > "), following.split(" > "), strict=False):
        if one != other:
            break
        shared.append(one)
    return " > ".join(shared) or following


def passage_input(text: str, heading: str = "", title: str = "") -> str:
    """What the text encoder is given for a passage: where it stands, then its words."""
    place = " > ".join(part for part in (title, heading) if part)
    return f"{place}\n{text}" if place else text
