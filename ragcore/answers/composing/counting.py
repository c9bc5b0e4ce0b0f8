"""Counts and extremes over a collection, from its catalog and its texts: never guessed."""

from __future__ import annotations

import datetime as dt
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from ragcore.answers.composing.listing import is_sentence
from ragcore.answers.composing.quotes import Composed, Quotes, one_line
from ragcore.answers.composing.sources import ScopedDocuments, tidy
from ragcore.answers.kinds import RecognizedQuestion
from ragcore.answers.sentences import sentences
from ragcore.catalog import Document, DocumentText

MOST = 40  # documents that are named one by one
_TYPES = {
    "pdf": ("application/pdf",),
    "spreadsheet": ("spreadsheet", "text/csv", "excel"),
    "table": ("spreadsheet", "text/csv", "excel"),
    "slide": ("presentation",),
    "presentation": ("presentation",),
    "e-mail": ("message/rfc822", "ms-outlook"),
    "email": ("message/rfc822", "ms-outlook"),
}


def compose(
    asked: RecognizedQuestion, question: str, sources: ScopedDocuments, length: int
) -> Composed | None:
    """The count, list or choice; None where the question names no document that is there."""
    rows = sources.rows()
    if not rows:
        return None
    if asked.wanted == "mentions":
        return _mentions(asked.topic, question, rows, sources)
    if asked.wanted == "pages":
        return _pages(asked.topic, rows, sources)
    if asked.wanted == "documents":
        return _listed(asked.topic, rows)
    if asked.wanted == "years":
        return _years(rows)
    if asked.wanted in ("dated", "longer"):
        return _selected(asked, rows)
    return _ordered(asked, question, rows, sources)


def compose_author(
    asked: RecognizedQuestion, question: str, sources: ScopedDocuments, length: int
) -> Composed | None:
    """Who a named document says that it is by: from its file's own details.

    None where it does not say, or something else than one document is asked about.
    """
    if asked.wanted != "author":
        return None
    named, rest = sources.named(asked.topic)
    author = str(named[0].details.get("author", "")) if len(named) == 1 and not rest else ""
    if not author:
        return None
    document = sources.text(named[0].id)
    quotes = Quotes()
    first = re.split(r"\s*(?:[;,]|\band\b)\s*", author)[0]
    at = document.text.find(first) if first else -1
    mark = f" [{quotes.add(document, at, at + len(first))}]" if at >= 0 else ""
    names = ", ".join(part.strip() for part in author.split(";"))
    line = f"{_name(named[0])} names as its author: {names}{mark}."
    return quotes.composed("fact", line)


# --- mentions ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Mentions:
    row: Document
    document: DocumentText
    places: tuple[tuple[int, int], ...]


def mention_pattern(phrase: str) -> re.Pattern[str] | None:
    """The words of a phrase in their order, whatever the case and space between them, each whole.

    The last one also in the plural. None for a phrase without letters or digits.
    """
    words = re.findall(r"[^\s\"“”‘’,;!?]+", tidy(phrase))
    words = [word for word in words if re.search(r"\w", word)]
    if not words:
        return None
    last = re.escape(words[-1])
    last = last if last.endswith("s") or not words[-1].isalpha() else rf"{last}(?:s|es)?"
    body = r"[\s-]+".join([*map(re.escape, words[:-1]), last])
    return re.compile(rf"(?<!\w){body}(?!\w)", re.IGNORECASE)


def _found(phrase: str, sources: ScopedDocuments) -> Iterator[_Mentions]:
    pattern = mention_pattern(phrase)
    if pattern is None:
        return
    longest = max(re.findall(r"\w+", phrase), key=len)
    # A word may stand in another form: its plural, or its singular.
    for row in sources.containing(longest[:-1] if len(longest) > 3 else longest):
        document = sources.text(row.id)
        places = tuple(match.span() for match in pattern.finditer(document.text))
        if places:
            yield _Mentions(row, document, places)


