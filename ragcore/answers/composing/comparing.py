"""Two documents or two things side by side, what names both first."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ragcore.answers.composing.central import central_sentences, stands_alone
from ragcore.answers.composing.listing import share, topic_words
from ragcore.answers.composing.quotes import Composed, Quotes, one_line
from ragcore.answers.composing.quoting import Quote, definition_patterns, sentence_quotes
from ragcore.answers.composing.sources import ScopedDocuments
from ragcore.answers.kinds import RecognizedQuestion
from ragcore.answers.sentences import words
from ragcore.catalog import Document
from ragcore.types import Hit

EACH = 3  # sentences of each side
_SUMMARY_WORDS = 60  # of each document where no topic is named
_CONTRAST = re.compile(
    r"\b(?:while|whereas|unlike|instead|but|rather|than|differ\w*|only|both|stronger|weaker|contrast|distinguish\w*|"
    r"classified|either|same|however|neither|as opposed)\b",
    re.IGNORECASE,
)
_NEAR = 0.3  # cosine of a sentence and the topic


def compose(
    asked: RecognizedQuestion, question: str, sources: ScopedDocuments, length: int
) -> Composed | None:
    """Side by side: two documents (on a topic), or what the documents say of two things.

    None where there is nothing on one of the sides.
    """
    first, second = asked.sides
    one, one_rest = sources.named(first)
    two, two_rest = sources.named(second)
    if one and two and not one_rest and not two_rest and {r.id for r in one} != {r.id for r in two}:
        return _documents(asked, (one[0], two[0]), sources, length)
    return _things(asked, question, sources)


# --- documents ----------------------------------------------------------------------------


def _documents(
    asked: RecognizedQuestion,
    rows: tuple[Document, Document],
    sources: ScopedDocuments,
    length: int,
) -> Composed | None:
    quotes = Quotes()
    lines = [f"On {asked.topic}:"] if asked.topic else []
    known = []
    for row in rows:
        document = sources.text(row.id)
        if asked.topic:
            hits = sources.search(asked.topic, 8, document=row.id)
            known += hits
            chosen = _nearest(asked.topic, sentence_quotes(hits, sources), sources)
        else:
            found = central_sentences(document, sources, max(length // 2, _SUMMARY_WORDS))
            chosen = [Quote(document, c.start, c.end, "", c.weight) for c in found]
        if not chosen:
            return None
        lines.append(f"{document.title}:")
        lines += [f"- {quotes.line(c.document, c.start, c.end)}" for c in chosen]
    return quotes.composed("comparison", "\n".join(lines), known)


def _nearest(topic: str, candidates: Sequence[Quote], sources: ScopedDocuments) -> list[Quote]:
    wanted = topic_words(topic)
    cosines = sources.cosines(topic, [one_line(c.text) for c in candidates])
    scored = [
        (near + share(wanted, c.text) + 0.3 * share(wanted, c.heading), c)
        for near, c in zip(cosines, candidates, strict=True)
        if near >= _NEAR
        and share(wanted, f"{c.heading} {c.text}") >= 0.5
        and len(c.text) < 800
        and "\t" not in c.text
    ]
    scored.sort(key=lambda pair: -pair[0])
    return sorted((c for _, c in scored[:EACH]), key=lambda c: c.start)


# --- things -------------------------------------------------------------------------------


def _things(asked: RecognizedQuestion, question: str, sources: ScopedDocuments) -> Composed | None:
    first, second = asked.sides
    sides = _whole_names(first, second)
    names = [side_words(side) for side in sides]
    own = [names[0] - names[1], names[1] - names[0]]
    if not own[0] or not own[1]:
        return None
    known = {hit.id: hit for hit in sources.search(question, 8)}
    for side in sides:
        for hit in sources.search(f"{side} {asked.topic}".strip(), 8):
            known.setdefault(hit.id, hit)
    candidates = [
        c for c in sentence_quotes(list(known.values()), sources)
        if stands_alone(c.text) or (len(c.text) < 600 and c.text.startswith("("))
    ]  # fmt: skip
    cosines = sources.cosines(question, [one_line(c.text) for c in candidates])
    both: list[tuple[float, Quote]] = []
    each: list[list[tuple[float, Quote]]] = [[], []]
    topic = topic_words(asked.topic) if asked.topic else set()
    for near, c in zip(cosines, candidates, strict=True):
        score = near + (0.5 * share(topic, f"{c.heading} {c.text}") if topic else 0)
        has = [all(names_word(word, c.text) for word in side) for side in names]
        if all(has):
            if near >= _NEAR and (_CONTRAST.search(c.text) or c.text.count(",") < 4):
                both.append((score + 0.4 * bool(_CONTRAST.search(c.text)), c))
            continue
        for n in (0, 1):
            if has[n] and not any(names_word(word, c.text) for word in own[1 - n]):
                text = one_line(c.text)
                said = max(
                    (v for v, p in definition_patterns(sides[n]) if p.search(text)), default=0.0
                )
                each[n].append((score + 0.4 * said, c))
    if not both and not (each[0] and each[1]):
        return None
    return _side_by_side(asked, sides, both, each, [*known.values()])


def _side_by_side(
    asked: RecognizedQuestion,
    sides: tuple[str, str],
    both: list[tuple[float, Quote]],
    each: Sequence[list[tuple[float, Quote]]],
    hits: Sequence[Hit],
) -> Composed:
    quotes = Quotes()
    lines = []
    for title, found, most in (
        ("Where both are named:", both, EACH),
        (f"{sides[0]}:", each[0], EACH - 1),
        (f"{sides[1]}:", each[1], EACH - 1),
    ):
        found.sort(key=lambda pair: -pair[0])
        if found:
            lines.append(title)
            lines += [
                f"- {quotes.line(c.document, c.start, c.end)}"
                for c in sorted(
                    (c for _, c in found[:most]), key=lambda c: (c.document.id, c.start)
                )
            ]
        elif title.endswith(":") and title != "Where both are named:":
            lines.append(f"{title} nothing else in the documents")
    return quotes.composed("comparison", "\n".join(lines), hits)


def side_words(side: str) -> set[str]:
    """The words of a thing's name as they are written, without articles and the like."""
    found = re.findall(r"[\w/.+~-]+", side)
    return {word for word in found if words(word)} or set(found)


def names_word(word: str, text: str) -> bool:
    """Whether a text has a word: in any form where it is a plain one, else as it is written.

    "native" is not part of "non-native".
    """
    if word.islower() and word.isalpha():
        root = word[: max(3, len(word) - 2)]
        return re.search(rf"(?<![\w-]){root}\w{{0,4}}(?!\w)", text, re.IGNORECASE) is not None
    flags = re.IGNORECASE if word.islower() else 0
    return re.search(rf"(?<![\w-]){re.escape(word)}(?!\w)", text, flags) is not None


def _whole_names(first: str, second: str) -> tuple[str, str]:
    """The first side with the noun that it lacks ("a native and a non-native package")."""
    tail = second.split()
    head = first.split()
    short = len(head) == 1 and 1 < len(tail) <= 4 and head[0].islower() and head[0].isalpha()
    if short and tail[-1].isalpha() and head[0] != tail[-1]:
        return f"{first} {tail[-1]}", second
    return first, second
