"""A follow-up question rewritten to stand alone, so that search and model need no history.

A question is rewritten only if it refers back, and what it refers to is decided by evidence:
every candidate is searched for, and the one whose words stand together in one passage wins. A
question that finds such a passage as it was asked stays as it is.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from enum import Enum
from itertools import pairwise
from typing import TYPE_CHECKING

from ragcore.answers.phrases import Phrase, phrases
from ragcore.answers.prompt import ABSTENTION, neutralize
from ragcore.answers.sentences import words
from ragcore.models import Sampling
from ragcore.types import CancelToken, Hit, Message

if TYPE_CHECKING:
    from ragcore.models import LLM

Find = Callable[[str], Sequence[Hit]]


class Reference(Enum):
    """How strongly a question leans on what was said before."""

    NONE = "none"
    POSSIBLE = "possible"  # few words, or a pronoun whose noun may stand in the question itself
    CLEAR = "clear"


_TURNS = 4  # earlier questions and answers that are looked at
_EARLIER = 400  # characters of each
_CANDIDATES = 6
_COMPLETE = 0.99  # share of the words in one passage: all of them, whatever the rounding

_PERSONAL = r"it|its|they|them|their|theirs|he|him|his|she|her|hers"
_PRONOUN = re.compile(
    rf"\b(?:(?P<personal>{_PERSONAL})|(?P<pointing>this|that|these|those)|(?P<place>there)|"
    r"(?:new|old|other|another|first|second|third|next|last|which|this|that|the)\s+"
    r"(?P<one>ones?)(?!\s+(?:of|day|week|month|year|hour))|(?P<rest>former|latter|else|mine|yours|ours))\b",
    re.IGNORECASE,
)
_LAST_WORD = re.compile(
    r"\b(?:too|instead|the same|it|they|them|him|her|this|that|these|those)\W*$", re.IGNORECASE
)
# "Is it possible to …", "How long does it take to …", "it is true that …": it refers to nothing.
_EXPLETIVE = re.compile(
    r"\b(?:(?:is|was|be|are)\s+it|it(?:\s+(?:is|was|be|will be|would be)|'s|’s))"
    r"\s+(?:\w+\s+)?\w+\s+(?:to|that|if|for)\b|\bit\s+takes?\s+(?:\w+\s+){0,3}to\b|\bdoes\s+it\s+take\s+(?:to|until|till|before)\b|"
    r"\b(?:it|there)\s+(?:rains?|snows?)\b",
    re.IGNORECASE,
)
_EXISTS = re.compile(
    r"\bthere(?:'s|’s|\s+(?:is|are|was|were|be|been|exists?|any))\b|"
    r"\b(?:is|are|was|were|be|been|isn't|aren't)\s+there\b",
    re.IGNORECASE,
)
_OUTSIDE = re.compile(  # "this year" and "this document" mean the asker's own time and place
    r"\b(?:this|these)\s+(?:year|month|week|quarter|morning|afternoon|evening|time|document|file|"
    r"book|manual|handbook|guide|report|paper|page|chapter|section|collection|folder|library)s?\b",
    re.IGNORECASE,
)
_CONTINUES = re.compile(
    r"^(?:(?:and|but|so|or|also|then|really|since when)\b|"
    r"(?:why|when|where|who|how)\W*$)",
    re.IGNORECASE,
)
_ABOUT = re.compile(r"^(?:(?:and|but|so)\s+)?(?:what|how) about\b", re.IGNORECASE)
_OTHER_THING = re.compile(
    r"^(?:and|but|so|or|also|(?:(?:and|but)\s+)?(?:what|how) about)\s+(.+)$", re.I
)
_QUESTION = re.compile(
    r"^(?:who|whom|whose|what|which|when|where|why|how|if|is|are|was|were|do|does|did|can|could|may|"
    r"must|should|will|would|has|have)\b",
    re.IGNORECASE,
)
_RELATIVE = re.compile(r"[^\W_]{3,}\s+$")  # what stands before "that" in "files that mention …"
_ARTICLE = re.compile(r"^(?:the|an?)\s+", re.IGNORECASE)
_PREPOSITION = re.compile(r"^(?:for|with|of|in|on|at|by|from|to|after|before|during)\s+", re.I)
_POSSESSIVE = {"its", "their", "his", "theirs", "hers"}

_INSTRUCTION = (
    "Rewrite the last question so that it can be understood without the conversation. "
    "Put the names that it refers to in place of words like it, they or there. "
    "Reply with the rewritten question only."
)


def reference(question: str) -> Reference:
    """Whether a question leans on what was said before."""
    content = words(question)
    found = _pronoun(question)
    if not content or (_CONTINUES.match(question) and len(content) < 3) or _ABOUT.match(question):
        return Reference.CLEAR
    if _LAST_WORD.search(question):
        return Reference.CLEAR
    if found is not None:
        before = question[: found.start()]
        own = bool(phrases(before)) or len(words(before)) > 1
        return Reference.POSSIBLE if own and not found["one"] else Reference.CLEAR
    return Reference.POSSIBLE if len(content) < 3 else Reference.NONE


def stand_alone(
    llm: LLM,
    question: str,
    history: Sequence[Message],
    *,
    find: Find | None = None,
    cancel: CancelToken | None = None,
) -> str:
    """The question with what it refers to put in; unchanged where it stands alone.

    Args:
        question: as it was asked, with what it refers to in `history`.
        llm: writes one of the candidates, which counts only if it keeps the question's words
            and takes all others from the conversation. It is asked only about a clear reference.
        history: the turns before, oldest first.
        find: passages for a text, best first; without it the likeliest candidate is taken.
        cancel: stops the language model.
    """
    turns = [m for m in history if m.content.strip() and m.role != "system"][-2 * _TURNS :]
    leans = reference(question)
    if leans is Reference.NONE or not any(m.role == "user" for m in turns):
        return question
    own = set(words(question))
    if find is not None and _stands(question, own, find, leans):
        return question
    candidates = list(dict.fromkeys(_by_phrases(question, turns)))[:_CANDIDATES]
    if leans is Reference.CLEAR:
        written = _ask_model(llm, question, turns, cancel)
        if _faithful(written, question, turns):
            candidates.insert(0, written)
    if find is None or not candidates:
        return candidates[0] if candidates and leans is Reference.CLEAR else question
    scored = [_evidence(text, find) for text in candidates]
    best = max(range(len(candidates)), key=lambda n: scored[n])
    if leans is Reference.CLEAR or scored[best][0] >= _COMPLETE:
        return candidates[best]
    return question


def _evidence(text: str, find: Find) -> tuple[float, float]:
    hits = find(text)
    return round(together(set(words(text)), hits), 2), round(hits[0].score, 1) if hits else 0.0


def together(wanted: set[str], hits: Sequence[Hit]) -> float:
    """The largest share of the wanted stems that one of the passages holds, in [0, 1].

    A passage's heading and its document's title count as its words.
    """
    if not wanted:
        return 0.0
    contained = (set(words(f"{hit.document} {hit.heading} {hit.text}")) for hit in hits)
    return max((len(wanted & there) / len(wanted) for there in contained), default=0.0)


def _stands(question: str, own: set[str], find: Find, leans: Reference) -> bool:
    """Whether one passage holds all words of the question as it was asked.

    Few words prove nothing beside a pronoun: they stand in many passages.
    """
    enough = 4 if leans is Reference.CLEAR else 3 if _pronoun(question) else 1
    return len(own) >= enough and together(own, find(question)) >= _COMPLETE


def _pronoun(question: str) -> re.Match[str] | None:
    """The first word that stands for something named elsewhere."""
    excused = [
        match.span()
        for pattern in (_EXPLETIVE, _EXISTS, _OUTSIDE)
        for match in pattern.finditer(question)
    ]
    for match in _PRONOUN.finditer(question):
        if any(start <= match.start() < end for start, end in excused):
            continue
        if match["pointing"] and _is_conjunction(question, match):
            continue
        return match
    return None


def _is_conjunction(question: str, match: re.Match[str]) -> bool:
    """Whether "that" begins a clause: "files that mention it", "says that prices rise"."""
    if match["pointing"].lower() != "that" or not question[match.end() :].strip(" ?.!"):
        return False
    before = _RELATIVE.search(question[: match.start()])
    return before is not None and bool(words(before.group()))


def _by_phrases(question: str, turns: Sequence[Message]) -> Iterator[str]:
    """The question with phrases of the conversation put in, the likeliest first."""
    asked = [_plain(m.content)[:_EARLIER] for m in reversed(turns) if m.role == "user"]
    answered = [_plain(m.content)[:_EARLIER] for m in reversed(turns) if m.role != "user"]
    topics = _topics(asked)
    topics += [phrase for text in answered[:1] for phrase in phrases(text) if phrase.name]
    own = set(words(question))
    topics = [topic for topic in topics if not set(words(topic.text)) <= own]
    other = _OTHER_THING.match(question.rstrip(" ?.!"))
    if other and _pronoun(question) is None and not _QUESTION.match(other[1]):
        yield from _about_another(asked[0], other[1])
        return
    if not own:  # "And after it?" needs what was asked as well as what it was asked of
        for first, second in pairwise(topics):
            yield _put_in(f"{question.rstrip(' ?.!')} ({second.text})?", first)
    for topic in topics:
        yield _put_in(question, topic)


def _topics(asked: Sequence[str]) -> list[Phrase]:
    """Phrases of earlier questions, latest question first.

    A question that leaned on the one before it is about that one's topic more than its own.
    """
    if not asked:
        return []
    own, inherited = phrases(asked[0]), _topics(asked[1:])
    if reference(asked[0]) is Reference.CLEAR or _pronoun(asked[0]) is not None:
        return [*inherited[:1], *own, *inherited[1:]]
    return [*own, *inherited]


def _about_another(earlier: str, other: str) -> Iterator[str]:
    """An earlier question about another thing: "What about trainees?", "And for a lunch?".

    It takes the place of the phrase that it resembles most: by preposition, number and article.
    """
    preposition = _PREPOSITION.match(other)
    thing = other[preposition.end() :] if preposition else other
    bare = _ARTICLE.sub("", thing)

    def alike(topic: Phrase) -> tuple[bool, int]:
        start = topic.start - len(topic.article) - bool(topic.article)
        before = earlier[:start].split()
        same = bool(preposition and before and before[-1].lower() == preposition[0].strip().lower())
        plural = topic.text.endswith("s") == bare.endswith("s")
        return same, plural + (bool(topic.article) == (bare != thing))

    topics = phrases(earlier)
    topics.reverse()  # of equal ones the last: what is left out is mostly said last
    for topic in sorted(topics, key=alike, reverse=True):
        start = topic.start - (len(topic.article) + 1 if topic.article and bare != thing else 0)
        yield earlier[:start] + thing + earlier[topic.end :]


def put_in(question: str, name: str) -> str:
    """A name in place of the question's pronoun; in parentheses where there is none."""
    return _put_in(question, Phrase(name, 0, len(name)))