def _mentions(
    phrase: str, question: str, rows: Sequence[Document], sources: ScopedDocuments
) -> Composed | None:
    phrase = re.sub(
        r"^(?:the )?(?:words?|terms?|phrases?|names?|topics?|strings?)\s+(?:of\s+)?",
        "",
        phrase,
        flags=re.I,
    )
    phrase = tidy(re.sub(r"\s+in (?:the|these|this|all|my|our) \w+$", "", phrase))
    if not phrase:
        return None
    found = list(_found(phrase, sources))
    several = re.fullmatch(r"(?:both |either )?(.+?) (and|or) (.+)", phrase, re.IGNORECASE)
    if not found and several:
        return _several(several[1], several[2].lower(), several[3], rows, sources)
    total = sum(len(one.places) for one in found)
    found.sort(key=lambda one: -len(one.places))
    quotes = Quotes()
    lines = [
        f"{len(found)} of {len(rows)} document{'s' if len(rows) != 1 else ''} "
        f"mention{'s' if len(found) == 1 else ''} “{phrase}”"
        + (f", {total} times in all:" if found else ".")
    ]
    for one in found[:MOST]:
        start, end = _sentence(one.document, one.places)
        count = len(one.places)
        page = one.document.page(start)
        lines.append(
            f"- {one.document.title}: {count} time{'s' if count != 1 else ''}"
            f"{f', first on page {page}' if page else ''}: {quotes.line(one.document, start, end)}"
        )
    if len(found) > MOST:
        lines.append(f"… and {len(found) - MOST} documents more")
    if not found:
        lines.append("These words were looked for in every document's text as they are written.")
    return quotes.composed("collection", "\n".join(lines))


def _several(
    first: str, joined: str, second: str, rows: Sequence[Document], sources: ScopedDocuments
) -> Composed:
    """The documents that mention both, or one, of two phrases."""
    sides = [{one.row.id: one for one in _found(name, sources)} for name in (first, second)]
    both = sides[0].keys() & sides[1].keys()
    ids = both if joined == "and" else sides[0].keys() | sides[1].keys()
    chosen = [row for row in rows if row.id in ids]
    word = "both" if joined == "and" else "one of"
    names = f"“{tidy(first)}” {joined} “{tidy(second)}”"
    verb = "mentions" if len(chosen) == 1 else "mention"
    quotes = Quotes()
    lines = [f"{len(chosen)} of {_count(len(rows), 'document')} {verb} {word} {names}:"]
    for row in chosen[:MOST]:
        found = [side[row.id] for side in sides if row.id in side]
        said = " ".join(
            quotes.line(one.document, *_sentence(one.document, one.places)) for one in found
        )
        lines.append(f"- {_name(row)}: {said}")
    if len(chosen) > MOST:
        lines.append(f"… and {len(chosen) - MOST} documents more")
    return quotes.composed("collection", "\n".join(lines))


def _sentence(document: DocumentText, places: Sequence[tuple[int, int]]) -> tuple[int, int]:
    """The first whole sentence that mentions it; else the first place."""
    for start, _ in places[:20]:
        passage = document.passage_at(start)
        if passage is None or passage.start > start:
            continue
        text = document.text[passage.start : passage.end]
        for one in sentences(text):
            begin, stop = passage.start + one.start, passage.start + one.end
            if begin <= start < stop and is_sentence(one.text) and "…" not in one.text:
                return begin, stop
    return places[0]


# --- the catalog ---------------------------------------------------------------------------


def _pages(topic: str, rows: Sequence[Document], sources: ScopedDocuments) -> Composed | None:
    named, _ = sources.named(topic)
    chosen = named or (rows if len(rows) == 1 else [])
    if not chosen:
        return None
    lines = [
        f"{_name(row)} has {row.page_count} page{'s' if row.page_count != 1 else ''}."
        if row.paged
        else f"{_name(row)} has no pages; it has {row.passage_count} passages."
        for row in chosen
    ]
    return Composed("collection", "\n".join(lines))


def _listed(topic: str, rows: Sequence[Document]) -> Composed:
    word = topic.lower().rstrip("s")
    types = _TYPES.get(word)
    chosen = [
        row for row in rows if types is None or any(one in row.media_type for one in types)
    ]  # fmt: skip
    noun = topic if types else "documents"
    lines = [f"{len(chosen)} {noun if len(chosen) != 1 else noun.rstrip('s')}:"]
    lines += [f"- {_about(row)}" for row in chosen[:MOST]]
    if len(chosen) > MOST:
        lines.append(f"… and {len(chosen) - MOST} more")
    return Composed("collection", "\n".join(lines))


def _years(rows: Sequence[Document]) -> Composed:
    years = Counter(date.year for row in rows if (date := _date(row)))
    lines = [
        f"- {year}: {count} document{'s' if count != 1 else ''}"
        for year, count in sorted(years.items())
    ]
    lines += _undated(rows)
    return Composed("collection", "\n".join(["By the dates that the documents have:", *lines]))


