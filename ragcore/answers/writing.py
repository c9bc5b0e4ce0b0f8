"""Summaries that a language model writes: parts first, then the whole (map and reduce).

What is summarized is found as for a summary of quotes: the passages around the central sentences.
Each part's sentences and those of the whole must cite passages that bear them out; others are
dropped. For models with room to read and write more than one sentence.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from ragcore.answers.citations import MARK, Checked, check_citations, numbers
from ragcore.answers.prompt import PromptDocument, neutralize, user_turn
from ragcore.models import Sampling
from ragcore.types import AnswerStyle, CancelToken, Hit, Message

if TYPE_CHECKING:
    from ragcore.answers.citations import Encode, Rerank
    from ragcore.models import LLM

MORE = 4  # times the words of a summary of quotes, whose passages are read
PARTS = 8  # at most that are summarized by themselves
_TOKENS = 2  # of a word, with room for its citation
_PART = (
    "Summarize what the documents below say, in about {words} words. Use only what they say. "
    "End every sentence with the number of the document that it comes from, like [1]."
)
_WHOLE = (
    "Below are notes from one or more documents; each ends with its source's number, like [1]. "
    "Write one summary of them in about {words} words. Use only the notes, do not repeat yourself, "
    "and end every sentence with the number of its note."
)


def write_summary(
    question: str,
    hits: Sequence[Hit],
    words: int,
    *,
    llm: LLM,
    style: AnswerStyle,
    encode: Encode | None = None,
    rerank: Rerank | None = None,
    adapter: str | None = None,
    cancel: CancelToken | None = None,
) -> Checked | None:
    """A summary of about `words` words whose sentences cite `hits`, [n] being hits[n - 1].

    None where no sentence of the model's is borne out. Raises Cancelled within one token.
    """

    def write(task: str, user: str, words: int) -> str:
        messages = [Message("system", _styled(task, words, style)), Message("user", user)]
        room = max(64, min(llm.context_length // 3, _TOKENS * words + 32))
        return "".join(
            llm.stream(messages, Sampling(max_tokens=room), adapter=adapter, cancel=cancel)
        )

    notes: list[str] = []
    parts = list(_parts(hits, llm))[:PARTS]
    each = max(40, 2 * words // max(1, len(parts)))
    for first, part in parts:
        sources = [PromptDocument(hit.text, hit.document, hit.page) for hit in part]
        text = write(_PART, user_turn(question, sources), words if len(parts) == 1 else each)
        found = check_citations(text, question, part, encode=encode, rerank=rerank)
        if found.citations:
            notes.append(shifted(found.text, first))
    if not notes:
        return None
    text = notes[0]
    if len(notes) > 1:
        text = write(_WHOLE, neutralize("\n".join(notes)), words)
    checked = check_citations(text, question, hits, encode=encode, rerank=rerank)
    if not checked.citations and len(notes) > 1:  # the notes themselves are borne out
        checked = check_citations(" ".join(notes), question, hits, encode=encode, rerank=rerank)
    return checked if checked.citations else None


def _styled(task: str, words: int, style: AnswerStyle) -> str:
    parts = [task.format(words=words)]
    if style.language:
        parts.append(f"Write in this language: {neutralize(style.language)}.")
    if style.tone:
        parts.append(f"Write in this tone: {neutralize(style.tone)}.")
    if style.instruction:
        parts.append(neutralize(style.instruction))
    return " ".join(parts)


def _parts(hits: Sequence[Hit], llm: LLM) -> Iterator[tuple[int, list[Hit]]]:
    """(place of the first, passages that fit into half of the context together)."""
    budget = llm.context_length // 2
    part: list[Hit] = []
    first, size = 0, 0
    for place, hit in enumerate(hits):
        tokens = llm.count_tokens(hit.text) + 24  # its header
        if part and size + tokens > budget:
            yield first, part
            part, first, size = [], place, 0
        part.append(hit)
        size += tokens
    if part:
        yield first, part


def shifted(text: str, by: int) -> str:
    """A text with `by` added to the numbers in its [n] marks."""
    return MARK.sub(
        lambda match: f" [{', '.join(str(n + by) for n in numbers(match[0]))}]", text
    ).strip()
