"""A document's text with its passages and headings: what an answer quotes beyond a single hit."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence, Set
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import select
from sqlalchemy.orm import Session

from ragcore.catalog.browse import document_pages, get_document
from ragcore.catalog.models import Embedding, Passage
from ragcore.types import PAGE_BREAK, Hit

if TYPE_CHECKING:
    from ragcore.types import FloatArray


@dataclass(frozen=True, slots=True)
class PassageSpan:
    """Where a passage stands: `start` and `end` count in the document's text."""

    id: int
    start: int
    end: int
    heading: str


@dataclass(frozen=True, slots=True)
class DocumentText:
    """A document's whole text.

    `title` is the file's name where it has none; `starts` are the offsets of its pages, which are
    numbered from 1.
    """

    id: int
    title: str
    path: str
    media_type: str
    paged: bool
    text: str
    starts: tuple[int, ...]
    passages: tuple[PassageSpan, ...]

    @property
    def pages(self) -> int:
        return len(self.starts)

    def page(self, offset: int) -> int | None:
        """The page on which the character at `offset` stands; None without real pages."""
        return bisect_right(self.starts, offset) if self.paged else None

    def passage_at(self, offset: int) -> PassageSpan | None:
        """The passage that holds the character at `offset`, or the next one after it."""
        ends = [passage.end for passage in self.passages]
        at = bisect_right(ends, offset)
        return self.passages[at] if at < len(self.passages) else None

    def hit(self, passage: PassageSpan, *, collection: str = "", score: float = 0.0) -> Hit:
        """A passage as a search would return it."""
        return Hit(
            id=passage.id,
            kind="passage",
            score=score,
            document_id=self.id,
            document=self.title,
            path=self.path,
            text=self.text[passage.start : passage.end],
            page=self.page(passage.start),
            page_end=self.page(max(passage.start, passage.end - 1)),
            span=(passage.start, passage.end),
            heading=passage.heading,
            media_type=self.media_type,
            collection=collection,
        )

    def section(self, offset: int, *, reach: int) -> tuple[int, int]:
        """The span of the section around `offset`, sections below it included.

        Neighbouring passages of the same heading, at most `reach` characters to either side.
        """
        starts = [passage.start for passage in self.passages]
        at = max(0, bisect_right(starts, offset) - 1)
        if not self.passages:
            return 0, len(self.text)
        heading = self.passages[at].heading
        first = last = at

        def within(n: int) -> bool:
            other = self.passages[n].heading
            return other == heading or (bool(heading) and other.startswith(f"{heading} > "))

        while first > 0 and within(first - 1) and offset - self.passages[first - 1].start <= reach:
            first -= 1
        while (
            last + 1 < len(self.passages)
            and within(last + 1)
            and self.passages[last + 1].end - offset <= reach
        ):
            last += 1
        return self.passages[first].start, self.passages[last].end

    def within(self, start: int, end: int) -> Sequence[PassageSpan]:
        """The passages that overlap [start, end)."""
        first = bisect_right([passage.end for passage in self.passages], start)
        last = bisect_left([passage.start for passage in self.passages], end)
        return self.passages[first:last]


def document_text(session: Session, document_id: int) -> DocumentText:
    """Raises UsageError if there is no such document."""
    row = get_document(session, document_id)
    pages = document_pages(session, document_id)
    query = select(Passage.id, Passage.start, Passage.end, Passage.heading)
    query = query.where(Passage.document_id == document_id).order_by(Passage.ordinal)
    return DocumentText(
        id=row.id,
        title=row.title or row.name,
        path=row.path,
        media_type=row.media_type,
        paged=row.paged,
        text=PAGE_BREAK.join(page.text for page in pages),
        starts=tuple(page.start for page in pages),
        passages=tuple(PassageSpan(*found) for found in session.execute(query)),
    )


def passage_vectors(
    session: Session, space_id: int, passage_ids: Sequence[int]
) -> dict[int, FloatArray]:
    """The stored vectors of these passages in a space, by passage id."""
    import numpy as np

    query = select(Embedding.item_id, Embedding.vector)
    query = query.where(Embedding.space_id == space_id, Embedding.item_id.in_(passage_ids))
    return {
        item: np.frombuffer(vector, np.float16).astype(np.float32)
        for item, vector in session.execute(query)
    }


def documents_containing(session: Session, collection_ids: Set[int], word: str) -> set[int]:
    """Ids of these collections' documents with a passage that has a word.

    The word is letters in a row, whatever the case.
    """
    query = select(Passage.document_id).where(
        Passage.collection_id.in_(collection_ids), Passage.text.icontains(word, autoescape=True)
    )
    return set(session.scalars(query.distinct()))
