"""Questions answered from passages: found, read, answered, checked."""

from __future__ import annotations

import copy
import json
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from ragcore.answers.citations import Encode, Rerank, check, declines
from ragcore.answers.confidence import Calibration, Signals, signals
from ragcore.answers.prompt import ABSTENTION, Source, assemble, assemble_structured
from ragcore.answers.reading import closest, fit
from ragcore.answers.rewrite import stand_alone
from ragcore.answers.tables import spoken
from ragcore.errors import UsageError
from ragcore.llm.schema import check_schema
from ragcore.models import NO_ADAPTER, AdapterLLM, Constraint, LikelihoodLLM, Sampling
from ragcore.types import Answer, CancelToken, Citation, Hit, Message, SearchQuery, SearchResult

if TYPE_CHECKING:
    from ragcore.models import LLM, Models, Written
    from ragcore.settings import Settings

MAX_QUESTION = 4000  # characters
PROMPT_TOKENS = 1600  # of documents: what a small model reads well, and quickly on a CPU
SAMPLING = Sampling(max_tokens=128)
STRUCTURED_TOKENS = 768  # that an answer by a JSON Schema may have at least
THRESHOLD = 0.5
PICTURES = 2  # that are read beside the passages: by their captions, or the text in them
LEANS = 0.1  # probability of the abstention from which it might be the likeliest text
SURE = 0.9  # and from which no other answer is worth writing


@dataclass(frozen=True, slots=True)
class AnswerEvent:
    """A step of an answer, in this order: "question" (a follow-up as it was rewritten),
    "hits" (what was found), "text" (a piece, any number of times), "answer" (checked, last)."""

    kind: Literal["question", "hits", "text", "answer"]
    text: str = ""
    hits: tuple[Hit, ...] = ()
    answer: Answer | None = None


