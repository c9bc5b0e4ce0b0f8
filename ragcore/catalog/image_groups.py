"""The images of a collection in groups to look through: by month, folder, label, place or album."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, get_args

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from ragcore.catalog.albums import members_by_album
from ragcore.catalog.filters import Filter, items
from ragcore.catalog.models import Document, Image, ImageMetadataRow, ItemLabel
from ragcore.catalog.permits import may
from ragcore.errors import UsageError

GroupBy = Literal["month", "folder", "label", "place", "album"]


@dataclass(frozen=True, slots=True)
class ImageGroup:
    """Images of one month ("2024-05"), folder, label, place or album; "" is none of it.

    `ids` and `names` (of the documents) go together, the newest first; albums have their own order.
    """

    name: str
    ids: tuple[int, ...]
    names: tuple[str, ...]


def image_groups(
    session: Session, collection_id: int, by: GroupBy, chosen: Filter
) -> list[ImageGroup]:
    """All images of a collection that meet `chosen`, each once, or once in each of its albums.

    Months go from the newest, other groups by name, and what is in none comes last.

    An image's time is when it was taken, where that is not known when its file was changed; its
    label is the one that a classifier is surest of. Raises UsageError for an unknown `by`.
    """
    if by not in get_args(GroupBy):
        raise UsageError(f"images are grouped by {', '.join(get_args(GroupBy))}, not by {by!r}")
    time = func.coalesce(ImageMetadataRow.taken_at, Document.modified_at)
    query = (
        select(
            Image.id, Document.name, ImageMetadataRow.taken_at, Document.modified_at,
            Document.path, ImageMetadataRow.place,
        )
        .join(Document, Document.id == Image.document_id)
        .outerjoin(ImageMetadataRow, ImageMetadataRow.image_id == Image.id)
        .where(Image.collection_id == collection_id)
        .order_by(time.desc(), Image.id.desc())
    )  # fmt: skip
    if chosen:
        query = query.where(Image.id.in_(items(chosen, collection_id, Image)))
    if by == "album":
        return _by_album(
            session, collection_id, {row.id: row.name for row in session.execute(query)}
        )
    labels = _labels(session, collection_id) if by == "label" else {}
    name_of: dict[GroupBy, Callable[[Any], str]] = {
        "month": lambda row: _month(row.taken_at or row.modified_at),
        "folder": lambda row: row.path.rpartition("/")[0] or "/" if may("write") else "",
        "label": lambda row: labels.get(row.id, ""),
        "place": lambda row: row.place or "",
    }
    found: dict[str, list[tuple[int, str]]] = {}
    for row in session.execute(query):
        found.setdefault(name_of[by](row), []).append((row.id, row.name))
    names = sorted(found, key=str.casefold, reverse=by == "month")
    names.sort(key=lambda name: not name)
    return [
        ImageGroup(name, *(tuple(part) for part in zip(*found[name], strict=True)))
        for name in names
    ]


def _by_album(session: Session, collection_id: int, names: dict[int, str]) -> list[ImageGroup]:
    """These images in their albums; those that are in none come last, in the order given."""
    groups: list[ImageGroup] = []
    seen: set[int] = set()
    for album, members in sorted(members_by_album(session, collection_id).items(), key=_by_name):
        ids = tuple(one for one in members if one in names)
        seen.update(ids)
        if ids:
            groups.append(ImageGroup(album, ids, tuple(names[one] for one in ids)))
    rest = tuple(one for one in names if one not in seen)
    if rest:
        groups.append(ImageGroup("", rest, tuple(names[one] for one in rest)))
    return groups


def _by_name(album: tuple[str, list[int]]) -> str:
    return album[0].casefold()


def _month(time: dt.datetime) -> str:
    return f"{time:%Y-%m}"


def _labels(session: Session, collection_id: int) -> dict[int, str]:
    query = (
        select(ItemLabel.image_id, ItemLabel.label)
        .where(ItemLabel.collection_id == collection_id, ItemLabel.image_id.is_not(None))
        .order_by(ItemLabel.confidence)
    )
    return {int(image or 0): label for image, label in session.execute(query)}  # the surest last
