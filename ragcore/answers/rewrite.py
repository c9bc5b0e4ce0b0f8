"""A follow-up question made to stand alone, so that search and model need no history."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ragcore.answers.prompt import ABSTENTION, neutralise
from ragcore.answers.sentences import words
from ragcore.llm.base import Sampling
from ragcore.types import CancelToken, Message

if TYPE_CHECKING:
    from ragcore.llm.base import LLM

_REFERS = re.compile(
    r"\b(it|its|they|them|their|theirs|he|him|his|she|her|hers|this|that|these|those|there|then|"
    r"one|ones|former|latter|same|else|instead|too)\b|\b(mine|yours|ours)\W*$",
    re.IGNORECASE,
)
_CONTINUES = re.compile(
    r"^(and|but|so|or|also|what about|how about|why|when|where|who|really|since when)\b",
    re.IGNORECASE,
)
_TURNS = 4  # earlier questions and answers that are looked at
_EARLIER = 400  # characters of each

_INSTRUCTION = (
    "Rewrite the last question so that it can be understood without the conversation. "
    "Put the names that it refers to in place of words like it, they or there. "
    "Reply with the rewritten question only."
)


def refers_back(question: str) -> bool:
    """Whether a question seems to lean on what was said before."""
    content = words(question)
    if _REFERS.search(question) or len(content) < 2:
        return True
    return bool(_CONTINUES.match(question)) and len(content) < 3


def stand_alone(
    llm: LLM,
    question: str,
    history: Sequence[Message],
    *,
    cancel: CancelToken | None = None,
) -> str:
    """The question with what it refers to put in; unchanged where it refers to nothing.

    The model writes it. What it writes is taken only if it is one question that keeps the
    words of the follow-up and takes all others from the conversation; a small model often
    fails that, and then the last question that stands alone is put in front instead.
    """
    turns = [m for m in history if m.content.strip() and m.role != "system"][-2 * _TURNS :]
    asked = [m.content for m in turns if m.role == "user"]
    if not asked or not refers_back(question):
        return question
    written = _ask_model(llm, question, turns, cancel)
    if _faithful(written, question, turns):
        return written
    alone = [earlier for earlier in asked if not refers_back(earlier)]
    return f"{_plain((alone or asked)[-1])[:_EARLIER]} {question}"


def _ask_model(
    llm: LLM, question: str, turns: Sequence[Message], cancel: CancelToken | None
) -> str:
    lines = [
        f"{'Question' if m.role == 'user' else 'Answer'}: {_plain(m.content)[:_EARLIER]}"
        for m in turns
    ]
    conversation = neutralise("\n".join([*lines, f"Last question: {_plain(question)}"]))
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
