"""Albums: named series of a collection's images, in the order that people give them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, delete, exists, func, insert, or_, select, update
from sqlalchemy.orm import Session

from ragcore.catalog.marks import present
from ragcore.catalog.models import Album, AlbumImage, Image
from ragcore.errors import UsageError
from ragcore.text import check_shown

_IN = 10_000  # values per IN list
MAX_NAME = 200  # characters


@dataclass(frozen=True, slots=True)
class AlbumInfo:
    """An album: how many images it has, and its first one (None where it is empty)."""

    id: int
    name: str
    images: int
    cover: int | None
    created_at: dt.datetime


def list_albums(session: Session, collection_id: int) -> list[AlbumInfo]:
    """A collection's albums by name."""
    counts = dict(
        session.execute(
            select(AlbumImage.album_id, func.count())
            .join(Album, Album.id == AlbumImage.album_id)
            .join(Image, Image.id == AlbumImage.image_id)
            .where(Album.collection_id == collection_id, Image.collection_id == collection_id)
            .group_by(AlbumImage.album_id)
        ).all()
    )
    cover = (
        select(AlbumImage.image_id)
        .join(Image, Image.id == AlbumImage.image_id)
        .where(AlbumImage.album_id == Album.id, Image.collection_id == collection_id)
        .order_by(AlbumImage.position, AlbumImage.image_id)
        .limit(1)
        .scalar_subquery()
    )
    rows = session.execute(
        select(Album.id, Album.name, cover, Album.created_at)
        .where(Album.collection_id == collection_id)
        .order_by(func.lower(Album.name), Album.name)
    )
    return [AlbumInfo(row[0], row[1], counts.get(row[0], 0), *row[2:]) for row in rows]


def find_album(session: Session, collection_id: int, name: str) -> Album:
    """Raises UsageError, naming the known ones, if there is none of this name."""
    here = (Album.collection_id == collection_id, Album.name == name.strip())
    found = session.scalar(select(Album).where(*here))
    if found is None:
        names = [one.name for one in list_albums(session, collection_id)]
        known = f"known: {', '.join(names)}" if names else "there are none yet"
        raise UsageError(f"no album named {name[:60]!r} ({known})")
    return found


def create_album(session: Session, collection_id: int, name: str) -> Album:
    """Raises UsageError for a name that cannot be or is taken."""
    name = _free_name(session, collection_id, name)
    made = Album(collection_id=collection_id, name=name)
    session.add(made)
    session.flush()
    return made


def rename_album(session: Session, album: Album, new_name: str) -> None:
    """Raises UsageError for a name that cannot be or is taken."""
    album.name = _free_name(session, album.collection_id, new_name, besides=album.id)


def add_images(session: Session, album: Album, image_ids: Sequence[int]) -> int:
    """Put images of the album's collection at its end, in the order given.

    Those that are in it stay where they are. Returns how many are new.
    """
    last = select(func.max(AlbumImage.position)).where(AlbumImage.album_id == album.id)
    position, added = (session.scalar(last) or 0) + 1, 0
    members = set(_members(session, album))
    for part in present(session, album.collection_id, image_ids):
        rows = [
            {"album_id": album.id, "image_id": one, "position": position + n}
            for n, one in enumerate(one for one in part if one not in members)
        ]
        if rows:
            session.execute(insert(AlbumImage), rows)
        position, added = position + len(rows), added + len(rows)
    return added


def remove_images(session: Session, album: Album, image_ids: Sequence[int]) -> int:
    """Take images out of an album; return how many were in it."""
    members = set(_members(session, album))
    gone = [one for one in dict.fromkeys(image_ids) if one in members]
    for at in range(0, len(gone), _IN):
        here = (AlbumImage.album_id == album.id, AlbumImage.image_id.in_(gone[at : at + _IN]))
        session.execute(delete(AlbumImage).where(*here))
    return len(gone)


def move_images(
    session: Session, album: Album, image_ids: Sequence[int], before: int | None
) -> None:
    """Put images of an album, in the order given, before another of it; None: at its end.

    Raises UsageError for an image that is not in the album.
    """
    members = _members(session, album)
    moved = list(dict.fromkeys(image_ids))
    for one in (*moved, *([] if before is None else [before])):
        if one not in members:
            raise UsageError(f"image {one} is not in the album {album.name!r}")
    if before in moved:
        raise UsageError(f"image {before} cannot be put before itself")
    rest = [one for one in members if one not in moved]
    at = len(rest) if before is None else rest.index(before)
    for position, one in enumerate([*rest[:at], *moved, *rest[at:]], 1):
        here = (AlbumImage.album_id == album.id, AlbumImage.image_id == one)
        session.execute(update(AlbumImage).where(*here).values(position=position))


def _members(session: Session, album: Album) -> list[int]:
    query = select(AlbumImage.image_id).where(AlbumImage.album_id == album.id)
    return list(session.scalars(query.order_by(AlbumImage.position, AlbumImage.image_id)))


def members_by_album(session: Session, collection_id: int) -> dict[str, list[int]]:
    """The images of each of a collection's albums in their order, by the album's name."""
    query = (
        select(Album.name, AlbumImage.image_id)
        .join(AlbumImage, AlbumImage.album_id == Album.id)
        .where(Album.collection_id == collection_id)
        .order_by(AlbumImage.position, AlbumImage.image_id)
    )
    found: dict[str, list[int]] = {}
    for name, image_id in session.execute(query):
        found.setdefault(name, []).append(image_id)
    return found


def in_album(image_id: ColumnElement[int], name: str) -> ColumnElement[bool]:
    """The condition that an image is in an album of this name, whatever the case."""
    return exists().where(
        AlbumImage.image_id == image_id,
        AlbumImage.album_id == Album.id,
        # the database's lower() may know ASCII only: what is written alike is always found
        or_(Album.name == name, func.lower(Album.name) == name.lower()),
    )


def album_counts(session: Session, collection_id: int) -> dict[str, int]:
    """How many images each of a collection's albums has, by name."""
    return {one.name: one.images for one in list_albums(session, collection_id) if one.images}


def _free_name(session: Session, collection_id: int, name: str, besides: int = 0) -> str:
    name = check_shown(" ".join(name.split()), "an album's name")
    if not name:
        raise UsageError("an album needs a name")
    if len(name) > MAX_NAME:
        raise UsageError(f"the name {name[:40]!r}… is too long: at most {MAX_NAME} characters")
    here = (Album.collection_id == collection_id, Album.id != besides)
    for taken in session.scalars(select(Album.name).where(*here)):
        if taken.casefold() == name.casefold():
            raise UsageError(f"there is already an album {taken!r}")
    return name


def delete_album(session: Session, album: Album) -> None:
    """The album goes, its images stay."""
    session.execute(delete(Album).where(Album.id == album.id))
