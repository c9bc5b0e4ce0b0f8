"""Summaries of a section, a document, several documents or a collection.

Outline and central sentences, each quoted with its page.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from ragcore.answers.composing.central import central_sentences
from ragcore.answers.composing.listing import share, topic_words
from ragcore.answers.composing.quotes import Composed, Quotes, one_line
from ragcore.answers.composing.sources import GENERIC, ScopedDocuments, tidy
from ragcore.answers.kinds import RecognizedQuestion
from ragcore.answers.sentences import words
from ragcore.catalog import Document, DocumentText, PassageSpan

WORDS = 150  # of a summary, unless its asker says otherwise
FEWEST_WORDS, MOST_WORDS = 20, 2000
_LOOKED_AT = 100  # documents whose headings are looked through for a section
_MOST_DOCUMENTS = 12  # that the summary of a collection has sentences of
_MOST_HEADINGS = 14
_LENGTH = re.compile(
    r"\s*\b(?:in|of|with|using|within)?\s*(?:about|around|at most|no more than|under|"
    r"max(?:imum)?)?\s*"
    r"(\d{1,4}|one|two|three|four|five|six|ten)[\s-]+(words?|sentences?|bullet points?|points?|"
    r"lines?)\b",
    re.IGNORECASE,
)
_NUMBERS = {"one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "ten": 10}
_LABEL = re.compile(r"(?:chapter\s+|section\s+)?([A-Z]?\d*(?:\.\d+)*)\b", re.IGNORECASE)
_PER_SENTENCE = 22  # words
_EVERYTHING = re.compile(
    r"^(?:(?:of|all|every|everything|the|this|my|our|your|these|those|whole|entire|in|you have|"
    r"here|it|"
    r"collection|library|folder|documents?|files?|pdfs?|papers?|reports?|manuals?|texts?|"
    r"contents?|knowledge base)\b\W*)*$",
    re.IGNORECASE,
)
_SECTION = re.compile(
    r"\b(?:section|chapter|part|clause|appendix|paragraph)s?\s+(?:on|about|titled|called|named|regarding|of)?\s*"
    r"[\"“']?(?P<title>.+?)[\"”']?(?:\s+(?:of|in|from)\s+(?:the\s+)?(?P<document>.+))?$",
    re.IGNORECASE,
)


def compose(
    asked: RecognizedQuestion, question: str, sources: ScopedDocuments, length: int
) -> Composed | None:
    """The summary; None where nothing in the scope is about what is to be summarized."""
    topic, _ = _length(asked.topic)
    size = summary_words(asked, length)
    rows = sources.rows()
    if not rows:
        return None
    section = _SECTION.search(topic)
    if section:
        made = _of_section(section, sources, size)
        if made is not None:
            return made
    if _EVERYTHING.match(topic):
        return _of_documents(rows, sources, size)
    named, rest = _named(topic, sources)
    if not named:
        return _of_topic(topic, sources, size)
    if rest and set(words(rest)) - GENERIC:
        return _of_topic(rest, sources, size, named)
    return _of_documents(named, sources, size)


def summary_words(asked: RecognizedQuestion, length: int) -> int:
    """How many words a summary has: as its question says, else `length`, else the usual."""
    return max(FEWEST_WORDS, min(MOST_WORDS, _length(asked.topic)[1] or length or WORDS))


def without_length(topic: str) -> str:
    """The topic of a summary without how long it is to be."""
    return _length(topic)[0]


def _length(topic: str) -> tuple[str, int]:
    """The topic without "in 100 words", and how many words that means (0: not said)."""
    found = _LENGTH.search(topic)
    if found is None:
        return topic, 0
    number = _NUMBERS.get(found[1].lower()) or int(found[1])
    factor = 1 if found[2].lower().startswith("word") else _PER_SENTENCE
    return tidy(topic[: found.start()] + topic[found.end() :]), number * factor


def _named(topic: str, sources: ScopedDocuments) -> tuple[list[Document], str]:
    """The documents that a topic names, several with "and" between them, and the rest of it."""
    parts = re.split(r"\s*(?:,|\band\b|&)\s*", topic)
    if len(parts) > 1:
        found = [sources.named(part) for part in parts if part]
        if all(rows and not (set(words(rest)) - GENERIC) for rows, rest in found):
            return list({row.id: row for rows, _ in found for row in rows}.values()), ""
    return sources.named(topic)


# --- documents ------------------------------------------------------------------------


def _of_documents(rows: Sequence[Document], sources: ScopedDocuments, size: int) -> Composed | None:
    if len(rows) == 1:
        return _of_one(sources.text(rows[0].id), sources, size)
    shown = sorted(rows, key=lambda row: (-row.passage_count, row.id))[:_MOST_DOCUMENTS]
    quotes = Quotes()
    lines = [f"{len(rows)} documents:"]
    each = max(_PER_SENTENCE, size // len(shown))
    order = {row.id: n for n, row in enumerate(rows)}
    for row in sorted(shown, key=lambda row: order[row.id]):
        document = sources.text(row.id)
        said = [
            quotes.line(document, one.start, one.end)
            for one in central_sentences(document, sources, each)
        ]
        lines.append(f"- {_name(document)}: {' '.join(said) or _sections(document) or 'no prose'}")
    left = [row.title or row.name for row in rows if all(row.id != one.id for one in shown)]
    if left:
        lines.append(f"Not summarized here: {'; '.join(sorted(left)[:40])}")
    return quotes.composed("summary", "\n".join(lines))


def _of_one(document: DocumentText, sources: ScopedDocuments, size: int) -> Composed | None:
    quotes = Quotes()
    found = central_sentences(document, sources, size)
    outline = _sections(document)
    if not found and not outline:
        return None
    lines = [f"{_name(document)}"]
    if outline:
        lines.append(f"Sections: {outline}")
    lines += [f"- {quotes.line(document, one.start, one.end)}" for one in found]
    return quotes.composed("summary", "\n".join(lines))


def _name(document: DocumentText) -> str:
    if not document.paged:
        return document.title
    return f"{document.title} ({document.pages} page{'s' if document.pages != 1 else ''})"


def _sections(document: DocumentText, below: str = "") -> str:
    """The titles under the heading `below`, "" for the outermost ones."""
    titles: dict[str, None] = {}
    for passage in document.passages:
        if below and not passage.heading.startswith(f"{below} > "):
            continue
        rest = passage.heading.removeprefix(f"{below} > ") if below else passage.heading
        title = one_line(rest.split(" > ")[0])
        if title and "…" not in title and "\t" not in rest.split(" > ")[0] and len(title) < 90:
            titles.setdefault(title)
    if len(titles) == 1 and not below:
        return _sections(document, next(iter(titles)))
    names = list(titles)
    more = f"; and {len(names) - _MOST_HEADINGS} more" if len(names) > _MOST_HEADINGS else ""
    return "; ".join(names[:_MOST_HEADINGS]) + more


# --- a section, a topic ------------------------------------------------------------------


def _of_section(section: re.Match[str], sources: ScopedDocuments, size: int) -> Composed | None:
    """The section whose heading has the title's words or its number."""
    title, of = section["title"].strip(), section["document"]
    named, rest = sources.named(of) if of else ([], "")
    if of and not named:  # "of" belongs to the title
        title = f"{title} of {of}"
    elif not of and len(sources.rows()) > 1:
        named, rest = sources.named(title)
        title = rest if named and rest else title
        named = named if rest else []
    number = re.match(r"(\d+(?:\.\d+)*|[A-Z]\d*(?:\.\d+)*)\b[.:]?\s*", title)
    wanted = topic_words(title)
    best: tuple[float, DocumentText, int, str] | None = None
    for row in (named or sources.rows())[:_LOOKED_AT]:
        document = sources.text(row.id)
        chapter = _chapter(document, number[1]) if number else None
        if chapter is not None and (best is None or best[0] < 2.0):
            best = (2.0, document, chapter.start, chapter.heading)
        for passage in document.passages:
            path = passage.heading.split(" > ") if passage.heading else []
            for depth, last in enumerate(path, 1):
                score = share(wanted, last) - 0.01 * len(words(last))
                starts = _LABEL.match(last)
                if number and starts and starts[1] == number[1]:
                    score = 2.0
                if score > 0.6 and (best is None or score > best[0]):
                    best = (score, document, passage.start, " > ".join(path[:depth]))
    if best is None:
        return None
    _, document, start, heading = best
    own = [
        p for p in document.passages
        if p.heading == heading or p.heading.startswith(f"{heading} > ")
    ]  # fmt: skip
    span = (own[0].start, own[-1].end) if own else (start, start + 1)
    quotes = Quotes()
    found = central_sentences(document, sources, size, span=span)
    if not found:
        return None
    page = f", page {document.page(span[0])}" if document.paged else ""
    lines = [f"{document.title}, “{one_line(heading.split(' > ')[-1])}”{page}"]
    below = _sections(document, heading)
    if below:
        lines.append(f"Sections: {below}")
    lines += [f"- {quotes.line(document, one.start, one.end)}" for one in found]
    return quotes.composed("summary", "\n".join(lines))


