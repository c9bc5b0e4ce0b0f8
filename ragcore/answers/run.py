"""One question on its way: rewritten, searched for, read, written, checked."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

from ragcore.answer_parts import MeantCandidate
from ragcore.answers.citations import Checked, check_citations, citation_of, declines
from ragcore.answers.clarify import clarification
from ragcore.answers.composing import (
    QuestionScope,
    asked_words,
    closest_sentence,
    decided,
    one_line,
    outright,
    share,
    with_reason,
)
from ragcore.answers.confidence import Signals, signals
from ragcore.answers.explaining import WORDS, explain
from ragcore.answers.kinds import Kind, asks_twice, recognize
from ragcore.answers.pointing import beyond_spans, point
from ragcore.answers.prompt import ABSTENTION, PLAIN, PromptDocument, assemble
from ragcore.answers.reading import closest, fit, most_relevant, worth_reading
from ragcore.answers.rewrite import stand_alone
from ragcore.answers.tables import spoken
from ragcore.answers.writing import MORE, write_summary
from ragcore.errors import RagcoreError, UsageError
from ragcore.models import NO_ADAPTER, AdapterLLM, LikelihoodLLM, Sampling, Weights
from ragcore.types import (
    Answer,
    AnswerStyle,
    CancelToken,
    Citation,
    FieldEvidence,
    Hit,
    Message,
)

if TYPE_CHECKING:
    from ragcore.answers.answerer import Answerer
    from ragcore.answers.structured import Filled
    from ragcore.models import Written

MAX_QUESTION = 4000  # characters
THRESHOLD = 0.5
NEAREST = 3  # passages that an abstention shows
RERANKED = 10  # hits that a reranker orders before the best ones are read
_MOST = 0.75  # share of a question's words that a sentence has which decides it by itself
_STAGES = ("rewrite", "compose", "search", "read", "point", "generate")
IMAGES = 2  # that are read beside the passages: by their captions, or the text in them


@dataclass(frozen=True, slots=True)
class AnswerEvent:
    """A step of an answer, in this order.

    "question" (a follow-up as it was rewritten), "hits" (what was found), "text" (a piece, any
    number of times), "answer" (checked, last).
    """

    kind: Literal["question", "hits", "text", "answer"]
    text: str = ""
    hits: tuple[Hit, ...] = ()
    answer: Answer | None = None


@dataclass(slots=True)
class Run:
    """One question on its way."""

    answerer: Answerer
    question: str
    adapter: str | None
    cancel: CancelToken | None
    threshold: float = THRESHOLD
    scope: QuestionScope = field(default_factory=QuestionScope)
    style: AnswerStyle = PLAIN
    kind: Kind = "fact"
    several: bool = False  # more than one thing is asked for
    open_ended: bool = False  # sentences answer it better than a name or a number
    found: tuple[Hit, ...] = ()  # best first; `hits` are those of them that are read
    hits: tuple[Hit, ...] = ()
    nearest: tuple[Hit, ...] = ()  # shown with an abstention
    messages: list[Message] = field(default_factory=list)
    text: str = ""
    written: Written | None = None  # where the text came from a batch
    signals: Signals | None = None
    timings: dict[str, float] = field(default_factory=dict)
    started: float = field(default_factory=time.perf_counter)

    def __post_init__(self) -> None:
        self.question = " ".join(self.question.split())
        if not self.question:
            raise UsageError("the question is empty")
        if len(self.question) > MAX_QUESTION:
            raise UsageError(f"the question is longer than {MAX_QUESTION} characters")

    def understand(self, history: Sequence[Message], k: int) -> Iterator[AnswerEvent]:
        """Rewrite a follow-up so that it stands alone."""
        if not history:
            return

        def passages(text: str) -> Sequence[Hit]:
            return self.answerer.search(self.scope.query(text, k)).hits

        alone = stand_alone(
            self.answerer.llm, self.question, history, find=passages, cancel=self.cancel
        )
        self._time("rewrite")
        if alone != self.question:
            self.question = alone
            yield AnswerEvent("question", alone)

    def compose(self, length: int | None) -> Iterator[AnswerEvent]:
        """Answer without a model where the kind of question is one of quotes or counts.

        The last event is the answer then; none where a model has to answer.
        """
        composer = self.answerer.composer
        if composer is None:
            self._without_quotes(recognize(self.question).kind)
            return
        asked, made = composer.compose(self.question, self.scope, length=length, cancel=self.cancel)
        self.kind = asked.kind
        if made is None:
            self._without_quotes(asked.kind)
            self.several = asked.kind == "list"
            return
        self._time("compose")
        yield AnswerEvent("hits", hits=() if made.declined else made.hits)
        if made.declined:
            self.nearest = made.hits
            yield self.abstain()
            return
        self.hits = made.hits
        yield AnswerEvent("text", made.text)
        yield self._event(made.text, made.citations, abstained=False, composed=True)

    def _without_quotes(self, kind: Kind) -> None:
        """Note the kind of a question that no composer answers."""
        self.kind = kind if kind in ("yes_no", "explanation") else "fact"
        self.open_ended = kind in ("explanation", "how_to", "list")

    def asked_back(self) -> AnswerEvent | None:
        """Which of several things is meant, where the question fits each of them."""
        kind = recognize(self.question).kind

        def find(k: int) -> Sequence[Hit]:
            return self.answerer.search(self.scope.query(self.question, k)).hits

        found = clarification(self.question, kind, find)
        if found is None:
            return None
        self.kind, self.nearest = kind, found.hits
        return self._event(found.text, (), abstained=True, candidates=found.candidates)

    def write_summary(self, length: int | None) -> Iterator[AnswerEvent]:
        """A summary in the model's words.

        None for another kind of question, and where no sentence of the model's is borne out.
        """
        composer = self.answerer.composer
        if composer is None or recognize(self.question).kind != "summary":
            return
        length = length or self.style.length or None
        words, hits = composer.to_summarize(
            self.question, self.scope, length=length, more=MORE, cancel=self.cancel
        )
        self._time("search")
        if not hits:
            return
        yield AnswerEvent("hits", hits=hits)
        asker = self.answerer
        checked = write_summary(
            self.question, hits, words, llm=asker.llm, style=self.style, encode=asker.encode,
            rerank=asker.rerank, adapter=self.adapter, cancel=self.cancel,
        )  # fmt: skip
        self._time("generate")
        if checked is not None:
            self.kind, self.hits = "summary", hits
            yield AnswerEvent("text", checked.text)
            yield self._event(checked.text, checked.citations, abstained=False)

    def find(self, k: int) -> Iterator[AnswerEvent]:
        """Search, and put the prompt together within its budget."""
        if not self._reads_little:
            self._load_meanwhile()
        rerank = self.answerer.rerank
        depth = k if rerank is None else max(k, RERANKED)
        result = self.answerer.search(self.scope.query(self.question, depth, kind="all"))
        self.nearest = (*result.hits, *result.below)[:NEAREST]
        hits = readable(result.hits)
        if rerank is not None:
            hits = most_relevant(self.question, hits, rerank)[:k]
            self.nearest = tuple(hits[:NEAREST]) or self.nearest
        self._time("search")
        if hits:
            limit = self.answerer.calibration(self.adapter).passages
            if rerank is not None:
                best = worth_reading(hits, limit)
            else:
                encode = self.answerer.encode if 0 < limit < len(hits) else None
                best = closest(self.question, hits, limit, encode=encode)
            self.found = tuple(hits[:k])
            self.hits = tuple(fit(best, self._count, self.answerer.prompt_tokens))
        yield AnswerEvent("hits", hits=self.hits)
        if not self.hits:
            return
        sources = [_source(hit, self.question) for hit in self.hits]
        self.messages = assemble(self.question, sources, self.style)

    def _load_meanwhile(self) -> None:
        """Load the LLM beside the search. Where that fails, whoever needs it raises why."""
        llm = self.answerer.llm
        weights = getattr(llm, "weights", None)
        if not isinstance(weights, Weights) or weights.present:
            return

        def load() -> None:
            with suppress(RagcoreError):
                llm.warm_up()

        threading.Thread(target=load, name="ragcore-load-llm", daemon=True).start()

    def _count(self, text: str) -> int:
        """Tokens of a passage as it is shown to the model."""
        return self.answerer.llm.count_tokens(spoken(text, self.question))

    def confidence(self, citations: Sequence[Citation]) -> float:
        """How sure the answer is, in [0, 1]."""
        abstention, whole, tokens = self._likelihoods()
        found = signals(
            self.question,
            abstention=abstention,
            likelihood=whole,
            tokens=tokens,
            citations=citations,
            hits=self.hits,
            encode=self.answerer.encode,
            rerank=self.answerer.rerank,
        )
        calibration = self.answerer.calibration(self.adapter)
        if self.kind == "yes_no" and calibration.without_reranker is not None:
            # What decides such a question seldom has its words: the reranker's logits are low.
            calibration = calibration.without_reranker
        value = calibration.confidence(found)
        self.signals = found
        self.timings["confidence"] = round(value, 4)
        return value

    def _likelihoods(self) -> tuple[float | None, float | None, int]:
        """Probabilities of the abstention's first token and of the text, and its tokens."""
        if (written := self.written) is not None:
            return written.first, math.exp(written.logprob), written.tokens
        llm = self.answerer.llm
        tokens = llm.count_tokens(self.text)
        if not isinstance(llm, LikelihoodLLM):
            return None, None, tokens
        first = llm.likelihood(self.messages, ABSTENTION[0], adapter=self.adapter)
        whole = llm.likelihood(self.messages, self.text, adapter=self.adapter)
        return first, whole, tokens

    @property
    def size(self) -> int:
        """Characters of the prompt."""
        return sum(len(m.content) for m in self.messages)

    def second_thought(self, sampling: Sampling) -> Sampling:
        """Bar the abstention where `Answerer.bars` says so."""
        llm = self.answerer.llm
        if not isinstance(llm, LikelihoodLLM):
            return sampling
        first = ABSTENTION.split()[0]
        urge = llm.likelihood(self.messages, first, adapter=self.adapter, cancel=self.cancel)
        if not self.answerer.bars(self.adapter)(urge):
            return sampling
        return replace(sampling, banned_words=(*sampling.banned_words, first))

    def generate(self, sampling: Sampling) -> Iterator[str]:
        pieces = self.answerer.llm.stream(
            self.messages,
            sampling,
            adapter=self.adapter,
            cancel=self.cancel,
        )
        count, first = 0, 0.0
        for piece in pieces:
            if not count:
                first = time.perf_counter()
                self.timings["first_token"] = first - self.started
            count += 1
            self.text += piece
            yield piece
        self._time("generate")
        if count > 1:  # nearly every token is a piece
            self.timings["tokens_per_second"] = (count - 1) / (time.perf_counter() - first)

    def answer(self, sampling: Sampling) -> AnswerEvent:
        """The last event of a run that has found its passages: written and checked at once."""
        if not self.hits:
            return self.abstain()
        if (stated := self.without_writing()) is not None:
            return stated
        for _ in self.generate(self.second_thought(sampling)):
            pass
        return self.checked()

    def checked(self) -> AnswerEvent:
        """The answer with citations that hold; with none left, an abstention."""
        if declines(self.text):
            return self._otherwise()
        asker = self.answerer
        checked = check_citations(
            self.text, self.question, self.hits, encode=asker.encode, rerank=asker.rerank
        )
        self._time("check")
        if not checked.citations:
            return self._otherwise()
        if self.several and not _names_several(checked.text):
            return self.abstain()  # one of several things would pass for all of them
        if self.kind == "yes_no":
            borne_out = self._borne_out(checked)
            if borne_out is None:
                return self._otherwise()
            checked = borne_out
        if self.confidence(checked.citations) < self.threshold:
            return self._otherwise()
        text = checked.text
        if self.kind == "yes_no":
            text = with_reason(text, self.question, checked.citations)
        halved = self.kind == "fact" and asks_twice(self.question) and not _names_several(text)
        if halved:  # one of two things would pass for both: the sentence has the other
            text = " ".join(f"“{' '.join(c.quote.split())}” [{c.n}]" for c in checked.citations)
        return self._event(text, checked.citations, abstained=False, composed=halved)

    def _borne_out(self, checked: Checked) -> Checked | None:
        """A yes or no by the sentence with most words of the question, else by the model's quotes.

        None where they decide nothing.
        """
        quotes = [citation.quote for citation in checked.citations]
        closest = closest_sentence(self.question, self.hits)
        said = share(asked_words(self.question), " ".join(quotes))
        if closest is not None and closest[2] >= _MOST and closest[2] > said:
            place, one, _ = closest
            text = self._decided("Yes", [one.text], [self.hits[place]])
            if text is not None:
                cited = citation_of(place + 1, self.hits[place], one.start, one.end)
                return Checked(text, (cited,))
        cited_hits = [self.hits[citation.n - 1] for citation in checked.citations]
        text = self._decided(checked.text, quotes, cited_hits)
        return replace(checked, text=text) if text is not None else None

    def _decided(self, text: str, quotes: Sequence[str], hits: Sequence[Hit]) -> str | None:
        encode = self.answerer.encode
        near = 0.0
        if encode is not None:
            vectors = encode([self.question, " ".join(quotes)])
            near = float(vectors[0] @ vectors[1])
        heading = " ".join(hit.heading.split(" > ")[-1] for hit in hits)
        return decided(text, self.question, quotes, heading=heading, near=near)

    def without_writing(self) -> AnswerEvent | None:
        """The answer that the passages give without the language model, where they do.

        The span reader is asked instead of a model with the profile's own adapter, which is a small
        one: what that adds where the reader is not sure is wrong more often than right, but for
        tables and other languages. With any other model a span is what is left where its words do
        not hold.
        """
        stated = self.stated_outright() or self.explained()
        if stated is not None or not self._reads_little:
            return stated
        pointed = self.pointed()
        if pointed is None and beyond_spans(self.question, self.hits):
            return None
        return pointed or self.abstain()

    @property
    def _reads_little(self) -> bool:
        """Whether a span reader answers this question better than the language model."""
        if self.kind != "fact" or self.several or self.answerer.span_reader is None:
            return False
        name, llm = self.answerer.adapter_name(self.adapter), self.answerer.llm
        return name != NO_ADAPTER and isinstance(llm, AdapterLLM) and name == llm.default_adapter

    def stated_outright(self) -> AnswerEvent | None:
        """The yes or no that a list of questions and answers gives to this question."""
        found = outright(self.question, self.hits) if self.kind == "yes_no" else None
        if found is None:
            return None
        word, place, start, end = found
        cited = citation_of(place + 1, self.hits[place], start, end)
        text = f"{word}: “{' '.join(cited.quote.split())}” [{cited.n}]"
        return self._event(text, (cited,), abstained=False, composed=True)

    def explained(self) -> AnswerEvent | None:
        """The sentences nearest to an open question.

        None unless the reranker finds a passage about it, and where a large model writes answers.
        """
        rerank = self.answerer.rerank
        if not self.open_ended or rerank is None or self.answerer.is_large(self.adapter):
            return None
        wanted = self.style.length or WORDS
        parts, citations = [], []
        for n, (place, start, end) in enumerate(
            explain(self.question, self.hits, rerank, words=wanted), 1
        ):
            citation = citation_of(n, self.hits[place], start, end)
            citations.append(citation)
            parts.append(f"{one_line(citation.quote)} [{n}]")
        if not parts:
            return None
        self.kind = "explanation"
        return self._event(" ".join(parts), tuple(citations), abstained=False, composed=True)

    def _otherwise(self) -> AnswerEvent:
        """Where the model's words do not hold: what can be quoted instead, or an abstention."""
        pointed = None if self._reads_little else self.pointed()
        return self._stated() or pointed or self.abstain()

    def pointed(self) -> AnswerEvent | None:
        """What the profile's span reader points to, where it is as sure as the dial asks."""
        reader = self.answerer.span_reader
        if reader is None or self.kind != "fact" or self.several:
            return None
        hits = self.found or self.hits
        found = point(self.question, hits, reader)
        self._time("point")
        if found is None:
            return None
        self.timings["confidence"] = round(found.confidence, 4)
        if found.confidence < self.threshold:
            return None
        self.hits, self.messages = tuple(hits), []  # no model was asked
        cited = found.citation
        text = f"{found.words} [{cited.n}]."
        halved = asks_twice(self.question) and not _names_several(text)
        if halved:  # one of two things would pass for both: the sentence has the other
            text = f"“{one_line(cited.quote)}” [{cited.n}]"
        return self._event(text, (cited,), abstained=False, composed=halved)

    def _stated(self) -> AnswerEvent | None:
        """To a question of yes or no that the model does not decide: what stands nearest to it."""
        composer = self.answerer.composer
        if self.kind != "yes_no" or composer is None:
            return None
        made = composer.state(self.question, self.scope, cancel=self.cancel)
        if made is None:
            return None
        self.hits = made.hits
        return self._event(made.text, made.citations, abstained=False, composed=True)

    def read(self) -> Answer:
        """The checked answer from the passages that the search finds, without its events."""
        for _ in self.find(1):
            pass
        last = self.answer(self.answerer.sampling).answer
        assert last is not None
        return last

    def structured(self, filled: Filled) -> AnswerEvent:
        """An answer in JSON; an abstention where a required field has no evidence, or none has."""
        self.nearest = filled.nearest
        self._time("read")
        if filled.missing:
            return self.abstain(f"Not found in the documents: {filled.missing}")
        self.hits = filled.hits
        return self._event(
            filled.text,
            filled.citations,
            abstained=not filled.citations,
            composed=True,
            fields=filled.fields,
        )

    def abstain(self, text: str = ABSTENTION) -> AnswerEvent:
        return self._event(text, (), abstained=True)

    def _event(
        self,
        text: str,
        citations: tuple[Citation, ...],
        *,
        abstained: bool,
        composed: bool = False,
        fields: tuple[FieldEvidence, ...] = (),
        candidates: tuple[MeantCandidate, ...] = (),
    ) -> AnswerEvent:
        self.timings["total"] = time.perf_counter() - self.started
        prompt = self.answerer.llm.render(self.messages) if self.messages and self.hits else ""
        answer = Answer(
            text=text,
            citations=citations,
            abstained=abstained,
            hits=self.hits,
            prompt=prompt,
            timings=dict(self.timings),
            question=self.question,
            kind=self.kind,
            composed=composed,
            nearest=self.nearest if abstained else (),
            style="" if composed else self.style.version,
            fields=fields,
            candidates=candidates,
        )
        return AnswerEvent("answer", answer=answer)

    def _time(self, name: str) -> None:
        spent = sum(self.timings.get(k, 0.0) for k in _STAGES)
        self.timings[name] = max(0.0, time.perf_counter() - self.started - spent)


def _names_several(text: str) -> bool:
    return "," in text or ";" in text or " and " in text or len(text.split()) > 12


def readable(hits: Sequence[Hit]) -> list[Hit]:
    """Passages with text, then images with words of their own that no passage holds already."""
    passages = [h for h in hits if h.kind == "passage" and h.text.strip()]
    read = [" ".join(h.text.split()) for h in passages]
    images = []
    for hit in hits:
        words = " ".join(hit.text.split())
        if hit.kind == "image" and words and not any(words in text for text in read):
            images.append(hit)
            read.append(words)
    return [*passages, *images[:IMAGES]]


def _source(hit: Hit, question: str) -> PromptDocument:
    title = f"{hit.document}, image" if hit.kind == "image" else hit.document
    return PromptDocument(spoken(hit.text, question), title, hit.page)
