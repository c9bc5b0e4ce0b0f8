"""Captions that a model wrote, beside those that people did."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, func, select, update
from sqlalchemy.orm import Session

from ragcore.catalog.models import Document, Image

SMALLEST = 64  # pixels; an icon or a rule says too little to be described


@dataclass(frozen=True, slots=True)
class Uncaptioned:
    """An image without a caption and where it is: `media`, or else the file at `path`."""

    id: int
    media: str
    path: str


def count_uncaptioned(session: Session, collection_id: int) -> int:
    """How many images of a collection wait for a caption."""
    return int(session.scalar(select(func.count(Image.id)).where(*_waiting(collection_id))) or 0)


def uncaptioned(
    session: Session, collection_id: int, *, after: int = 0, limit: int = 100
) -> Sequence[Uncaptioned]:
    """Images without a caption whose id is above `after`, by id."""
    query = (
        select(Image.id, Image.media, Document.path)
        .join(Document, Document.id == Image.document_id)
        .where(*_waiting(collection_id), Image.id > after)
    )
    rows = session.execute(query.order_by(Image.id).limit(limit))
    return [Uncaptioned(*row) for row in rows]


def write_captions(session: Session, captions: Mapping[int, str], model: str) -> int:
    """Enter what `model` says of images by id; return how many were entered.

    One that has a caption by now, or has gone, is left as it is.
    """
    written = 0
    for image_id, text in captions.items():
        if text:
            here = update(Image).where(Image.id == image_id, Image.caption == "")
            done = session.execute(here.values(caption=text, caption_by=model[:100]))
            written += int(done.rowcount)  # type: ignore[attr-defined]
    return written


def _waiting(collection_id: int) -> tuple[ColumnElement[bool], ...]:
    return (
        Image.collection_id == collection_id,
        Image.caption == "",
        Image.width >= SMALLEST,
        Image.height >= SMALLEST,
    )
