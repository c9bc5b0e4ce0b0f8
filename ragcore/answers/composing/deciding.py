"""Questions of yes or no: whether a quote bears a yes or no out, and what is said otherwise."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ragcore.answers.composing.listing import is_sentence, share, topic_words
from ragcore.answers.composing.quotes import Composed, Quotes, one_line
from ragcore.answers.composing.quoting import sentence_quotes
from ragcore.answers.composing.sources import ScopedDocuments
from ragcore.answers.sentences import Sentence, sentences, words
from ragcore.types import Citation, Hit

COVERED = 0.6  # share of the question's words in a quote that bears a yes out; of a quote
GRANTED = 0.5  # that grants or forbids something this share, with
NEAR = 0.45  # this cosine of the two
_SAME = 0.75  # share of the question's words in a question that a document answers

_SAID = re.compile(r"\W*(yes|no)\b", re.IGNORECASE)
_DENIES = re.compile(
    r"(?<![\w-])(?:not|no|never|none|cannot|neither|nor|forbidden|prohibited|excluded|"
    r"closed|refused|denied|impossible|unsupported|disabled|fails?)\b|n['’]t\b|"
    r"(?<![\w-])(?:stay|keep|remain)s? (?:out|off|away)\b",
    re.IGNORECASE,
)
_LIMITS = re.compile(r"(?<![\w-])(?:only|except|unless|without)\b", re.IGNORECASE)
_PERMISSION = re.compile(
    r"\b(?:allow\w*|permit\w*|may|ok|okay|fine|legal|let|forbid\w*|prohibit\w*)\b|"
    r"^(?:can|could|am|are)\s+(?:i|we|employees|visitors|people|you)\b",
    re.IGNORECASE,
)
_GRANTS = re.compile(
    r"\b(?:allow\w*|permit\w*|may|can|welcome|tolerated|possible|entitled|free to)\b", re.IGNORECASE
)
_ASKS = re.compile(r"\?|\bhow (?:do|to|can)\b|\bquestions?\b", re.IGNORECASE)
# Words that ask for leave or stand for any deed or place: what is asked about is in the others.
_LIGHT = frozenset(
    words(
        "allowed permitted ok okay fine legal possible permission bring take get make use go keep "
        "put see let want need able please ever"
    )
)
_ORDINAL = re.compile(
    r"\b(?:first|second|third|fourth|fifth|sixth|seventh|eighth|ninth|tenth|last|\d+(?:st|nd|rd|th))\b",
    re.IGNORECASE,
)


def asked_words(question: str) -> set[str]:
    """Stems of what a question of yes or no asks about, without the words that ask for leave."""
    found = topic_words(re.sub(r"^\w+\s+", "", question))
    return found - _LIGHT or found


def agrees(
    answer: str,
    question: str,
    quotes: Sequence[str],
    *,
    heading: str = "",
    near: float = 0.0,
) -> bool:
    """Whether a yes or no is borne out by its quotes.

    A no needs one that denies something, a yes one that denies nothing; both most of the question's
    words, but for what is permitted or not, which is often said in other words: half of them are
    enough where the quote grants it and is `near` (the cosine of question and quote), and none
    where it denies. `heading` stands above the quotes. A yes or no about the first of something is
    not borne out by what is said of the fourth.
    """
    said = _SAID.match(answer)
    if said is None:
        return True
    text = " ".join(quotes)
    denies = bool(_DENIES.search(text) or _limits(question, text))
    if denies != (said[1].lower() == "no"):
        return False
    if not any(is_sentence(quote) for quote in quotes) or _ASKS.search(text):
        return False
    if not _same_place(question, f"{heading} {text}"):
        return False
    permission = _PERMISSION.search(question)
    if denies and permission:
        return True
    covered = share(asked_words(question), f"{heading} {text}")
    if covered >= COVERED:
        return True
    return bool(permission and _GRANTS.search(text) and covered >= GRANTED and near >= NEAR)


def decided(
    answer: str,
    question: str,
    quotes: Sequence[str],
    *,
    heading: str = "",
    near: float = 0.0,
) -> str | None:
    """A yes or no as its quotes bear it out.

    The answer, or the other word where they say the opposite of what the model made of them; None
    where they decide nothing.
    """
    if agrees(answer, question, quotes, heading=heading, near=near):
        return answer
    said = _SAID.match(answer)
    if said is None:
        return None
    turned = f"{'Yes' if said[1].lower() == 'no' else 'No'}{answer[said.end() :]}"
    return turned if agrees(turned, question, quotes, heading=heading, near=near) else None


def with_reason(answer: str, question: str, citations: Sequence[Citation]) -> str:
    """A yes or no with the sentence that it rests on, in place of a model's words for it.

    What is so "only" or "except" for something is neither a plain yes nor a no.
    """
    said = _SAID.match(answer)
    if said is None or not citations:
        return answer
    first = citations[0]
    limited = _limits(question, first.quote) and not _DENIES.search(first.quote)
    word = "Within limits" if limited else said[1].capitalize()
    return f"{word}: “{one_line(first.quote)}” [{first.n}]"


def closest_sentence(question: str, hits: Sequence[Hit]) -> tuple[int, Sentence, float] | None:
    """(place in `hits`, sentence, share) of the sentence with most of the words asked about.

    The share is that of the words that a question of yes or no asks about; None where no sentence
    has any.
    """
    wanted = asked_words(question)
    best: tuple[int, Sentence, float] | None = None
    for place, hit in enumerate(hits):
        for one in sentences(hit.text):
            covered = share(wanted, one.text)
            if (
                covered > (best[2] if best else 0.0)
                and is_sentence(one.text)
                and one.text[-1] != "?"
            ):
                best = (place, one, covered)
    return best


def outright(question: str, hits: Sequence[Hit]) -> tuple[str, int, int, int] | None:
    """The yes or no of a list of questions and answers that has this question.

    (Yes or No, place of the passage in `hits`, span of its reason there); None where none has.
    """
    wanted = asked_words(question)
    for place, hit in enumerate(hits):
        found = sentences(hit.text)
        for n, one in enumerate(found):
            said = re.match(r"(yes|no)\b\s*(?:[.,:;!–-]|$)", one.text, re.IGNORECASE)
            if said is None:
                continue
            before = found[n - 1].text if n else hit.heading.split(" > ")[-1]
            asked = before.rstrip().rsplit("\n", 1)[-1]
            same = asked.endswith("?") and share(wanted, asked) >= _SAME
            if not same or share(asked_words(asked), question) < COVERED:
                continue
            if bool(_DENIES.search(asked)) != bool(_DENIES.search(question)):
                continue
            rest = one.start + said.end()
            rest += len(one.text[said.end() :]) - len(one.text[said.end() :].lstrip())
            if one.end - rest > 3:  # "Yes, it does."
                return said[1].capitalize(), place, rest, one.end
            reason = found[n + 1] if n + 1 < len(found) and found[n + 1].text[-1] != "?" else one
            return said[1].capitalize(), place, reason.start, reason.end
    return None


def compose_statement(question: str, sources: ScopedDocuments) -> Composed | None:
    """What the documents say nearest to a question of yes or no, without deciding it."""
    hits = sources.search(question, 6)
    wanted = asked_words(question)
    candidates = sentence_quotes(hits, sources)
    cosines = sources.cosines(question, [one_line(one.text) for one in candidates])
    scored = []
    for one, near in zip(candidates, cosines, strict=True):
        covered = share(wanted, f"{one.heading.split(' > ')[-1]} {one.text}")
        if one.text.endswith("?"):
            continue
        granted = covered >= GRANTED and _GRANTS.search(one.text) and _PERMISSION.search(question)
        if near >= 0.65 or (near >= NEAR and (covered >= COVERED or granted)):
            scored.append((near + share(wanted, one.text), one))
    scored.sort(key=lambda pair: -pair[0])
    if not scored:
        return None
    quotes = Quotes()
    lines = ["The documents do not say yes or no in these words. They say:"]
    lines += [f"- {quotes.line(one.document, one.start, one.end)}" for _, one in scored[:2]]
    return quotes.composed("yes_no", "\n".join(lines), hits)


def _limits(question: str, text: str) -> set[str]:
    """Words such as "only" that limit what a text says, but for those that the question has."""
    found = {match.group().lower() for match in _LIMITS.finditer(text)}
    return found - {match.group().lower() for match in _LIMITS.finditer(question)}


def _same_place(question: str, text: str) -> bool:
    """Whether a text names one of the ordinals ("the first day") of a question.

    True if it has none, or the text has none either.
    """
    asked = {match.group().lower() for match in _ORDINAL.finditer(question)}
    there = {match.group().lower() for match in _ORDINAL.finditer(text)}
    return not asked or not there or bool(asked & there)