def _selected(asked: RecognizedQuestion, rows: Sequence[Document]) -> Composed:
    """The documents of a year, or of more pages than a number."""
    number = int(asked.topic)
    if asked.wanted == "dated":
        found = [row for row in rows if (date := _date(row)) and date.year == number]
        about, left = f"dated {number}", _undated(rows)
    else:
        found = [row for row in rows if row.paged and row.page_count > number]
        about, left = f"of more than {number} pages", []
    lines = [
        f"{_count(len(found), 'document')} {about}:",
        *(f"- {_about(r)}" for r in found[:MOST]),
    ]
    if len(found) > MOST:
        lines.append(f"… and {len(found) - MOST} more")
    return Composed("collection", "\n".join([*lines, *left]))


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' if number != 1 else ''}"


def _undated(rows: Sequence[Document]) -> list[str]:
    names = [_name(row) for row in rows if _date(row) is None]
    return [f"Without a date of their own: {'; '.join(names[:MOST])}"] if names else []


def _time(row: Document) -> float:
    date = _date(row)
    return date.timestamp() if date else 0.0


def _day(row: Document) -> str:
    date = _date(row)
    return f"{date:%Y-%m-%d}" if date else "no date"


_ORDERS: dict[str, tuple[Callable[[Document], float], bool, Callable[[Document], str], str]] = {
    "newest": (_time, True, _day, "date"),
    "oldest": (_time, False, _day, "date"),
    "longest": (lambda r: r.page_count, True, lambda r: _count(r.page_count, "page"), "pages"),
    "shortest": (lambda r: r.page_count, False, lambda r: _count(r.page_count, "page"), "pages"),
    "largest": (lambda r: r.size, True, lambda r: f"{r.size / 1000:,.0f} kB", "size"),
    "smallest": (lambda r: r.size, False, lambda r: f"{r.size / 1000:,.0f} kB", "size"),
}


def _ordered(
    asked: RecognizedQuestion, question: str, rows: Sequence[Document], sources: ScopedDocuments
) -> Composed | None:
    key, falling, said, by = _ORDERS[asked.wanted]
    about = ""
    if asked.topic:
        rows = [one.row for one in _found(asked.topic, sources)]
        about = f" that mentions “{tidy(asked.topic)}”"
    word = asked.sides[0] if asked.sides else ""
    if those := [row for row in rows if _is_a(word, row)]:
        rows = those
        about += f" with “{word}” in its title"
    if by == "pages":
        rows = [row for row in rows if row.paged] or rows
    left = _undated(rows) if by == "date" else []
    if by == "date":
        rows = [row for row in rows if _date(row)]
    if not rows:
        return None
    ranked = sorted(rows, key=lambda row: (-key(row) if falling else key(row), row.id))
    first = ranked[0]
    note = ", by the date that it has itself" if by == "date" else ""
    lines = [f"The {asked.wanted} document{about} is {_name(first)}: {said(first)}{note}."]
    lines += [f"- then {_name(row)}: {said(row)}" for row in ranked[1:4]]
    lines += left
    return Composed("collection", "\n".join(lines))


def _is_a(word: str, row: Document) -> bool:
    """Whether a document's title has the word for it: a guide, a manual; any is a document."""
    root = re.sub(r"(?:ies|s)$", "", word.lower())
    if not root or word.lower().rstrip("s") in ("document", "file", "pdf", "text"):
        return False
    return re.search(rf"\b{re.escape(root)}(?:y|ies|s)?\b", row.title, re.IGNORECASE) is not None


def _date(row: Document) -> dt.datetime | None:
    """The newest date that the document has in itself, not its file's."""
    found = []
    for name in ("modified", "created", "date"):
        try:
            date = dt.datetime.fromisoformat(str(row.details.get(name, "")))
        except ValueError:
            continue
        found.append(date if date.tzinfo else date.replace(tzinfo=dt.UTC))
    return max(found, default=None)


def _name(row: Document) -> str:
    return one_line(row.title or row.name)


def _about(row: Document) -> str:
    """A document on one line: "Staff handbook (handbook.pdf, 12 pages, 2024-05-01)"."""
    about = [row.name] if row.title and row.title != row.name else []
    if row.paged:
        about.append(f"{row.page_count} page{'s' if row.page_count != 1 else ''}")
    if date := _date(row):
        about.append(f"{date:%Y-%m-%d}")
    return f"{_name(row)} ({', '.join(about)})" if about else _name(row)
