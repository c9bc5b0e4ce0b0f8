"""Questions that fit several things in the passages: which one is meant is asked back.

"What is the default port?" has an answer in every manual, "How do I install it?" too, and "the
clinic" may be any of five. What names one of them is looked for in the question's words and in
the documents' titles, by rules over English; no model is asked.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from ragcore.answer_parts import MeantCandidate
from ragcore.answers.kinds import Kind
from ragcore.answers.phrases import phrases
from ragcore.answers.rewrite import Reference, put_in, reference
from ragcore.answers.sentences import sentences, words
from ragcore.types import Hit

DEPTH = 12  # passages that candidates are looked for in
MOST = 5  # candidates that are named
LEADS = 0.5  # a candidate with less than this share of the best one's words is out
LONGEST = 5  # stems of a question whose words may all stand in one sentence of several documents
KINDS: tuple[Kind, ...] = ("fact", "yes_no", "definition", "how_to", "list")

Find = Callable[[int], Sequence[Hit]]

# What follows "the port" and says which one: of, in, that …
_SPECIFIES = re.compile(
    r"(?:of|in|on|at|for|from|with|by|to|that|which|who|whose|where|when|used|called|between|about|"
    r"during|against|into)$"
)
_MEASURE = re.compile(r"^how (?:long|many|much|often|old|far|high|large|big|wide|fast)\b", re.I)
# A name, a number or an identifier: something that a question is about, not one of a class.
_NAME = re.compile(r"(?<=\s)[A-Z][\w'’-]+|\w*\d\w*|\w+[_./]\w+|(?<!\S)[-/~.]\w|[\"“”]")
_ASKS = re.compile(
    r"^(?:(?:in|on|at|for|to|from|by|with) )?(?:who|what|which|when|where|why|how|whose|is|are|was|"
    r"were|do|does|did|can|could|may|must|should|will|would|has|have|list|name|tell|give|show)\b",
    re.IGNORECASE,
)
_IS = re.compile(r"\b(?:is|are|was|were) (?:an?|the|one of)\b", re.IGNORECASE)
_POINTS = {"the", "this", "that"}


@dataclass(frozen=True, slots=True)
class Clarification:
    """What is asked back, and the passages of the candidates, one of each."""

    text: str
    candidates: tuple[MeantCandidate, ...]
    hits: tuple[Hit, ...]


def clarification(question: str, kind: Kind, find: Find) -> Clarification | None:
    """The question to ask back where the evidence splits over several documents.

    None where the question stands for itself, or one candidate leads.

    `find(k)` searches for the question's passages, best first; it is called only if the question's
    words leave open what it is about.
    """
    if kind not in KINDS:
        return None
    nouns = _open_nouns(question)
    names = _names(question)
    clear = reference(question) is Reference.CLEAR and bool(_asked(question))
    short = kind not in ("how_to", "list") and bool(nouns) and not names
    short = short and 2 <= len(_asked(question)) <= LONGEST and bool(_ASKS.match(question))
    if not nouns and not clear and not short:
        return None
    by_document: dict[int, list[Hit]] = {}
    for hit in find(DEPTH):
        if hit.kind == "passage":
            by_document.setdefault(hit.document_id, []).append(hit)
    if len(by_document) < 2:
        return None
    groups = list(by_document.values())
    for noun in nouns:
        chosen = _of_class(question, noun, names - set(words(noun)), groups)
        if chosen:
            return _asked_back(question, f"Which {noun} do you mean", chosen)
    if names or (not clear and not short):
        return None
    chosen = _same_words(question, groups, headings=clear or kind == "how_to")
    return _asked_back(question, "Which one do you mean", chosen) if chosen else None


def _asked_back(question: str, start: str, chosen: Sequence[Hit]) -> Clarification:
    labels = [_label(hit) for hit in chosen]
    candidates = tuple(
        MeantCandidate(label, hit.document_id, put_in(question, label), hit.collection)
        for label, hit in zip(labels, chosen, strict=True)
    )
    text = f"{start}: {', '.join(labels[:-1])} or {labels[-1]}?"
    return Clarification(text, candidates, tuple(chosen))


def _label(hit: Hit) -> str:
    """A document's title without what follows a bar (a site's name), in one line."""
    title = " ".join(hit.document.split(" | ")[0].split())
    return title if len(title) <= 80 else f"{title[:79].rstrip()}…"


def _of_class(
    question: str, noun: str, names: set[str], groups: Sequence[Sequence[Hit]]
) -> list[Hit]:
    """The best passages of documents whose titles have the noun (the clinic: "Hibbing Clinic").

    Only where several fit as well; none where the question's names leave some of them out.
    """
    wanted = set(words(question))
    scored = []
    for group in groups:
        share, best = max(
            ((_share(wanted, f"{hit.document} {hit.text}"), hit) for hit in group),
            key=lambda pair: pair[0],
        )
        there = set(words(f"{best.document} {best.text}"))
        if any(_is_one(noun, hit) for hit in group) and names <= there:
            scored.append((share, best))
    limit = LEADS * max((share for share, _ in scored), default=0.0)
    found = [hit for share, hit in sorted(scored, key=lambda p: -p[0]) if share >= limit]
    others = [hit for hit in found if set(words(_label(hit))) - set(words(_label(found[0])))]
    # A title whose every word stands in the question is the one that it names.
    if not others or any(set(words(_label(hit))) <= wanted for hit in found):
        return []
    return _distinct(found)


def _is_one(noun: str, hit: Hit) -> bool:
    """Whether a document is about one of the things that a noun names.

    Its title has the noun and another word, or a sentence says of the title that it is one.
    """
    wanted, title = set(words(noun)), set(words(_label(hit)))
    if " " not in _label(hit):  # the name of a file
        return False
    if wanted <= title and wanted != title:
        return True
    for one in sentences(hit.text)[:3]:
        found = _IS.search(one.text)
        if found and title & set(words(one.text[: found.start()])):
            return wanted <= set(words(one.text[found.end() :]))
    return False


def _same_words(question: str, groups: Sequence[Sequence[Hit]], *, headings: bool) -> list[Hit]:
    """The best passages of documents that have all of the question's words in one sentence.

    With `headings`, in a sentence and its heading. Each has other words around them.
    """
    wanted = _asked(question)
    if not wanted:
        return []
    found: list[tuple[Hit, frozenset[str]]] = []
    for group in groups:
        for hit in group:
            said = next(_sentences_with(wanted, hit, headings), None)
            if said is not None:
                found.append((hit, said))
                break
    statements = {tuple(sorted(said - wanted)) for _, said in found}
    return _distinct([hit for hit, _ in found]) if len(statements) > 1 else []


def _sentences_with(wanted: set[str], hit: Hit, headings: bool) -> Iterator[frozenset[str]]:
    heading = hit.heading.split(" > ")[-1] if headings else ""
    for one in sentences(hit.text):
        said = frozenset(words(one.text))
        if not one.text.endswith("?") and wanted <= said | set(words(heading)):
            yield said


def _distinct(hits: Sequence[Hit]) -> list[Hit]:
    """Those with other labels, at most MOST; none where only one is left."""
    found = list({_label(hit): hit for hit in reversed(hits)}.values())[::-1]
    return found[:MOST] if len(found) > 1 else []


def _asked(question: str) -> set[str]:
    """Stems of what is asked, without the word that asks for an amount."""
    return set(words(_MEASURE.sub("", question)))


def _names(question: str) -> set[str]:
    return {stem for match in _NAME.finditer(question) for stem in words(match.group())}


def _open_nouns(question: str) -> list[str]:
    """What follows "the" or "this" but is not specific ("the clinic").

    Whole phrases and their parts, the longest first, because an adjective or verb may stand in
    them.
    """
    found: dict[str, None] = {}
    for phrase in phrases(question):
        text, before = phrase.text, question[: phrase.start].split()
        word = before[-1].lower() if before else ""
        if (of := re.search(r"^.* of (the|this|that) ", text)) is not None:
            word, text = of[1], text[of.end() :]
        after = question[phrase.end :].split()
        following = after[0].strip("?.,;:'’").lower() if after else ""
        if word not in _POINTS or " of " in text or (word == "the" and _SPECIFIES.match(following)):
            continue
        tokens = re.sub(r"(?<=[a-z])['’]s$", "", text).split()
        for end in (len(tokens), len(tokens) - 1)[: 2 if len(tokens) > 2 else 1]:
            for at in range(end):
                found.setdefault(re.sub(r"['’]s$", "", " ".join(tokens[at:end])))
    return [noun for noun in sorted(found, key=lambda n: -len(n.split())) if words(noun)]


def _share(wanted: set[str], text: str) -> float:
    return len(wanted & set(words(text))) / len(wanted) if wanted else 0.0
