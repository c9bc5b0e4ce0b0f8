"""Single sentences that answer by themselves: definitions, and where something is said."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from ragcore.answers.composing.listing import is_sentence, literally, share, topic_words
from ragcore.answers.composing.quotes import Composed, Quotes, one_line
from ragcore.answers.composing.sources import ScopedDocuments
from ragcore.answers.kinds import RecognizedQuestion
from ragcore.answers.lists import is_contents
from ragcore.answers.sentences import sentences, words
from ragcore.catalog import DocumentText
from ragcore.types import Hit

PLACES = 3  # that an answer to "where does it say" names
COVERED = 0.7  # share of the topic's words in the sentence or its heading; or
_LOOKED_AT, _MENTIONS = 100, 300  # documents whose texts are gone through; passages of them
NEAR = 0.6  # the cosine of both, with half of the words
_MARK = re.compile(r"(?:[•▪◦‣·●○*]|[-–—]|\(?\w{1,2}[.)])\s+(?=\S)")  # of a list's item


@dataclass(frozen=True, slots=True)
class Quote:
    """A sentence of a document with its place and how well it fits."""

    document: DocumentText
    start: int
    end: int
    heading: str
    score: float

    @property
    def text(self) -> str:
        return self.document.text[self.start : self.end]


def sentence_quotes(hits: Sequence[Hit], sources: ScopedDocuments) -> list[Quote]:
    """The whole sentences of passages, best passage first, each text once."""
    found = []
    for hit in hits:
        if hit.span is None:
            continue
        document = sources.text(hit.document_id)
        for one in sentences(hit.text):
            mark = _MARK.match(one.text)
            # A heading has no full stop and sticks to the sentence below it.
            heading = one.text.rfind("\n\n") + 2 if "\n\n" in one.text else 0
            start = hit.span[0] + one.start + max(mark.end() if mark else 0, heading)
            end = hit.span[0] + one.end
            if is_sentence(document.text[start:end]):
                found.append(Quote(document, start, end, hit.heading, hit.score))
    return list({one_line(one.text): one for one in reversed(found)}.values())[::-1]


# --- where -----------------------------------------------------------------------------


def compose_where(
    asked: RecognizedQuestion, question: str, sources: ScopedDocuments, length: int
) -> Composed | None:
    """The places that say it: the nearest sentence of each section, with page and heading."""
    if asked.sides:
        named, topic = sources.named(asked.sides[0])[0], asked.topic
    else:
        named, rest = sources.named(asked.topic)
        topic, named = (rest, named) if named and rest else (asked.topic, [])
    found = [sources.search(topic, 10, document=row.id) for row in named[:4]]
    all_hits = [hit for one in found for hit in one] or sources.search(topic, 10)
    hits = literally(topic, all_hits, sources)
    wanted = topic_words(topic)
    candidates = sentence_quotes(hits, sources)
    if not candidates or not wanted:
        return None
    cosines = sources.cosines(topic, [one_line(one.text) for one in candidates])
    scored = []
    for one, near in zip(candidates, cosines, strict=True):
        inside, around = share(wanted, one.text), share(wanted, f"{one.heading} {one.text}")
        if (around >= COVERED and inside >= 0.34) or (near >= NEAR and around >= 0.5):
            heading = share(wanted, one.heading.split(" > ")[-1])
            scored.append((near + around + 0.5 * inside + 0.5 * heading, one))
    scored.sort(key=lambda pair: -pair[0])
    chosen: list[Quote] = []
    sections: set[tuple[int, str, int | None]] = set()
    for score, one in scored:
        key = (one.document.id, one.heading, one.document.page(one.start))
        if key not in sections and score >= 0.75 * scored[0][0] and len(chosen) < PLACES:
            sections.add(key)
            chosen.append(one)
    if not chosen:
        return None
    quotes = Quotes()
    lines = [_place(one, quotes) for one in chosen]
    return quotes.composed("where", "\n".join(lines), hits)


def _place(one: Quote, quotes: Quotes) -> str:
    page = one.document.page(one.start)
    about = [one.document.title]
    if page is not None:
        about.append(f"page {page}")
    if one.heading:
        about.append(f"section “{one_line(one.heading.split(' > ')[-1])}”")
    return f"{', '.join(about)}: {quotes.line(one.document, one.start, one.end)}"


# --- definition ------------------------------------------------------------------------


_SHORT = re.compile(r"[A-Z][A-Za-z]*[A-Z]")  # an abbreviation
_STANDS_FOR = re.compile(r"\b(?:stand|short) for\b|\bmeans?\b", re.IGNORECASE)


def compose_definition(
    asked: RecognizedQuestion, question: str, sources: ScopedDocuments, length: int
) -> Composed | None:
    """The sentence that says what the term is.

    Else, for a term that is no thing of the asker's, what the documents say of it. None where
    neither is there.
    """
    term = re.sub(r"^(?:an?|the)\s+", "", asked.topic, flags=re.IGNORECASE)
    hits = sources.search(question, 8)
    known = {hit.id for hit in hits}
    short = _short_form(term, hits)
    for text in (f"{term} is defined as", *([short] if short else [])):
        hits += [hit for hit in sources.search(text, 8) if hit.id not in known]
        known |= {hit.id for hit in hits}
    quotes = Quotes()
    spelled = _long_form(term, sources) if _SHORT.fullmatch(term) else None
    if spelled is not None and _STANDS_FOR.search(question):
        line = quotes.line(spelled.document, spelled.start, spelled.end)
        return quotes.composed("definition", line, hits)
    mentioned = _mentioning((term, short), known, sources)
    candidates = sentence_quotes([*hits, *mentioned], sources)
    patterns = definition_patterns(term) + (definition_patterns(short) if short else [])
    best: tuple[float, Quote] | None = None
    for one in candidates:
        text = one_line(re.sub(r"^\W*(?:\w{1,2}[.)]|\d+(?:\.\d+)*)\s+", "", one.text))
        strength = max((value for value, p in patterns if p.search(text)), default=0.0)
        strength = max(strength, _about_term(term, text, one.document.title))
        score = strength + 0.5 * one.score
        if strength and 25 < len(text) < 700 and (best is None or score > best[0]):
            best = (score, one)
    if best is None and spelled is not None:
        best = (0.0, spelled)
    if best is None:
        return _said_of(term, question, candidates, hits, sources) if asked.certain else None
    one = best[1]
    lines = [quotes.line(one.document, one.start, one.end)]
    following = _following(one, sources)
    if following is not None:
        lines.append(quotes.line(one.document, *following))
    return quotes.composed("definition", "\n".join(lines), hits)


def _mentioning(names: Sequence[str], known: set[int], sources: ScopedDocuments) -> list[Hit]:
    """Passages that have one of the names as it is written, besides the known ones."""
    roots = [re.escape(name[:-1] if len(name) > 4 else name) for name in names if len(name) > 1]
    pattern = re.compile(rf"(?<!\w)(?:{'|'.join(roots)})", re.IGNORECASE)
    found: list[Hit] = []
    for row in sources.rows()[:_LOOKED_AT] if roots else ():
        document = sources.text(row.id)
        found += [
            document.hit(passage)
            for passage in document.passages
            if passage.id not in known and pattern.search(document.text, passage.start, passage.end)
        ]
    return found[:_MENTIONS]


# "the most frequent …" ranks a thing, and does not say what it is.
_RANK = r"(?!\s+(?:first|second|third|most|same|only|main|default|best|last|next)\b)"


def definition_patterns(term: str) -> list[tuple[float, re.Pattern[str]]]:
    """(how surely, pattern): sentences that say what `term` is, the surest first."""
    plain = re.escape(" ".join(term.split()))
    plain = plain.replace(r"\ ", r"[\"”'’]?[\s-]+").replace(r"\-", r"[\s-]")
    if not term.isupper():
        plain = re.sub(r"(?:ies|y|s)$", "", plain) + r"(?:ies|es|s|y)?"
    name = rf"[\"“'‘*_]*{plain}[\"”'’*_]*(?:\s*\([^)]{{1,60}}\))?"
    insert = r"(?:,?\s+(?:also|which|sometimes|or)\b[^,.]{1,60},)?"
    article = r"^(?:the (?:term|word)\s+|an?\s+|the\s+)?"
    noun = r"(?:\s+(?:flaws?|attacks?|vulnerabilit(?:y|ies)|errors?|issues?))?"
    before = r"^[^.]{0,160},\s+(?:an?\s+|the\s+)?"
    rules = (
        (
            2.0,
            rf"{article}{name}{insert}\s+(?:is|are)\s+(?:an?|the{_RANK}|any|one|those|that|all)\b",
        ),
        (1.7, rf"{before}{name}\s+(?:is|are)\s+(?:an?|the{_RANK}|any|one)\b"),
        (2.0, rf"{article}{name}{insert}\s+(?:means?|stands? for|refers? to|denotes?)\b"),
        (2.0, rf"{article}{name}{insert}\s+(?:is|are) defined as\b"),
        (1.8, rf"^{name}\s*[-–—]\s*[A-Z].{{10,}}"),
        (1.6, rf"\b(?:is|are)\s+(?:called|known as|termed)\s+(?:an?\s+|the\s+)?{name}"),
        (1.5, rf"{article}{name}{noun}{insert}\s+(?:occurs?|happens?|arises?) when"),
        (
            1.2,
            rf"{article}{name}{noun}{insert}\s+(?:consists? of|comprises?|describes?|allows?|"
            rf"includes?|contains?)\s",
        ),
        (
            1.2,
            rf"{article}{name}{insert}\s+(?:is|are)\s+(?!not\b|also\b|only\b|usually\b|now\b|the\b)\w",
        ),
        (1.0, rf"^{name}\s*:\s+\w.{{15,}}"),
    )
    return [(value, re.compile(rule, re.IGNORECASE)) for value, rule in rules]


_SUBJECT = re.compile(
    r"^(?:an?|the)?\s*(?P<subject>(?:[\w-]+\s+){0,5}?[\w-]+)\s+(?:is|are)\s+(?:an?|the|one|any|those)\b",
    re.IGNORECASE,
)


def _about_term(term: str, text: str, title: str) -> float:
    """How surely a sentence defines a thing that it names by some of the term's words.

    The last one, and all that distinguish it from others.
    """
    found = _SUBJECT.match(text)
    wanted = words(term)
    if found is None or len(wanted) < 2:
        return 0.0
    subject = words(found["subject"])
    missing = set(wanted) - set(subject) - set(words(title))
    extra = set(subject) - set(wanted)
    if wanted[-1] in subject[-1:] and wanted[0] in subject and not missing and len(extra) <= 1:
        return 1.7
    return 0.0


def _short_form(term: str, hits: Sequence[Hit]) -> str:
    """The abbreviation in parentheses after the term, where the passages give one."""
    pattern = re.compile(rf"{re.escape(term)}\s*\(([A-Z][A-Za-z]{{1,6}})\)", re.IGNORECASE)
    for hit in hits:
        found = pattern.search(f"{hit.heading}\n{hit.text}")
        if found:
            return found[1]
    return ""


def _long_form(short: str, sources: ScopedDocuments) -> Quote | None:
    """The sentence that spells an abbreviation out: "Long Form (LF)" or "LF (Long Form)"."""
    initials = r"[\s-]+(?:(?:of|and|the|for|in|to)\s+)?".join(
        rf"{letter}[\w/]*" for letter in short.upper()
    )
    loose = r"[\s-]?".join(rf"{letter}[\w/]*" for letter in short)
    capitals = r"(?:[A-Z][\w-]+[\s-]+){1,5}"
    pattern = re.compile(
        rf"\b(?:{initials}|{loose}|(?-i:{capitals}))\s*\({short}\)|\b{short}\s*\({initials}\)|\b{short}\s*[-–—,:]\s*{initials}",
        re.IGNORECASE,
    )
    found = None
    for row in sources.containing(short):
        document = sources.text(row.id)
        for match in pattern.finditer(document.text):
            passage = document.passage_at(match.start())
            if passage is None or passage.start > match.start():
                continue
            for one in sentences(document.text[passage.start : passage.end]):
                start, end = passage.start + one.start, passage.start + one.end
                inside = start <= match.start() < end
                if inside and is_sentence(one.text) and "…" not in one.text:
                    return Quote(document, start, end, passage.heading, 1.0)
            if not is_contents(match.string[passage.start : passage.end]):
                found = found or Quote(document, *match.span(), passage.heading, 1.0)
    return found


def _said_of(
    term: str,
    question: str,
    candidates: Sequence[Quote],
    hits: Sequence[Hit],
    sources: ScopedDocuments,
) -> Composed | None:
    """The nearest sentences that name the term, where none defines it."""
    wanted = topic_words(term)
    named = [one for one in candidates if share(wanted, one.text) == 1 and one.text[-1] != ":"]
    cosines = sources.cosines(question, [one_line(one.text) for one in named])
    near = sorted(zip(cosines, range(len(named)), strict=True), reverse=True)[:2]
    chosen = [named[n] for value, n in near if value >= 0.5]
    if not chosen:
        return None
    quotes = Quotes()
    lines = [f"The documents do not define “{term}”. They say of it:"]
    lines += [f"- {quotes.line(one.document, one.start, one.end)}" for one in chosen]
    return quotes.composed("definition", "\n".join(lines), hits)


def _following(one: Quote, sources: ScopedDocuments) -> tuple[int, int] | None:
    """The sentence after it, where it goes on about the same thing."""
    text = one.document.text
    rest = sentences(text[one.end : one.end + 600])
    if not rest or re.match(r"(?:it|this|they|these)\b", rest[0].text, re.IGNORECASE) is None:
        return None
    gap = text[one.end : one.end + rest[0].start]
    if "\n\n" in gap or len(rest[0].text) > 400 or not rest[0].text.endswith("."):
        return None
    return one.end + rest[0].start, one.end + rest[0].end
