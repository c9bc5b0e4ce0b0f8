"""Conversations that are answered: one question at a time, each in a thread of its own.

An answer goes on when the page that asked for it is closed, and is kept when it is done. Who
looks at it polls a `Reply`. Two conversations are answered at the same time.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextvars import copy_context
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from ragcore.catalog import Conversations
from ragcore.errors import Cancelled, RagcoreError, UsageError
from ragcore.types import Answer, CancelToken, Hit, Message, Why

if TYPE_CHECKING:
    from ragcore.answers import AnswerEvent
    from ragcore.llm import ImageAnswer

_HISTORY = 6  # earlier turns that a follow-up is understood from


@dataclass(frozen=True, slots=True)
class AskedImage:
    """An image that a question is about; `shown` is what the turn remembers of it.

    {"id": number of a collection's image} or {"data": base64 of one that was sent}.
    """

    data: bytes
    shown: Mapping[str, Any]


class Reply:
    """An answer on its way. `text` grows; after `finished` it is a turn of the conversation.

    `state`: searching, writing, done, stopped, failed.
    """

    def __init__(self, asked: str) -> None:
        self.asked = asked
        self.question = asked
        self.state = "searching"
        self.text = ""
        self.hits: tuple[Hit, ...] = ()
        self.answer: Answer | None = None
        self.error = ""
        self.model = ""  # that answered about an image
        self._cancel = CancelToken()
        self._finished = threading.Event()
        self._keep: Callable[[], None] = lambda: None  # set by the chat that it belongs to
        self._thread: threading.Thread | None = None

    @property
    def finished(self) -> bool:
        return self._finished.is_set()

    @property
    def stopping(self) -> bool:
        return self._cancel.cancelled

    def cancel(self) -> None:
        """Stop at once and keep what is written so far.

        A model in the middle of a step ends that step unseen: nobody waits for it.
        """
        self._cancel.cancel()
        self._keep()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it is kept; False if `timeout` seconds were not enough."""
        return self._finished.wait(timeout)


class Chat:
    """Answers questions within conversations, and keeps what was said."""

    def __init__(
        self,
        conversations: Conversations,
        ask_stream: Callable[..., Iterator[AnswerEvent]],
        ask_image: Callable[..., Iterator[str | ImageAnswer]],
    ) -> None:
        self._conversations = conversations
        self._ask_stream, self._ask_image = ask_stream, ask_image
        self._running: dict[int, Reply] = {}
        self._lock = threading.Lock()

    def running(self, conversation_id: int) -> Reply | None:
        """The answer that is being written in a conversation, if any."""
        with self._lock:
            return self._running.get(conversation_id)

    def stop(self, conversation_id: int) -> None:
        """Stop what is being written in a conversation, if anything is."""
        reply = self.running(conversation_id)
        if reply is not None:
            reply.cancel()

    def close(self, timeout: float = 5) -> None:
        """Stop every answer and keep what there is of it."""
        with self._lock:
            replies = list(self._running.values())
        for reply in replies:
            reply.cancel()
        for reply in replies:
            if reply._thread is not None:
                reply._thread.join(timeout)

    def start(
        self,
        owner: str,
        conversation_id: int,
        question: str,
        *,
        collection: str,
        standalone: bool = False,
        context: Sequence[Hit] = (),
        k: int = 4,
        where: Mapping[str, str] | None = None,
        documents: Sequence[int] = (),
        more_collections: Sequence[str] = (),
        length: int | None = None,
        image: AskedImage | None = None,
    ) -> Reply:
        """Ask; return at once. `standalone` leaves the question as it is, not rewritten.

        `documents` narrows the collection, `more_collections` are asked with it, `length` is in
        words, of a summary. With `context` these passages are answered from, and nothing is
        searched for. With `image` a model that sees answers from that image and the question alone;
        both stay in the conversation, from which later questions are understood. Raises UsageError
        for an empty question, or while the conversation's last
        one is being answered.
        """
        if not question.strip():
            raise UsageError("there is nothing to answer: type a question")
        history = [] if standalone else self._history(owner, conversation_id)
        reply = Reply(question)
        with self._lock:
            if conversation_id in self._running:
                raise UsageError("the last question is still being answered; stop it or wait")
            self._running[conversation_id] = reply
        try:
            about = {"image": image.shown} if image else {}
            self._conversations.add_turn(owner, conversation_id, "user", question, about)
        except BaseException:
            self._forget(conversation_id)
            raise
        how: dict[str, Any] = {
            "collection": [collection, *more_collections],
            "documents": tuple(documents),
            "length": length,
            "k": k,
            "where": where,
            "history": history,
            "hits": tuple(context) if context else None,
        }
        began = time.monotonic()
        keeping = threading.Lock()

        def keep() -> None:  # by whoever comes first: the thread at its end, or a stop
            with keeping:
                if not reply.finished:
                    self._end(reply, owner, conversation_id, time.monotonic() - began)

        reply._keep = keep
        reply._thread = threading.Thread(
            target=copy_context().run,  # who may see what goes with it
            args=(self._run, reply, {"image": image.data} if image else how),
            name=f"ragcore-answer-{conversation_id}",
            daemon=True,
        )
        reply._thread.start()
        return reply

    def _history(self, owner: str, conversation_id: int) -> list[Message]:
        turns = self._conversations.turns(owner, conversation_id)[-_HISTORY:]
        return [
            Message("user" if turn.role == "user" else "assistant", turn.content)
            for turn in turns
            if turn.content
        ]

    def _run(self, reply: Reply, how: dict[str, Any]) -> None:
        try:
            self._follow(reply, how)
        except Cancelled:
            pass
        except RagcoreError as error:
            reply.error = str(error)
        except Exception as error:  # a thread has no caller to report to
            reply.error = f"{type(error).__name__}: {error}"
        reply._keep()

    def _follow(self, reply: Reply, how: dict[str, Any]) -> None:
        """Take in the events of one answer."""
        if "image" in how:
            self._follow_image(reply, how["image"])
            return
        for event in self._ask_stream(reply.asked, cancel=reply._cancel, **how):
            if reply.finished:  # stopped, and kept as it was then
                return
            if event.kind == "question":
                reply.question = event.text
            elif event.kind == "hits":
                reply.hits, reply.state = event.hits, "writing"
            elif event.kind == "text":
                reply.text += event.text
            elif event.answer is not None:
                reply.answer = event.answer

    def _follow_image(self, reply: Reply, image: bytes) -> None:
        """Take in the pieces of an answer about an image."""
        reply.state = "writing"
        for piece in self._ask_image(image, reply.asked, cancel=reply._cancel):
            if reply.finished:
                return
            if isinstance(piece, str):
                reply.text += piece
            else:
                reply.text, reply.model = piece.text, piece.model

    def _end(self, reply: Reply, owner: str, conversation_id: int, seconds: float) -> None:
        """Make the reply a turn of its conversation."""
        if reply.answer is None and not reply.model and reply.stopping:
            reply.state = "stopped"
        else:
            reply.state = "failed" if reply.error else "done"
        try:
            self._store(reply, owner, conversation_id, seconds)
        except UsageError:
            pass  # the conversation was deleted meanwhile
        finally:
            self._forget(conversation_id)
            reply._finished.set()

    def _store(self, reply: Reply, owner: str, conversation_id: int, seconds: float) -> None:
        answer = reply.answer
        payload: dict[str, Any] = {
            "asked": reply.asked,
            "question": answer.question if answer else reply.question,
            "citations": [asdict(citation) for citation in answer.citations] if answer else [],
            "abstained": bool(answer and answer.abstained),
            "kind": answer.kind if answer else "fact",
            "composed": bool(answer and answer.composed),
            "nearest": [asdict(hit) for hit in (answer.nearest if answer else ())],
            "steps": [asdict(step) for step in (answer.steps if answer else ())],
            "candidates": [asdict(one) for one in (answer.candidates if answer else ())],
            "hits": [asdict(hit) for hit in (answer.hits if answer else reply.hits)],
            "prompt": answer.prompt if answer else "",
            "timings": {**(answer.timings if answer else {}), "total": seconds},
        }
        if reply.model:
            payload["model"] = reply.model
        if reply.state == "stopped":
            payload["stopped"] = True
        if reply.error:
            payload["error"] = reply.error
        text = answer.text if answer else reply.text
        self._conversations.add_turn(owner, conversation_id, "assistant", text, payload)

    def _forget(self, conversation_id: int) -> None:
        with self._lock:
            self._running.pop(conversation_id, None)


def hit_from(entry: Mapping[str, Any]) -> Hit:
    """A `Hit` from the JSON that a kept answer has of it."""
    why = dict(entry.get("why") or {})
    why["matched"] = tuple(why.get("matched") or ())
    span = entry.get("span")
    return Hit(**{**entry, "why": Why(**why), "span": tuple(span) if span else None})
