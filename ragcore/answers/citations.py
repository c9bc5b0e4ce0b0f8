"""Is what the answer says in the passages it cites?

Each sentence of an answer is held against the passages: the share of its words that stand in
one or two neighbouring sentences there, and where that is not enough, the cosine of their
embeddings and, where the profile has a reranker, its judgement of the pair. A citation that does
not hold is moved to the passage that does support the sentence, or dropped; a sentence that
nothing supports is dropped with it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from ragcore.answers.sentences import Sentence, sentences, words
from ragcore.types import PAGE_BREAK, Citation, Hit

if TYPE_CHECKING:
    from ragcore.types import FloatArray

Encode = Callable[[Sequence[str]], "FloatArray"]
Rerank = Callable[[str, Sequence[str]], "FloatArray"]  # logits of a query with each passage

MARK = re.compile(r"\s*\[(\d{1,3}(?:\s*[,;]\s*\d{1,3})*)\]")
_YES_NO = re.compile(r"^(yes|no)\b[,.:]?\s*", re.IGNORECASE)
_LETTER = re.compile(r"[^\W\d_]")
_NEGATION = re.compile(r"\b(not|never|cannot|nobody|none|no)\b|n['’]t\b", re.IGNORECASE)
OVERLAP = 0.6  # share of an answer's words that its source has to contain
COSINE = 0.55  # else: cosine of answer (with question) and source sentence; and, because the
SHARED = 0.3  # question alone is near its passage, this share of the answer's words,
ALONE = 0.4  # or this cosine of the answer without the question
RELEVANT = 0.0  # and the reranker's logit of the two, where there is one


@dataclass(frozen=True, slots=True)
class Support:
    """How well a passage supports a sentence, in [0, 1], and which part of it does."""

    score: float
    supported: bool
    start: int = 0
    end: int = 0


@dataclass(frozen=True, slots=True)
class Checked:
    """An answer whose citations hold. `dropped` are the sentences that nothing supported."""

    text: str
    citations: tuple[Citation, ...]
    dropped: tuple[str, ...] = ()


def numbers(text: str) -> list[int]:
    """The numbers in the text's [n] marks, in order, repeats dropped."""
    found = [int(n) for mark in MARK.findall(text) for n in re.findall(r"\d+", mark)]
    return list(dict.fromkeys(found))


def without_marks(text: str) -> str:
    """The text without its [n] marks."""
    return MARK.sub("", text).strip()


def declines(text: str) -> bool:
    """Whether an answer says that it does not know."""
    plain = without_marks(text).lower().replace("’", "'").strip(" .!\"'")
    return plain in ("", "i don't know", "i do not know") or plain.startswith("i don't know")


def check_citations(
    text: str,
    question: str,
    hits: Sequence[Hit],
    *,
    encode: Encode | None = None,
    rerank: Rerank | None = None,
) -> Checked:
    """Verify an answer's citations against `hits`; [n] names `hits[n - 1]`.

    Citations are numbered as in the prompt. Every quote stands word for word in its passage,
    and its span is in the document's text where the passage's own span is known.
    """
    verifier = _Verifier(question, hits, encode, rerank)
    supported: list[str] = []
    dropped: list[str] = []
    citations: dict[int, Citation] = {}
    for sentence in _answer_sentences(text):
        plain = without_marks(sentence)
        if not re.search(r"\w", plain):
            continue
        found = verifier.sources(plain, numbers(sentence))
        if not found:
            dropped.append(plain)
            continue
        sources = [hits[n - 1].text for n in found]
        written = _completed(_as_written(plain, sources), sources)
        supported.append(_marked(written, list(found)))
        for n, support in found.items():
            citations.setdefault(n, citation_of(n, hits[n - 1], support.start, support.end))
    return Checked(
        " ".join(supported), tuple(citations[n] for n in sorted(citations)), tuple(dropped)
    )


