"""Questions answered from passages: found, read, answered, checked."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

from ragcore.answers.citations import Encode, Rerank
from ragcore.answers.composing import Composer, QuestionScope
from ragcore.answers.confidence import CALIBRATION, ConfidenceCalibration, calibration_file
from ragcore.answers.kinds import recognize
from ragcore.answers.prompt import PLAIN
from ragcore.answers.run import THRESHOLD, AnswerEvent, Run
from ragcore.answers.steps import (
    FOUND,
    LARGE,
    Plan,
    by_model,
    by_syntax,
    found_by,
    put_together,
)
from ragcore.answers.steps import MOST as MOST_STEPS
from ragcore.answers.structured import Filler, check_form, fields_of, has_rows
from ragcore.errors import UsageError
from ragcore.models import NO_ADAPTER, AdapterLLM, Sampling
from ragcore.types import Answer, AnswerStyle, CancelToken, Hit, Message, SearchQuery, SearchResult

if TYPE_CHECKING:
    from ragcore.models import LLM, Models, SpanReader
    from ragcore.settings import Settings

PROMPT_TOKENS = 1600  # of documents: what a small model reads well, and quickly on a CPU
SAMPLING = Sampling(max_tokens=128)
LEANS = 0.1  # probability of the abstention from which it might be the likeliest text
SURE = 0.9  # and from which no other answer is worth writing


class Answerer:
    """Answers from what `search` finds, with checked citations, or abstains.

    `threshold` in [0, 1] (default: the setting `answer_threshold`) is the one dial of caution:
    an answer whose confidence (see `ragcore.answers.confidence`) is below it becomes an
    abstention (0: none does; 1: all do). `composer` answers the kinds of questions that are
    answered by quotes and counts; without it the model answers all of them.
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
        composer: Composer | None = None,
    ) -> None:
        self.llm = llm
        self.search = search
        self.composer = composer
        self._settings = settings
        self._models = models
        self._encode = encode
        self._sampling = sampling
        self.threshold = settings.answer_threshold if settings is not None else THRESHOLD
        self.threshold = self._caution(threshold)
        self._prompt_tokens = prompt_tokens
        self._calibrations: dict[str, ConfidenceCalibration] = {}
        self._calibration: ConfidenceCalibration | None = None

    def ask(self, question: str, **how: Any) -> Answer:
        """As `stream`, and `schema`.

        A JSON Schema whose fields are then answered, each with its own evidence (`Answer.fields`).

        Returns the checked Answer. Raises as `stream` does, and UsageError for a schema that
        `check_form` refuses.
        """
        schema: Mapping[str, Any] | None = how.pop("schema", None)
        if schema:
            how.pop("length", None)
            how.pop("style", None)
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
        collection: str | Sequence[str] = "default",
        k: int = 4,
        where: Mapping[str, str] | None = None,
        history: Sequence[Message] = (),
        adapter: str | None = None,
        threshold: float | None = None,
        length: int | None = None,
        style: AnswerStyle = PLAIN,
        cancel: CancelToken | None = None,
    ) -> Iterator[AnswerEvent]:
        """Answer in events (see AnswerEvent). `threshold` replaces the answerer's for this one.

        Several collections are asked as one. `length` is in words, of a summary; `style` is how
        what the model writes is worded.

        Without a passage above the relevance cut-off the model is not asked at all. Raises
        UsageError for an empty or overlong question, Cancelled within one token.

        A question that takes several steps is answered in them (`Answer.steps`): before anything
        else where its form says so, else where it would be declined.
        """
        how: dict[str, Any] = {
            "collection": collection, "k": k, "where": where, "adapter": adapter,
            "threshold": threshold, "length": length, "style": style, "cancel": cancel,
        }  # fmt: skip
        plan = by_syntax(question) if not history else None
        if plan is not None and plan.certain:
            answer = self._in_steps(question, plan, how)
            if answer is not None:
                yield AnswerEvent("hits", hits=answer.hits)
                yield AnswerEvent("text", answer.text)
                yield AnswerEvent("answer", answer=answer)
                return
        for event in self._at_once(question, history=history, **how):
            declined = event.answer if event.kind == "answer" else None
            if declined is None or not declined.abstained or declined.candidates:
                yield event
                continue
            if plan is None and not history and self.is_large(adapter):
                plan = by_model(self.llm, question, cancel)
            again = None
            if plan is not None and not plan.certain:
                again = self._in_steps(question, plan, how)
            yield event if again is None else AnswerEvent("answer", answer=again)

    def _in_steps(self, question: str, plan: Plan, how: Mapping[str, Any]) -> Answer | None:
        """The answer of a plan's steps; None where one of them finds nothing to go on with."""
        answers: list[tuple[str, Answer]] = []
        for asked in plan.questions[:MOST_STEPS]:
            if answers:
                found = found_by(answers[-1][1])
                if not found:
                    return None
                asked = asked.replace(FOUND, found)
            *_, last = self._at_once(asked, history=(), **how)
            if last.answer is None or last.answer.abstained:
                return None
            answers.append((asked, last.answer))
        return put_together(question, answers)

    def is_large(self, adapter: str | None) -> bool:
        """Whether the model writes more than the one sentence that shipped adapters are tuned to.

        It has none of these adapters, and a context to read more in.
        """
        return self.adapter_name(adapter) == NO_ADAPTER and self.llm.context_length >= LARGE

    def _at_once(
        self,
        question: str,
        *,
        collection: str | Sequence[str],
        k: int,
        where: Mapping[str, str] | None,
        history: Sequence[Message],
        adapter: str | None,
        threshold: float | None,
        length: int | None,
        style: AnswerStyle,
        cancel: CancelToken | None,
    ) -> Iterator[AnswerEvent]:
        """As `stream`, in one step."""
        run = Run(
            self, question, adapter, cancel, self._caution(threshold), _scope(collection, where),
            style=style,
        )  # fmt: skip
        yield from run.understand(history, k)
        if (asked_back := run.asked_back()) is not None:
            yield asked_back
            return
        if self.is_large(adapter):
            written = list(run.write_summary(length))
            if written and written[-1].answer is not None:
                yield from written
                return
        composed = list(run.compose(length))
        if composed:
            yield from composed
            return
        yield from run.find(k)
        if not run.hits:
            yield run.abstain()
            return
        if (stated := run.without_writing()) is not None:
            if stated.answer is not None and not stated.answer.abstained:
                yield AnswerEvent("text", stated.answer.text)
            yield stated
            return
        for piece in run.generate(run.second_thought(self._room_for(style))):
            yield AnswerEvent("text", piece)
        yield run.checked()

    def _structured(
        self,
        question: str,
        schema: Mapping[str, Any],
        *,
        collection: str | Sequence[str] = "default",
        k: int = 4,
        where: Mapping[str, str] | None = None,
        history: Sequence[Message] = (),
        adapter: str | None = None,
        threshold: float | None = None,
        cancel: CancelToken | None = None,
    ) -> Iterator[AnswerEvent]:
        check_form(schema)
        fields = fields_of(schema)
        run = Run(
            self, question, adapter, cancel, self._caution(threshold), _scope(collection, where)
        )
        yield from run.understand(history, k)
        asked = recognize(run.question)
        if asked.kind == "table" and asked.wanted == "list" and has_rows(fields):
            raise UsageError(
                "a list by a schema has every row, whatever the question asks of their amounts: "
                "ask without a schema, or for all of them"
            )

        def read(text: str, hits: Sequence[Hit], kind: Literal["fact", "yes_no"]) -> Answer:
            fixed = SearchResult(tuple(hits))
            other = self.searching(lambda _: fixed)
            return Run(other, text, adapter, cancel, run.threshold, kind=kind).read()

        filled = Filler(
            run.question,
            fields,
            schema,
            search=self.search,
            read=read,
            scope=run.scope,
            k=k,
            encode=self.encode,
            threshold=run.threshold,
            yes_no=asked.kind == "yes_no",
            cancel=cancel,
        ).fill()
        if not filled.missing:
            filled = filled.checked(schema)
        if not filled.missing:
            yield AnswerEvent("hits", hits=filled.hits)
            yield AnswerEvent("text", filled.text)
        yield run.structured(filled)

    def _room_for(self, style: AnswerStyle) -> Sampling:
        """The sampling, with tokens enough for the length that is asked for."""
        most = min(self.llm.context_length // 4, max(self._sampling.max_tokens, 2 * style.length))
        return replace(self._sampling, max_tokens=max(most, self._sampling.max_tokens))

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
        """The same with another search; what it finds is all that there is to answer from."""
        other = copy.copy(self)
        other.search = search
        other.composer = None
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
        """The profile's reranker, which orders passages and checks citations; None without one."""
        if self._models is None:
            return None
        found = self._models.reranker()
        return found.scores if found is not None else None

    @property
    def span_reader(self) -> SpanReader | None:
        """The profile's span reader; None where it has none, and while an LLM is calibrated."""
        if self._models is None or self._calibration is not None:
            return None
        return self._models.span_reader()

    def calibrated(self, calibration: ConfidenceCalibration) -> Answerer:
        """The same with a calibration of the caller's, and no answer declined by it."""
        other = copy.copy(self)
        other._calibration = calibration
        other.threshold = 0.0
        return other

    def calibration(self, adapter: str | None) -> ConfidenceCalibration:
        """The calibration of the model with this adapter.

        The library's own, made by `ragcore tune calibration`, else the one that lies beside the
        adapter, else the plain one.
        """
        if self._calibration is not None:
            return self._calibration
        name = self.adapter_name(adapter)
        if name not in self._calibrations:
            found = ConfidenceCalibration()
            if self._settings is not None:
                own = calibration_file(self._settings, self.llm.name, name)
                if own.is_file():
                    found = ConfidenceCalibration.load(own)
                elif name != NO_ADAPTER:
                    from ragcore.llm import AdapterStore

                    found = ConfidenceCalibration.load(
                        AdapterStore(self._settings).find(name) / CALIBRATION
                    )
            if found.without_reranker is not None and self.rerank is None:
                found = found.without_reranker
            self._calibrations[name] = found
        return self._calibrations[name]

    def adapter_name(self, adapter: str | None) -> str:
        """The adapter that is used where `adapter` is asked for; NO_ADAPTER: none."""
        default = self.llm.default_adapter if isinstance(self.llm, AdapterLLM) else None
        return adapter or default or NO_ADAPTER

    def bars(self, adapter: str | None) -> Callable[[float], bool]:
        """Whether to write an answer although the abstention might be the likeliest text.

        The abstention is one text and answers are many: it can be the likeliest single one at a
        third of the probability, and whether it is then hangs on rounding. So it is barred where
        answering is likelier, all answers together; with a calibration nearly always, because
        that measures better, and by one setting, which answers not to give.
        """
        limit = SURE if self.calibration(adapter).weights else 0.5
        return lambda urge: LEANS <= urge < limit

    @property
    def prompt_tokens(self) -> int:
        """Tokens that the documents may take: the setting, or what the context leaves."""
        room = self.llm.context_length - self._sampling.max_tokens - 256
        return max(64, min(self._prompt_tokens, room))


def _scope(collection: str | Sequence[str], where: Mapping[str, str] | None) -> QuestionScope:
    names = (collection,) if isinstance(collection, str) else tuple(collection)
    if not names:
        raise UsageError("name at least one collection")
    return QuestionScope(names, where or {})