def _chapter(document: DocumentText, number: str) -> PassageSpan | None:
    """The passage after a line "Chapter 3", where headings have no numbers."""
    name = r"(?:^|[\n\f])(?:Chapter|Section|Part|Appendix|CHAPTER|SECTION)"
    found = re.search(rf"{name}\s+{re.escape(number)}\b[^\n\f]*[\n\f]", document.text)
    return document.passage_at(found.end()) if found else None


def _of_topic(
    topic: str, sources: ScopedDocuments, size: int, named: Sequence[Document] = ()
) -> Composed | None:
    """Central sentences of the passages about a topic, of every document that has some."""
    wanted = topic_words(topic)
    hits = []
    for document_id in [row.id for row in named] or [0]:
        hits += sources.search(topic, 16, document=document_id)
    hits = [
        hit for hit in hits
        if share(wanted, f"{hit.document} {hit.heading} {hit.text}") >= 0.6 and hit.span
    ]  # fmt: skip
    if not hits or not wanted:
        return None
    counts: dict[int, int] = {}
    for hit in hits:
        counts[hit.document_id] = counts.get(hit.document_id, 0) + 1
    quotes = Quotes()
    about = re.sub(r"^(?:the )?(?:section|chapter|part)s? (?:on|about)\s+", "", topic, flags=re.I)
    lines = [f"On {about}:"]
    for document_id, count in sorted(counts.items(), key=lambda pair: -pair[1])[:5]:
        document = sources.text(document_id)
        spans = [hit.span for hit in hits if hit.document_id == document_id and hit.span]
        each = max(_PER_SENTENCE, size * count // len(hits))
        found = central_sentences(
            document, sources, each, span=(min(s for s, _ in spans), max(e for _, e in spans)),
            topic=topic,
        )  # fmt: skip
        found = [
            one for one in found if share(wanted, _around(document, one.start, one.end)) >= 0.5
        ]
        if found:
            lines.append(f"{document.title}:")
            lines += [f"- {quotes.line(document, one.start, one.end)}" for one in found]
    if not quotes.citations:
        return None
    return quotes.composed("summary", "\n".join(lines), hits)


def _around(document: DocumentText, start: int, end: int) -> str:
    passage = document.passage_at(start)
    return f"{document.title} {passage.heading if passage else ''} {document.text[start:end]}"