def _answer_sentences(text: str) -> list[str]:
    """Sentences of an answer; a mark after the full stop belongs to the sentence before it."""
    text = re.sub(r"([.!?])((?:\s*\[[\d\s,;]+\])+)\s*\.?", r"\2\1", text.strip())
    return [s.text for s in sentences(text)]


def _marked(plain: str, cited: list[int]) -> str:
    """A sentence with its citation: "It opens at nine [2]."."""
    end = plain[-1] if plain[-1] in ".!?" else "."
    return f"{plain.rstrip('.!? ')} {''.join(f'[{n}]' for n in sorted(cited))}{end}"


# A word that is no plain one: read.fwf, snake_case, camelCase, f(x), std::max, v2, user@host.
_IDENTIFIER = re.compile(r"[^\W\d_]\w*(?:[._:/(@]|\d|(?<=[a-z])[A-Z])")


def _as_written(sentence: str, sources: Sequence[str]) -> str:
    """The sentence with an identifier at its start as the sources write it: "read.fwf reads"."""
    first = sentence.split(maxsplit=1)[0].rstrip(".,;:!?")
    lower = first[:1].lower() + first[1:]
    known = any(lower in text for text in sources) and not any(first in text for text in sources)
    return lower + sentence[len(first) :] if known and _IDENTIFIER.match(first) else sentence


# Where a name has parts: "/run/crond.pid", "std::max", "a-b", "v1.2", "user@host".
_JOINT = re.compile(r"[./:@_-]")
_EDGES = ".,;:!?()[]{}\"'“”‘’"


def _completed(sentence: str, sources: Sequence[str]) -> str:
    """The sentence with the end of a path or another joined name as the sources write the whole.

    "/run/crond.pid" for "crond.pid", unless they have the end alone too or several such names.
    """
    known = {token.strip(_EDGES) for text in sources for token in text.split()}
    for token in {token.strip(_EDGES) for token in sentence.split()}:
        if token in known or not _JOINT.search(token) or not _LETTER.search(token):
            continue
        whole = {
            name
            for name in known
            if name.endswith(token) and _JOINT.match(name[len(name) - len(token) - 1])
        }
        if len(whole) == 1:
            sentence = re.sub(rf"(?<!\S){re.escape(token)}", whole.pop(), sentence)
    return sentence


def citation_of(n: int, hit: Hit, start: int, end: int) -> Citation:
    """The citation with number `n` of `hit.text[start:end]`, without a page number at its edge."""
    start, end = _without_page_numbers(hit.text, start, end)
    span = (hit.span[0] + start, hit.span[0] + end) if hit.span else None
    page, page_end = quote_pages(hit, start, end)
    return Citation(
        n=n,
        document=hit.document,
        document_id=hit.document_id,
        page=page,
        quote=hit.text[start:end],
        passage_id=hit.id if hit.kind == "passage" else 0,
        span=span,
        image_id=hit.id if hit.kind == "image" else None,
        page_end=page_end,
    )


def _without_page_numbers(text: str, start: int, end: int) -> tuple[int, int]:
    """The span without text before its first or after its last page break, if without letters.

    The quote is not on that page then.
    """
    first, last = text.find(PAGE_BREAK, start, end), text.rfind(PAGE_BREAK, start, end)
    if first >= 0 and not _LETTER.search(text, start, first):
        start = first + 1
    if last >= start and not _LETTER.search(text, last, end):
        end = last
    return start, end


def quote_pages(hit: Hit, start: int, end: int) -> tuple[int | None, int | None]:
    """The pages on which `hit.text[start:end]` begins and ends, by the page breaks before it."""
    if hit.page is None or hit.kind == "image":
        return hit.page, hit.page
    first = hit.page + hit.text.count(PAGE_BREAK, 0, start)
    return first, first + hit.text.count(PAGE_BREAK, start, end)


