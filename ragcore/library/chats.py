"""Conversations: stored, and answered one question at a time."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ragcore.catalog import Permit
from ragcore.library.core import Core
from ragcore.library.scopes import scoped
from ragcore.types import Hit

if TYPE_CHECKING:
    from ragcore.answers import AskedImage, Reply
    from ragcore.catalog import ConversationInfo, TurnInfo

_SIDE = 1024  # pixels, at most, of an image that is stored with a conversation


@scoped
class Chats:
    """Conversations, each of an owner: `Principal.owner`, or any name where nobody logs in.

    Raises UsageError for a conversation or turn that is not the owner's.
    """

    def __init__(self, core: Core, permit: Permit | None = None) -> None:
        self._core, self._permit = core, permit

    def create(self, owner: str, *, collection: str, title: str = "") -> ConversationInfo:
        """A new conversation about a collection."""
        return self._core.conversations.create(owner, collection=collection, title=title)

    def list(self, owner: str, *, search: str = "", limit: int = 100) -> Sequence[ConversationInfo]:
        """The owner's conversations, the newest first."""
        return self._core.conversations.list(owner, search=search, limit=limit)

    def get(self, owner: str, conversation_id: int) -> ConversationInfo:
        return self._core.conversations.get(owner, conversation_id)

    def turns(self, owner: str, conversation_id: int) -> Sequence[TurnInfo]:
        """Questions and answers, in order."""
        return self._core.conversations.turns(owner, conversation_id)

    def rename(self, owner: str, conversation_id: int, title: str) -> None:
        self._core.conversations.rename(owner, conversation_id, title)

    def set_collection(self, owner: str, conversation_id: int, collection: str) -> None:
        """Ask the next questions of another collection."""
        self._core.conversations.set_collection(owner, conversation_id, collection)

    def delete(self, owner: str, conversation_id: int) -> None:
        self._core.conversations.delete(owner, conversation_id)

    def rate(self, owner: str, turn_id: int, rating: int | None) -> None:
        """Remember whether an answer helped: +1, -1, or None for neither."""
        self._core.conversations.rate(owner, turn_id, rating)

    def count(self, owner: str) -> int:
        """Number of the owner's conversations."""
        return self._core.conversations.count(owner)

    def export_markdown(self, owner: str, conversation_id: int) -> str:
        """A conversation with its citations as Markdown."""
        return self._core.conversations.export_markdown(owner, conversation_id)

    def rated(self) -> Iterator[dict[str, Any]]:
        """Everybody's rated answers with their questions, for an evaluation."""
        return self._core.conversations.rated()

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
        image: bytes | int | None = None,
    ) -> Reply:
        """Ask; return at once. See `ragcore.answers.chat.Chat.start`.

        With `image`, an encoded image or the number of one in a collection, the question is about
        that alone; one that is sent is stored with the conversation, at most 1,024 pixels a side.
        Raises UnreadableFile for what is no image.
        """
        return self._core.chat.start(
            owner,
            conversation_id,
            question,
            collection=collection,
            standalone=standalone,
            context=context,
            k=k,
            where=where,
            documents=documents,
            more_collections=more_collections,
            length=length,
            image=None if image is None else self._asked_image(image),
        )

    def _asked_image(self, image: bytes | int) -> AskedImage:
        from ragcore.answers import AskedImage
        from ragcore.library.images import Images

        images = Images(self._core, self._permit)
        if isinstance(image, int):
            return AskedImage(images.read(image), {"id": image})
        data = images.preview(image, side=_SIDE)
        return AskedImage(data, {"data": base64.b64encode(data).decode()})

    def running(self, owner: str, conversation_id: int) -> Reply | None:
        """The answer on its way in a conversation, if there is one."""
        self._core.conversations.get(owner, conversation_id)
        return self._core.chat.running(conversation_id)

    def stop(self, owner: str, conversation_id: int) -> None:
        """Stop the answer on its way in a conversation; what is there of it is kept."""
        self._core.conversations.get(owner, conversation_id)
        self._core.chat.stop(conversation_id)
