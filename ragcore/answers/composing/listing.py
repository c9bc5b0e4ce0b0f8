"""Lists and instructions as they stand in a document: every item, in order, each cited."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from ragcore.answers.composing.quotes import Composed, Quotes, one_line, where
from ragcore.answers.composing.sources import ScopedDocuments
from ragcore.answers.kinds import RecognizedQuestion
from ragcore.answers.lists import Item, ItemList, find_lists, is_contents
from ragcore.answers.sentences import Sentence, sentences, words
from ragcore.catalog import DocumentText
from ragcore.types import Hit

DEPTH = 10  # passages whose sections are looked at
REACH = 9000  # characters of a section to either side of a hit
_LOOKED_AT = 100  # documents whose headings are looked through; of more those found only
MOST = 80  # items of one answer
COVERED = 0.6  # share of the topic's words that a list with its heading and title has to have
NAMED = 0.6  # of them, without the title's, in its heading and introduction; or else some and
STEPS = 0.75  # of them for instructions; or else
NEARLY = 0.6  # this cosine of the question and those
SURELY = 0.65  # this cosine of the question and those
TITLED = 0.75  # share of the words in the title of a document whose chapters are listed
NEAR = 0.5  # cosine of the question and a sentence that names several things
PROSE_NEAR = 0.5  # cosine of the question and a sentence of instructions
_APART = 500  # characters between two sentences that still follow each other
_PROSE = 5  # sentences of instructions in prose
# Words of a question that name the form of its answer, not its topic.
FORM = frozenset(
    words(
        "list step steps item items thing things kind kinds type types sort sorts main following "
        "different "
        "available possible example examples name names procedure process way ways method "
        "recommended best "
        "some all common several many three two four five ten describe explain get use way"
    )
)
_ORDERS = re.compile(r"\b(?:do the following|you (?:need|have) to|these steps)\b", re.IGNORECASE)
_STEPS = re.compile(
    r"\b(?:steps?|procedure|as follows|do the following|how to|in order to|instructions|prevent\w*|"
    r"recommend\w*|should|must|to \w+ .*:)",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class _Candidate:
    document: DocumentText
    found: ItemList
    heading: str
    score: float
    fits: bool


def compose(
    asked: RecognizedQuestion, question: str, sources: ScopedDocuments, length: int
) -> Composed | None:
    """The best list; for instructions also prose. None where nothing is near enough."""
    hits = literally(asked.topic, sources.search(question, DEPTH), sources)
    made = _composed(asked, question, hits, sources)
    if made is None and (short := abbreviated(asked.topic, hits)) != asked.topic:
        asked = replace(asked, topic=short)
        question = abbreviated(question, hits)
        hits = literally(short, sources.search(question, DEPTH), sources)
        made = _composed(asked, question, hits, sources)
    return made


def _composed(
    asked: RecognizedQuestion, question: str, hits: Sequence[Hit], sources: ScopedDocuments
) -> Composed | None:
    wanted = topic_words(asked.topic)
    if not hits or not wanted:
        return None
    candidates = _scored(asked, question, wanted, hits, sources)
    best = max((one for one in candidates if one.fits), key=lambda one: one.score, default=None)
    if best is not None:
        return _written(asked, best, hits)
    if asked.kind == "how_to":
        return _prose(asked, question, wanted, hits, sources)
    return _enumeration(asked, question, wanted, hits, sources) or (
        _prose(asked, question, wanted, hits, sources) if asked.certain else None
    )


_ABBREVIATION = re.compile(r"((?:[A-Z][\w-]*[\s-]+){1,5})\(([A-Z]{2,6})\)")


def abbreviated(text: str, hits: Sequence[Hit]) -> str:
    """`text` with a name as the documents abbreviate it: "External Entities (XXE)"."""
    for hit in hits:
        for match in _ABBREVIATION.finditer(f"{hit.heading}\n{hit.text}"):
            names = re.findall(r"\w+", match[1])
            for n in range(len(names) - 1):
                roots = [re.escape(name[: max(3, len(name) - 3)]) for name in names[n:]]
                pattern = r"\w*[\s-]+".join(roots) + r"\w*"
                found = re.search(rf"\b{pattern}", text, re.IGNORECASE)
                if found:
                    return text[: found.start()] + match[2] + text[found.end() :]
    return text


def topic_words(topic: str) -> set[str]:
    """Stems of a topic's words, without those that name the form of the answer."""
    found = set(words(topic))
    return found - FORM or found