class _Verifier:
    """Holds the sentences of the passages, and their vectors once they are needed."""

    def __init__(
        self, question: str, hits: Sequence[Hit], encode: Encode | None, rerank: Rerank | None
    ) -> None:
        self._question = question
        self._asked = set(words(question))
        self._pieces = [_windows(hit.text) for hit in hits]
        self._single = [len(sentences(hit.text)) for hit in hits]
        self._words = [[set(words(p.text)) for p in pieces] for pieces in self._pieces]
        self._encode, self._rerank = encode, rerank
        self._vectors: dict[int, FloatArray] = {}

    def sources(self, sentence: str, claimed: Sequence[int]) -> dict[int, Support]:
        """Document number to support: the claimed ones that hold, else the best other one."""
        known = [n for n in claimed if 1 <= n <= len(self._pieces)]
        holds = {n: s for n in known if (s := self.support(sentence, n)).supported}
        if holds:
            return holds
        others = [n for n in range(1, len(self._pieces) + 1) if n not in known]
        scored = [(self._overlap(sentence, n), n) for n in others]
        best = max(scored, key=lambda pair: pair[0].score, default=None)
        if best is None or best[0].score < max(OVERLAP, 0.8):  # the model did not point there
            return {}
        return {best[1]: best[0]}

    def support(self, sentence: str, n: int) -> Support:
        """Word overlap first; embeddings and the reranker where that is not enough."""
        overlap = self._overlap(sentence, n)
        if overlap.supported or self._encode is None or not self._pieces[n - 1]:
            return overlap
        if n not in self._vectors:
            self._vectors[n] = self._encode([p.text for p in self._pieces[n - 1]])
        said = f"{self._question} {sentence}"
        claim, alone = self._encode([said, sentence])
        cosines = self._vectors[n] @ claim
        asks = [p.text.endswith("?") for p in self._pieces[n - 1]]  # a question states nothing
        if all(asks):
            return overlap
        cosines[asks] = -1
        best = int(cosines.argmax())
        piece = self._pieces[n - 1][best]
        score = float(cosines[best])
        figures = {w for w in words(sentence) if w[0].isdigit()}
        own = overlap.score >= SHARED or float(self._vectors[n][best] @ alone) >= ALONE
        holds = score >= COSINE and own and figures <= self._words[n - 1][best]
        if holds and self._rerank is not None:
            holds = float(self._rerank(said, [piece.text])[0]) >= RELEVANT
        return Support(score, holds, piece.start, piece.end)

    def _overlap(self, sentence: str, n: int) -> Support:
        """The window with the largest share of the claim's words.

        A single sentence and one with more of the question's words first among equals.
        """
        claim = set(words(_YES_NO.sub("", sentence)))
        wanted = claim or self._asked  # "Yes." says what was asked
        best, rank = Support(0.0, False), (0.0, 0, 0.0)
        for at, (piece, there) in enumerate(
            zip(self._pieces[n - 1], self._words[n - 1], strict=True)
        ):
            share = len(wanted & there) / len(wanted) if wanted else 0.0
            asked = len(self._asked & there) / len(self._asked) if self._asked else 0.0
            single = 1 if at < self._single[n - 1] else 0
            if (share, single, asked) > rank:
                rank = (share, single, asked)
                figures = {w for w in claim if w[0].isdigit()}
                holds = share >= OVERLAP and figures <= there
                holds = holds and not _contradicts(sentence, piece.text)
                best = Support(share, holds, piece.start, piece.end)
        return best


def _contradicts(sentence: str, source: str) -> bool:
    """A yes or no whose words are the source's, but for a "not". A no may leave the "not" out."""
    said = _YES_NO.match(sentence)
    if said is None or not words(_YES_NO.sub("", sentence)):
        return False
    denied = bool(_NEGATION.search(_YES_NO.sub("", sentence)))
    denies = bool(_NEGATION.search(source))
    return denied != denies and (denied or said[1].lower() == "yes")


def _windows(text: str) -> list[Sentence]:
    """Single sentences, and pairs of neighbours for what is said in two."""
    single = sentences(text)
    pairs = [Sentence(text[a.start : b.end], a.start, b.end) for a, b in pairwise(single)]
    return [*single, *pairs]