def _put_in(question: str, topic: Phrase) -> str:
    """The topic in place of the pronoun; in parentheses where there is none to replace."""
    match = _pronoun(question)
    group = match.lastgroup if match is not None else None
    if match is None or group not in {"personal", "pointing", "one"}:
        return f"{question.rstrip(' ?.!')} ({topic.text})?"
    pronoun = match[group]
    start, end = match.span(group)
    rest = question[end:]
    if group == "pointing" and re.match(r"\s+[^\W_]{3,}", rest) and words(rest.split()[0]):
        return f"{question.rstrip(' ?.!')} ({topic.text})?"  # "that rule": the noun stays
    belongs = pronoun.lower() in _POSSESSIVE or (pronoun.lower() == "her" and rest.strip(" ?.!"))
    text = topic.text if group == "one" else topic.full
    if belongs:
        text += "’" if text.endswith("s") else "’s"
    return question[:start] + text + rest


def _ask_model(
    llm: LLM, question: str, turns: Sequence[Message], cancel: CancelToken | None
) -> str:
    lines = [
        f"{'Question' if m.role == 'user' else 'Answer'}: {_plain(m.content)[:_EARLIER]}"
        for m in turns
    ]
    conversation = neutralize("\n".join([*lines, f"Last question: {_plain(question)}"]))
    messages = [Message("system", _INSTRUCTION), Message("user", conversation)]
    sampling = Sampling(max_tokens=60, stop=("\n",))
    text = "".join(llm.stream(messages, sampling, adapter="none", cancel=cancel))
    return re.sub(r"^(the )?(rewritten|last) question:?\s*", "", text.strip(), flags=re.I).strip(
        '"“” '
    )


def _faithful(written: str, question: str, turns: Sequence[Message]) -> bool:
    if not written.endswith("?") or written.count("?") != 1 or len(written) > 300:
        return False
    new, own = set(words(written)), set(words(question))
    known = own | {w for m in turns for w in words(m.content)}
    return own <= new and new <= known and new != own


def _plain(text: str) -> str:
    text = re.sub(r"\s*\[\d+\]", "", text).replace(ABSTENTION, "")
    return " ".join(text.split())