def literally(topic: str, hits: Sequence[Hit], sources: ScopedDocuments) -> list[Hit]:
    """Where a topic has a path or identifier: the passages below headings that have it.

    Else the hits that have it in their text; else all.
    """
    tokens = [t.strip(".,:;?\"'()") for t in topic.split() if re.search(r"[/_]|\w\.\w|^-", t)]
    patterns = [
        re.compile(rf"(?<![\w/]){re.escape(token)}(?![\w/])") for token in tokens if len(token) > 1
    ]
    if not patterns:
        return list(hits)
    rows = sources.rows()
    among = [row.id for row in rows] if len(rows) <= _LOOKED_AT else [h.document_id for h in hits]
    headed = [
        document.hit(passage)
        for document in map(sources.text, dict.fromkeys(among))
        for passage in document.passages
        if any(p.search(passage.heading) for p in patterns)
    ]
    named = [hit for hit in hits if any(p.search(hit.text) for p in patterns)]
    return headed[:DEPTH] or named or list(hits)


_NOUN_ENDS = re.compile(
    r"\b(?:of|in|for|to|that|which|on|from|with|by|must|do|does|did|are|is|was|were|can|could|should|"
    r"may|will|have|has|need|needs|exist|used|required|needed|available)\b",
    re.IGNORECASE,
)


def topic_noun(topic: str) -> str:
    """The stem of what is to be listed: "targets" of the rules file; "" where none is named."""
    found = words(_NOUN_ENDS.split(topic, maxsplit=1)[0])
    return found[-1] if found and found[-1] not in FORM else ""


def topic_verb(topic: str) -> str:
    """The stem of a topic's first word: what is to be done."""
    found = words(topic)
    return found[0] if found and found[0] not in FORM else ""


def share(wanted: set[str], text: str) -> float:
    """Share of the wanted stems that stand in a text."""
    return len(wanted & set(words(text))) / len(wanted) if wanted else 0.0


# --- lists -------------------------------------------------------------------------


def _scored(
    asked: RecognizedQuestion,
    question: str,
    wanted: set[str],
    hits: Sequence[Hit],
    sources: ScopedDocuments,
) -> list[_Candidate]:
    found = list(_lists(hits, sources))
    leads = [
        one_line(f"{_last(heading)}. {document.text[one.lead_start : one.lead_end]}")
        for document, one, heading, _ in found
    ]
    cosines = sources.cosines(question, leads)
    result = []
    for (document, one, heading, rank), lead, near in zip(found, leads, cosines, strict=True):
        body = document.text[one.items[0].start : one.items[-1].end]
        titles = one.items[0].mark == _TITLE
        if titles and asked.kind == "how_to":  # headings are no instructions
            continue
        about = f"{document.title} {heading} {lead}"
        covered, named = share(wanted, f"{about} {body}"), share(wanted, about)
        own = share(wanted, f"{_last(heading)} {lead}")
        score = 0.6 * covered + 0.6 * named + 0.5 * own + near + 0.25 * rank
        if asked.kind == "how_to":
            score += 0.3 * (one.ordered or bool(_STEPS.search(lead)))
        if titles:
            fits = share(wanted, document.title) >= TITLED
        else:
            # The document's title does not say what one of its lists is of.
            rest = wanted - set(words(document.title)) or wanted
            said = share(rest, f"{_last(heading)} {lead}")
            fits = covered >= COVERED and (said >= NAMED or (said > 0 and near >= SURELY))
            if asked.kind == "list":
                fits = fits and not _ORDERS.search(lead)
                noun = topic_noun(asked.topic)
                fits = fits and (not noun or noun in words(f"{_last(heading)} {lead}"))
                fits = fits and near >= (NEARLY if not asked.certain else 0.45 if said < 1 else 0)
            if asked.kind == "how_to" and (verb := topic_verb(asked.topic)):
                fits = fits and (verb in words(f"{_last(heading)} {lead}") or near >= SURELY)
                fits = fits and (said >= STEPS or near >= NEARLY)
        result.append(_Candidate(document, one, heading, score, fits))
    return result


