"""Conversations of the browser's readers: kept, listed, renamed, rated, exported.

Every call names the owner; a conversation of another owner does not exist for the caller.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from ragcore.catalog.catalog import Catalog
from ragcore.catalog.models import Conversation, ConversationTurn, now
from ragcore.errors import UsageError

TITLE_LENGTH = 60


@dataclass(frozen=True, slots=True)
class ConversationInfo:
    """A conversation without its messages."""

    id: int
    title: str
    collection: str
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class TurnInfo:
    """One message. `payload` of an answer has its evidence (see `ragcore.answers.chat`)."""

    id: int
    role: str
    content: str
    payload: dict[str, Any]
    rating: int | None
    created_at: datetime


class Conversations:
    """The conversations of one catalog."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    def create(self, owner: str, *, collection: str, title: str = "") -> ConversationInfo:
        with self._catalog.write() as session:
            row = Conversation(owner=owner, collection=collection, title=short_title(title))
            session.add(row)
            session.flush()
            return _info(row)

    def list(self, owner: str, *, search: str = "", limit: int = 100) -> Sequence[ConversationInfo]:
        """Newest first. `search` is looked for in titles and in what was said."""
        query = select(Conversation).where(Conversation.owner == owner)
        if search:
            said = select(ConversationTurn.conversation_id).where(
                ConversationTurn.content.icontains(search, autoescape=True)
            )
            query = query.where(
                Conversation.title.icontains(search, autoescape=True) | Conversation.id.in_(said)
            )
        query = query.order_by(Conversation.updated_at.desc(), Conversation.id.desc())
        with self._catalog.read() as session:
            return [_info(row) for row in session.scalars(query.limit(limit))]

    def get(self, owner: str, conversation_id: int) -> ConversationInfo:
        """Raises UsageError unless the owner has such a conversation."""
        with self._catalog.read() as session:
            return _info(_owned(session, owner, conversation_id))

    def turns(self, owner: str, conversation_id: int) -> Sequence[TurnInfo]:
        """What was said, in order."""
        query = (
            select(ConversationTurn)
            .where(ConversationTurn.conversation_id == conversation_id)
            .order_by(ConversationTurn.id)
        )
        with self._catalog.read() as session:
            _owned(session, owner, conversation_id)
            return [_turn(row) for row in session.scalars(query)]

    def add_turn(
        self,
        owner: str,
        conversation_id: int,
        role: str,
        content: str,
        payload: dict[str, Any] | None = None,
    ) -> TurnInfo:
        with self._catalog.write() as session:
            conversation = _owned(session, owner, conversation_id)
            row = ConversationTurn(
                conversation_id=conversation_id, role=role, content=content, payload=payload or {}
            )
            session.add(row)
            conversation.updated_at = now()
            if not conversation.title and role == "user":
                conversation.title = short_title(content)
            session.flush()
            return _turn(row)

    def rename(self, owner: str, conversation_id: int, title: str) -> None:
        """Raises UsageError for an empty title."""
        if not title.strip():
            raise UsageError("a conversation needs a title")
        with self._catalog.write() as session:
            _owned(session, owner, conversation_id).title = " ".join(title.split())[:200]

    def set_collection(self, owner: str, conversation_id: int, collection: str) -> None:
        with self._catalog.write() as session:
            _owned(session, owner, conversation_id).collection = collection

    def delete(self, owner: str, conversation_id: int) -> None:
        with self._catalog.write() as session:
            _owned(session, owner, conversation_id)
            session.execute(delete(Conversation).where(Conversation.id == conversation_id))

    def rate(self, owner: str, turn_id: int, rating: int | None) -> None:
        """+1 good, -1 bad, None takes the rating back. Only answers are rated."""
        if rating not in (1, -1, None):
            raise UsageError(f"a rating is 1, -1 or None, not {rating!r}")
        with self._catalog.write() as session:
            turn = session.get(ConversationTurn, turn_id)
            if turn is None or turn.role != "assistant":
                raise UsageError(f"there is no answer {turn_id}")
            _owned(session, owner, turn.conversation_id)
            turn.rating = rating

    def rated(self) -> Iterator[dict[str, Any]]:
        """Every rated answer of all owners, without their names: material for an evaluation."""
        query = (
            select(ConversationTurn, Conversation.collection)
            .join(Conversation, Conversation.id == ConversationTurn.conversation_id)
            .where(ConversationTurn.rating.is_not(None))
            .order_by(ConversationTurn.id)
        )
        with self._catalog.read() as session:
            rows = session.execute(query).all()
        for turn, collection in rows:
            yield {
                "collection": collection,
                "question": turn.payload.get("question", ""),
                "answer": turn.content,
                "rating": turn.rating,
                "citations": turn.payload.get("citations", []),
                "rated_at": turn.created_at.isoformat(),
            }

    def count(self, owner: str) -> int:
        query = select(func.count()).select_from(Conversation).where(Conversation.owner == owner)
        with self._catalog.read() as session:
            return session.scalar(query) or 0

    def export_markdown(self, owner: str, conversation_id: int) -> str:
        """The conversation with its citations as one Markdown text."""
        about = self.get(owner, conversation_id)
        lines = [f"# {about.title or 'Conversation'}", ""]
        lines += [f"Collection: {about.collection} · {about.created_at:%Y-%m-%d %H:%M} UTC", ""]
        for turn in self.turns(owner, conversation_id):
            who = "Question" if turn.role == "user" else "Answer"
            lines += [f"## {who}", "", turn.content, ""]
            if turn.payload.get("image"):
                lines += ["(about an image)", ""]
            for citation in turn.payload.get("citations", []):
                page = f", page {citation['page']}" if citation.get("page") else ""
                quote = " ".join(str(citation["quote"]).split())
                lines.append(f"- [{citation['n']}] {citation['document']}{page}: “{quote}”")
            if turn.payload.get("citations"):
                lines.append("")
        return "\n".join(lines)


def short_title(text: str) -> str:
    """The first words of `text`, at most 60 characters."""
    line = " ".join(text.split())
    if len(line) <= TITLE_LENGTH:
        return line
    return f"{line[: TITLE_LENGTH - 1].rsplit(' ', 1)[0]}…"


def _owned(session: Session, owner: str, conversation_id: int) -> Conversation:
    row = session.get(Conversation, conversation_id)
    if row is None or row.owner != owner:
        raise UsageError(f"there is no conversation {conversation_id}")
    return row


def _info(row: Conversation) -> ConversationInfo:
    return ConversationInfo(row.id, row.title, row.collection, row.created_at, row.updated_at)


def _turn(row: ConversationTurn) -> TurnInfo:
    return TurnInfo(row.id, row.role, row.content, row.payload, row.rating, row.created_at)
