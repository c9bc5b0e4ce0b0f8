"""Each kind of question to its way of being answered."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from ragcore.answers.composing import (
    comparing,
    counting,
    deciding,
    listing,
    quoting,
    summary,
    tabular,
)
from ragcore.answers.composing.quotes import Composed
from ragcore.answers.composing.sources import Documents, QuestionScope, ScopedDocuments
from ragcore.answers.kinds import Kind, RecognizedQuestion, recognize
from ragcore.catalog import Catalog
from ragcore.types import CancelToken, Hit, SearchQuery, SearchResult

if TYPE_CHECKING:
    from ragcore.answers.citations import Encode

_WAYS: dict[Kind, Callable[[RecognizedQuestion, str, ScopedDocuments, int], Composed | None]] = {
    "list": listing.compose,
    "how_to": listing.compose,
    "summary": summary.compose,
    "comparison": comparing.compose,
    "collection": counting.compose,
    "where": quoting.compose_where,
    "definition": quoting.compose_definition,
    "table": tabular.compose,
    "fact": counting.compose_author,
}


class Composer:
    """Answers what a small model cannot write.

    Lists, steps, summaries, comparisons, counts, definitions and places, in the documents' own
    words. Safe to share between threads.

    `search` and `documents` see only what the asker may see.
    """

    def __init__(
        self,
        catalog: Catalog,
        search: Callable[[SearchQuery], SearchResult],
        documents: Documents,
        encode: Encode,
    ) -> None:
        self._catalog = catalog
        self._search = search
        self._documents = documents
        self._encode = encode

    def compose(
        self,
        question: str,
        scope: QuestionScope,
        *,
        length: int | None = None,
        cancel: CancelToken | None = None,
    ) -> tuple[RecognizedQuestion, Composed | None]:
        """The question's kind, and its answer; None where a language model has to answer.

        `length` is in words, of a summary. Raises UsageError for an unknown collection or filter,
        Cancelled.
        """
        asked = recognize(question)
        way = _WAYS.get(asked.kind)
        if way is None or (asked.kind == "fact" and not asked.wanted):
            return asked, None
        sources = self._sources(scope, cancel)
        made = way(asked, question, sources, length or 0)
        if made is None and asked.certain:
            made = Composed(asked.kind, "", hits=sources.nearest(question), declined=True)
        return asked, made

    def to_summarize(
        self,
        question: str,
        scope: QuestionScope,
        *,
        length: int | None = None,
        more: int = 1,
        cancel: CancelToken | None = None,
    ) -> tuple[int, tuple[Hit, ...]]:
        """(words of the summary that a question asks for, the passages that it is made from).

        The passages are those of a summary of quotes of `more` times the words. Raises as `compose`
        does.
        """
        asked = recognize(question)
        words = summary.summary_words(asked, length or 0)
        whole = replace(asked, topic=summary.without_length(asked.topic))
        made = summary.compose(whole, question, self._sources(scope, cancel), more * words)
        return words, made.hits if made is not None else ()

    def state(
        self, question: str, scope: QuestionScope, *, cancel: CancelToken | None = None
    ) -> Composed | None:
        """What the documents say nearest to a question of yes or no; None where nothing is near."""
        return deciding.compose_statement(question, self._sources(scope, cancel))

    def _sources(self, scope: QuestionScope, cancel: CancelToken | None) -> ScopedDocuments:
        return ScopedDocuments(
            self._catalog, self._search, self._documents, self._encode, scope, cancel
        )