def _lists(
    hits: Sequence[Hit], sources: ScopedDocuments
) -> Iterator[tuple[DocumentText, ItemList, str, float]]:
    """(document, list, its heading, how near a hit it stands in [0, 1]), each list once."""
    seen: set[tuple[int, int]] = set()
    for place, hit in enumerate(hits):
        if hit.span is None:
            continue
        document = sources.text(hit.document_id)
        start, end = document.section(hit.span[0], reach=REACH)
        found = [one.moved(start) for one in find_lists(document.text[start:end])]
        for one in [*found, *_subsections(document, hit)]:
            key = (document.id, one.items[0].start)
            if key in seen:
                continue
            seen.add(key)
            overlaps = one.lead_start < hit.span[1] and hit.span[0] < one.items[-1].end
            at = document.passage_at(one.items[0].start)
            titles = one.items[0].mark == _TITLE
            heading = at.heading if at is not None and not titles else ""
            yield document, one, heading, (1 - place / len(hits)) if overlaps else 0.0


_TITLE = "title"  # the mark of items that are headings
_LABEL = re.compile(r"([A-Z]?)(\d+)(?:[.:]|\s)")
_ENTRY = re.compile(
    r"(?:^|(?<=[\n\f]))[ \t]*(?P<title>(?P<letter>[A-Z]?)(?P<number>\d{1,2})(?::\d+)?\.?"
    r"(?:\s*[-–]\s*|\s+)"
    r"[A-Z][^\t…\f]{2,90}?)[\s.…]*(?:…|\t|\.{2,})[\s.…]*(?:\d{1,4}|[ivxl]+)?[ \t]*(?=[\n\f]|$)"
)


def _subsections(document: DocumentText, hit: Hit) -> Iterator[ItemList]:
    """Headings as lists.

    Those below a heading on the hit's path, and the document's table of contents; only where none
    is missing between the first and the last.
    """
    path = hit.heading.split(" > ")
    for depth in range(1, len(path)):
        parent = " > ".join(path[:depth])
        items: dict[str, Item] = {}
        for passage in document.passages:
            below = passage.heading.removeprefix(f"{parent} > ")
            title = below.split(" > ")[0]
            if below == passage.heading or title in items or "\t" in title:
                continue
            at = document.text.find(title, passage.start, passage.end)
            if at >= 0 and not is_contents(document.text[passage.start : passage.end]):
                items[title] = Item(at, at + len(title), _TITLE)
        if len(items) >= 3 and _complete([_LABEL.match(title) for title in items]):
            first = next(iter(items.values())).start
            yield ItemList(tuple(items.values()), first, first, False)
    yield from _contents(document)


def _complete(labels: Sequence[re.Match[str] | None]) -> bool:
    """Whether headings are numbered, one after the other."""
    if not all(labels):
        return False
    numbers = [int(label[2]) for label in labels if label is not None]
    letters = {label[1] for label in labels if label is not None}
    first = numbers[0]
    return len(numbers) == len(labels) and len(letters) == 1 and numbers == list(
        range(first, first + len(numbers))
    )  # fmt: skip