class Answerer:
    """Answers from what `search` finds, with checked citations, or abstains.

    `threshold` in [0, 1] (default: the setting `answer_threshold`) is the one dial of caution:
    an answer whose confidence (see `ragcore.answers.confidence`) is below it becomes an
    abstention (0: none does; 1: all do).
    """

    def __init__(
        self,
        llm: LLM,
        search: Callable[[SearchQuery], SearchResult],
        *,
        settings: Settings | None = None,
        models: Models | None = None,
        encode: Encode | None = None,
        sampling: Sampling = SAMPLING,
        threshold: float | None = None,
        prompt_tokens: int = PROMPT_TOKENS,
    ) -> None:
        self.llm = llm
        self._search = search
        self._settings = settings
        self._models = models
        self._encode = encode
        self._sampling = sampling
        self.threshold = settings.answer_threshold if settings is not None else THRESHOLD
        self.threshold = self._caution(threshold)
        self._prompt_tokens = prompt_tokens
        self._calibrations: dict[str, Calibration] = {}

    def ask(self, question: str, **how: Any) -> Answer:
        """As `stream`, and `schema`: a JSON Schema that the answer's text then follows.

        Returns the checked Answer. Raises as `stream` does, and RagcoreError when an answer in
        JSON did not fit into the token limit.
        """
        schema: Mapping[str, Any] | None = how.pop("schema", None)
        if schema:
            how.pop("threshold", None)  # JSON is not weighed
            events = self._structured(question, schema, **how)
        else:
            events = self.stream(question, **how)
        *_, last = events
        assert last.answer is not None
        return last.answer

    def stream(
        self,
        question: str,
        *,
        collection: str = "default",
        k: int = 4,
        where: Mapping[str, str] | None = None,
        history: Sequence[Message] = (),
        adapter: str | None = None,
        threshold: float | None = None,
        cancel: CancelToken | None = None,
    ) -> Iterator[AnswerEvent]:
        """Answer in events (see AnswerEvent). `threshold` replaces the answerer's for this one.

        Without a passage above the relevance cut-off the model is not asked at all. Raises
        UsageError for an empty or overlong question, Cancelled within one token.
        """
        run = Run(self, question, adapter, cancel, threshold=self._caution(threshold))
        yield from run.find(collection, k, where or {}, history)
        if not run.hits:
            yield run.abstain()
            return
        for piece in run.generate(run.second_thought(self._sampling)):
            yield AnswerEvent("text", piece)
        yield run.checked()

    def answer_from(
        self,
        question: str,
        hits: Sequence[Hit],
        *,
        adapter: str | None = None,
        cancel: CancelToken | None = None,
    ) -> Answer:
        """Answer from given passages, without a search."""
        fixed = SearchResult(tuple(hits))
        other = self.searching(lambda _: fixed)
        return other.ask(question, k=max(1, len(hits)), adapter=adapter, cancel=cancel)

    def _structured(
        self,
        question: str,
        schema: Mapping[str, Any],
        *,
        collection: str = "default",
        k: int = 4,
        where: Mapping[str, str] | None = None,
        history: Sequence[Message] = (),
        adapter: str | None = None,
        cancel: CancelToken | None = None,
    ) -> Iterator[AnswerEvent]:
        limit = replace(
            self._sampling, max_tokens=max(STRUCTURED_TOKENS, self._sampling.max_tokens)
        )
        check_schema(schema, limit.max_tokens)
        run = Run(self, question, adapter or "none", cancel)
        yield from run.find(collection, k, where or {}, history, schema=schema)
        if not run.hits:
            yield run.abstain("null")
            return
        for piece in run.generate(limit, Constraint(json_schema=dict(schema))):
            yield AnswerEvent("text", piece)
        yield run.json_answer()

    def _caution(self, threshold: float | None) -> float:
        """Raises UsageError outside [0, 1]."""
        if threshold is None:
            return self.threshold
        if not 0 <= threshold <= 1:
            raise UsageError("threshold must be between 0 and 1")
        return threshold

    @property
    def sampling(self) -> Sampling:
        return self._sampling

    def searching(self, search: Callable[[SearchQuery], SearchResult]) -> Answerer:
        """The same with another search."""
        other = copy.copy(self)
        other._search = search
        return other

    @property
    def encode(self) -> Encode | None:
        """Embeddings for checking citations; None where there is no text encoder."""
        models = self._models
        if self._encode is None and models is not None and models.profile.text_encoder is not None:
            encoder = models.text_encoder()
            self._encode = lambda texts: encoder.encode(texts)
        return self._encode

    @property
    def rerank(self) -> Rerank | None:
        """The profile's reranker, which checks citations too; None where it has none."""
        if self._models is None:
            return None
        found = self._models.reranker()
        return found.scores if found is not None else None

    def calibration(self, adapter: str | None) -> Calibration:
        """The calibration that lies beside the adapter; the plain one without any."""
        default = self.llm.default_adapter if isinstance(self.llm, AdapterLLM) else None
        name = adapter or default or NO_ADAPTER
        if name not in self._calibrations:
            found = Calibration()
            if name != NO_ADAPTER and self._settings is not None:
                from ragcore.llm.adapters import AdapterStore

                found = Calibration.load(AdapterStore(self._settings).find(name))
            self._calibrations[name] = found
        return self._calibrations[name]

    def bars(self, adapter: str | None) -> Callable[[float], bool]:
        """Whether to write an answer although the abstention, of this probability, might be the
        likeliest text.

        The abstention is one text and answers are many: it can be the likeliest single one at a
        third of the probability, and whether it is then hangs on rounding. So it is barred where
        answering is likelier, all answers together; with a calibration nearly always, because
        that tells better, and by the one dial, which answers not to give.
        """
        limit = SURE if self.calibration(adapter).weights else 0.5
        return lambda urge: LEANS <= urge < limit

    @property
    def prompt_tokens(self) -> int:
        """Tokens that the documents may take: the setting, or what the context leaves."""
        room = self.llm.context_length - self._sampling.max_tokens - 256
        return max(64, min(self._prompt_tokens, room))