def _contents(document: DocumentText) -> Iterator[ItemList]:
    """The numbered entries of a document's table of contents, those of one letter together."""
    limit = max(12_000, len(document.text) // 10)
    groups: dict[str, list[tuple[int, Item]]] = {}
    for passage in document.passages:
        if passage.start > limit:
            break
        if not is_contents(document.text[passage.start : passage.end]):
            continue
        for match in _ENTRY.finditer(document.text, passage.start, passage.end):
            entries = groups.setdefault(match["letter"], [])
            if int(match["number"]) == len(entries) + 1:
                entries.append((len(entries), Item(*match.span("title"), _TITLE)))
    for entries in groups.values():
        if len(entries) >= 3:
            items = tuple(item for _, item in entries)
            yield ItemList(items, items[0].start, items[0].start, False)


def _written(asked: RecognizedQuestion, best: _Candidate, hits: Sequence[Hit]) -> Composed:
    document, found = best.document, best.found
    quotes = Quotes()
    items = found.items[:MOST]
    intro = one_line(document.text[found.lead_start : found.lead_end])
    heading = _last(best.heading)
    place = where(document, items[0].start)
    lines = [f"From {place}{f', “{one_line(heading)}”' if heading else ''}:"]
    if intro and intro.lower().strip(" :") != heading.lower().strip(" :"):
        lines.append(quotes.line(document, found.lead_start, found.lead_end))
    for number, item in enumerate(items, 1):
        mark = f"{number}." if found.ordered else "-"
        if re.match(r"-\w|--", item.mark):  # an option is its item's name
            mark = f"- {item.mark}"
        lines.append(f"{mark} {quotes.line(document, item.start, item.end)}")
    if len(found.items) > MOST:
        lines.append(f"… and {len(found.items) - MOST} more in {document.title}")
    return quotes.composed(asked.kind, "\n".join(lines), hits)


def _last(heading: str) -> str:
    """The innermost heading of a path; a table's line of column names is none."""
    parts = [part for part in heading.split(" > ") if "\t" not in part and " | " not in part]
    return parts[-1] if parts else ""


# --- without a list ------------------------------------------------------------------


def _enumeration(
    asked: RecognizedQuestion,
    question: str,
    wanted: set[str],
    hits: Sequence[Hit],
    sources: ScopedDocuments,
) -> Composed | None:
    """The sentence that names several things after commas, where one is near the question."""
    found: list[tuple[DocumentText, Sentence, str]] = []
    for hit in hits[:6]:
        if hit.span is None:
            continue
        document = sources.text(hit.document_id)
        for one in sentences(hit.text):
            if _names_several(one.text):
                start = hit.span[0] + one.start
                placed = Sentence(one.text, start, start + len(one.text))
                found.append((document, placed, hit.heading))
    cosines = sources.cosines(question, [one.text for _, one, _ in found])
    scored = [
        (share(wanted, f"{document.title} {heading} {one.text}"), near, share(wanted, one.text), n)
        for n, ((document, one, heading), near) in enumerate(zip(found, cosines, strict=True))
    ]
    fitting = [s for s in scored if s[0] >= 0.75 and s[1] >= NEAR and s[2] >= 0.5]
    if not fitting:
        return None
    _, _, _, n = max(fitting, key=lambda s: s[0] + s[1] + s[2])
    document, one, _ = found[n]
    quotes = Quotes()
    line = quotes.line(document, one.start, one.end)
    return quotes.composed(asked.kind, f"From {where(document, one.start)}:\n{line}", hits)


def _names_several(text: str) -> bool:
    return "\t" not in text and (
        text.count(",") >= 2 or bool(re.search(r":.*\b(?:and|or)\b", text, re.DOTALL))
    )


def _prose(
    asked: RecognizedQuestion,
    question: str,
    wanted: set[str],
    hits: Sequence[Hit],
    sources: ScopedDocuments,
) -> Composed | None:
    """Sentences that follow each other around the one nearest to the question."""
    verb = topic_verb(asked.topic)
    best: tuple[float, DocumentText, list[Sentence]] | None = None
    for place, hit in enumerate(hits[:5]):
        if hit.span is None:
            continue
        document = sources.text(hit.document_id)
        about = f"{document.title} {hit.heading}"
        start, end = document.section(hit.span[0], reach=1500)
        spans = [
            Sentence(s.text, start + s.start, start + s.end)
            for s in sentences(document.text[start:end])
            if is_sentence(s.text) and not repeated(document, s.text)
        ]
        inside = [n for n, s in enumerate(spans) if hit.span[0] <= s.start < hit.span[1]]
        said = " ".join(one_line(s.text) for s in spans)
        if share(wanted, f"{about} {said}") < 0.75 or not inside:
            continue
        cosines = sources.cosines(question, [one_line(s.text) for s in spans])
        heading = sources.cosines(question, [_last(hit.heading)])[0] if hit.heading else 0.0
        rest = wanted - set(words(document.title)) or wanted
        for n in inside:
            window = _window(document, spans, n)
            text = " ".join(one.text for one in window)
            near = max(cosines[n : n + len(window)])
            fits = max(near, heading) >= PROSE_NEAR and share(wanted, f"{about} {text}") >= 0.6
            fits = fits and (not verb or verb in words(f"{_last(hit.heading)} {text}"))
            score = near + sum(cosines[n : n + len(window)]) / len(window) + 0.5 * cosines[n]
            score += 0.5 * share(rest, text) + 0.5 * share(rest, spans[n].text)
            score += 0.5 * heading - 0.05 * place
            if fits and (best is None or score > best[0]):
                best = (score, document, window)
    if best is None:
        return None
    _, document, window = best
    quotes = Quotes()
    form = "numbered steps" if asked.kind == "how_to" else "list"
    lines = [f"No {form}; {where(document, window[0].start)} says:"]
    reached = 0
    for one in window:
        if one.start >= reached:
            start, reached = _with_example(document, one)
            lines.append(quotes.line(document, start, reached))
    return quotes.composed(asked.kind, "\n".join(lines), hits)


def _window(document: DocumentText, spans: Sequence[Sentence], n: int) -> list[Sentence]:
    """Sentences from the n-th on that stand near each other below one heading."""
    found = [spans[n]]
    first = document.passage_at(spans[n].start)
    for one in spans[n + 1 : n + _PROSE]:
        passage = document.passage_at(one.start)
        same = first is None or passage is None or first.heading == passage.heading
        if one.start - found[-1].end > _APART or not same:
            break
        found.append(one)
    return found


def _with_example(document: DocumentText, one: Sentence) -> tuple[int, int]:
    """A sentence that ends in a colon with the commands or lines that follow it."""
    if not one.text.rstrip().endswith(":"):
        return one.start, one.end
    rest = document.text[one.end : one.end + _APART]
    end = 0
    for match in re.finditer(r"\s*([^\n\f]+)", rest):
        if is_sentence(match[1]) and re.match(r"[A-Z]", match[1]):
            break
        end = match.end()
    return one.start, one.end + end


def repeated(document: DocumentText, text: str) -> bool:
    """Whether a document says the same again and again, as on every chapter's first page."""
    return document.text.count(text[:60]) >= 3


def is_sentence(text: str) -> bool:
    """Whether a piece of text is a whole sentence, not a heading, row or caption."""
    line = one_line(text)
    return (
        len(line) > 25
        and line[-1] in '.!?:;)”"’'
        and len(line.split()) > 4
        and line.count("\t") + text.count("\t") < 2
        and not re.match(r"\d{1,2} [A-Z]", line)  # a footnote
        and not re.match(r"(?:\d+(?:\.\d+)*|[A-Z]\.\d[\d.]*)\s+[A-Z][^.]*$", line)
        and not is_contents(text)
    )