@dataclass(slots=True)
class Run:
    """One question on its way."""

    answerer: Answerer
    question: str
    adapter: str | None
    cancel: CancelToken | None
    threshold: float = THRESHOLD
    hits: tuple[Hit, ...] = ()
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

    def find(
        self,
        collection: str,
        k: int,
        where: Mapping[str, str],
        history: Sequence[Message],
        *,
        schema: Mapping[str, Any] | None = None,
    ) -> Iterator[AnswerEvent]:
        """Rewrite, search, and put the prompt together within its budget."""
        llm = self.answerer.llm
        if history:

            def passages(text: str) -> Sequence[Hit]:
                query = SearchQuery(
                    text=text, kind="passages", k=k, where=where, collection=collection
                )
                return self.answerer._search(query).hits

            alone = stand_alone(llm, self.question, history, find=passages, cancel=self.cancel)
            self._time("rewrite")
            if alone != self.question:
                self.question = alone
                yield AnswerEvent("question", alone)
        result = self.answerer._search(
            SearchQuery(text=self.question, kind="all", k=k, where=where, collection=collection)
        )
        self._time("search")
        hits = readable(result.hits)
        if hits:
            limit = 0 if schema else self.answerer.calibration(self.adapter).passages
            encode = self.answerer.encode if 0 < limit < len(hits) else None
            best = closest(self.question, hits, limit, encode=encode)
            self.hits = tuple(fit(best, self._count, self.answerer.prompt_tokens))
        yield AnswerEvent("hits", hits=self.hits)
        if not self.hits:
            return
        sources = [_source(hit, self.question) for hit in self.hits]
        self.messages = (
            assemble_structured(self.question, sources, schema)
            if schema
            else assemble(self.question, sources)
        )

    def _count(self, text: str) -> int:
        """Tokens of a passage as it is shown to the model."""
        return self.answerer.llm.count_tokens(spoken(text, self.question))

    def confidence(self, citations: Sequence[Citation]) -> float | None:
        """How sure the answer is, in [0, 1]; None where the model cannot tell."""
        sure = self._likelihoods()
        if sure is None:
            return None
        abstention, whole, tokens = sure
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
        value = self.answerer.calibration(self.adapter).confidence(found)
        self.signals = found
        self.timings["confidence"] = round(value, 4)
        return value

    def _likelihoods(self) -> tuple[float, float, int] | None:
        """Probabilities of the abstention's first token and of the text, and its tokens."""
        if (written := self.written) is not None:
            return written.first, math.exp(written.logprob), written.tokens
        llm = self.answerer.llm
        if not isinstance(llm, LikelihoodLLM):
            return None
        first = llm.likelihood(self.messages, ABSTENTION[0], adapter=self.adapter)
        whole = llm.likelihood(self.messages, self.text, adapter=self.adapter)
        return first, whole, llm.count_tokens(self.text)

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

    def generate(self, sampling: Sampling, constraint: Constraint | None = None) -> Iterator[str]:
        pieces = self.answerer.llm.stream(
            self.messages,
            sampling,
            constraint=constraint,
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

    def checked(self) -> AnswerEvent:
        """The answer with citations that hold; with none left, an abstention."""
        if declines(self.text):
            return self.abstain()
        asker = self.answerer
        checked = check(
            self.text, self.question, self.hits, encode=asker.encode, rerank=asker.rerank
        )
        self._time("check")
        if not checked.citations:
            return self.abstain()
        sure = self.confidence(checked.citations)
        if sure is not None and sure < self.threshold:
            return self.abstain()
        return self._event(checked.text, checked.citations, abstained=False)

    def json_answer(self) -> AnswerEvent:
        """JSON as it is, with citations for those of its values that stand in a passage."""
        citations: dict[int, Citation] = {}
        for value in _leaves(json.loads(self.text)):
            for citation in check(value, self.question, self.hits).citations:
                citations.setdefault(citation.n, citation)
        self._time("check")
        return self._event(
            self.text, tuple(citations[n] for n in sorted(citations)), abstained=False
        )

    def abstain(self, text: str = ABSTENTION) -> AnswerEvent:
        return self._event(text, (), abstained=True)

    def _event(self, text: str, citations: tuple[Citation, ...], *, abstained: bool) -> AnswerEvent:
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
        )
        return AnswerEvent("answer", answer=answer)

    def _time(self, name: str) -> None:
        spent = sum(self.timings.get(k, 0.0) for k in ("rewrite", "search", "read", "generate"))
        self.timings[name] = max(0.0, time.perf_counter() - self.started - spent)


def readable(hits: Sequence[Hit]) -> list[Hit]:
    """Passages with text, then pictures with words of their own that no passage holds already."""
    passages = [h for h in hits if h.kind == "passage" and h.text.strip()]
    read = [" ".join(h.text.split()) for h in passages]
    pictures = []
    for hit in hits:
        words = " ".join(hit.text.split())
        if hit.kind == "image" and words and not any(words in text for text in read):
            pictures.append(hit)
            read.append(words)
    return [*passages, *pictures[:PICTURES]]


def _source(hit: Hit, question: str) -> Source:
    title = f"{hit.document}, picture" if hit.kind == "image" else hit.document
    return Source(spoken(hit.text, question), title, hit.page)


def _leaves(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for item in value.values():
            yield from _leaves(item)
    elif isinstance(value, list):
        for item in value:
            yield from _leaves(item)
    elif isinstance(value, str | int | float) and not isinstance(value, bool) and str(value):
        yield str(value)
