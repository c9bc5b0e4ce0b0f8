"""What people say of images: favorite, rating, note and tags; kept over a new reading.

Albums are in `ragcore.catalog.albums`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from sqlalchemy import ColumnElement, and_, delete, exists, func, insert, or_, select, update
from sqlalchemy.orm import Session

from ragcore.catalog.models import (
    Album,
    AlbumImage,
    Image,
    ImageMark,
    ImageMetadataRow,
    ImageTag,
)
from ragcore.catalog.permits import visible
from ragcore.errors import UsageError
from ragcore.text import check_shown

_IN = 10_000  # values per IN list
_MOST_VALUES = 500  # to choose from
MAX_TAG = 100  # characters
MAX_TAGS = 100  # of one image at once
MAX_NOTE = 10_000  # characters
RATINGS = range(-1, 6)


@dataclass(frozen=True, slots=True)
class ImageMarks:
    """What people say of an image.

    `rating`: -1 rejected, 0 to 5 stars, in place of the file's; None: the file's counts. Tags and
    albums go by name.
    """

    favorite: bool = False
    rating: int | None = None
    note: str = ""
    tags: tuple[str, ...] = ()
    albums: tuple[str, ...] = ()


NO_MARKS = ImageMarks()


def marks_of(session: Session, image_ids: Sequence[int]) -> dict[int, ImageMarks]:
    """The marks of those of these images that have some and may be seen, by id."""
    found: dict[int, ImageMarks] = {}
    for part in _parts(image_ids):
        here = (Image.id.in_(part), visible(Image.collection_id))
        rows = select(ImageMark.image_id, ImageMark.favorite, ImageMark.rating, ImageMark.note)
        for row in session.execute(rows.join(Image, Image.id == ImageMark.image_id).where(*here)):
            found[row[0]] = ImageMarks(*row[1:])
        tags = select(ImageTag.image_id, ImageTag.tag).order_by(ImageTag.tag)
        albums = (
            select(AlbumImage.image_id, Album.name)
            .join(Album, Album.id == AlbumImage.album_id)
            .order_by(Album.name)
        )
        for table, query in ((ImageTag, tags), (AlbumImage, albums)):
            words: dict[int, list[str]] = {}
            joined = query.join(Image, Image.id == table.image_id)
            for image_id, word in session.execute(joined.where(*here)):
                words.setdefault(image_id, []).append(word)
            for image_id, several in words.items():
                one, listed = found.get(image_id, NO_MARKS), tuple(several)
                found[image_id] = (
                    replace(one, tags=listed) if table is ImageTag else replace(one, albums=listed)
                )
    return {image_id: one for image_id, one in found.items() if one != NO_MARKS}


def mark(
    session: Session,
    collection_id: int,
    image_ids: Sequence[int],
    *,
    favorite: bool | None = None,
    rating: int | None = None,
    note: str | None = None,
    add_tags: Sequence[str] = (),
    remove_tags: Sequence[str] = (),
) -> int:
    """Change what is given, None leaves it; return how many of the images are there.

    Raises UsageError for a rating other than -1 to 5, a note or tag that is too long, or a tag
    without letters.
    """
    if rating is not None and rating not in RATINGS:
        raise UsageError(f"a rating is 0 to 5, or -1 for rejected, not {rating}")
    values: dict[str, Any] = {"favorite": favorite, "rating": rating}
    values["note"] = None if note is None else _check_note(note)
    values = {name: value for name, value in values.items() if value is not None}
    added, removed = check_tags(add_tags), check_tags(remove_tags)
    done = 0
    for part in present(session, collection_id, image_ids):
        if values:
            _set(session, collection_id, part, values)
        if added or removed:
            _change_tags(session, part, added, removed)
        done += len(part)
    return done


def present(session: Session, collection_id: int, image_ids: Sequence[int]) -> Iterator[list[int]]:
    """Those of these images that the collection has, each once and in the order given, in parts."""
    for part in _parts(list(dict.fromkeys(image_ids))):
        here = (Image.collection_id == collection_id, Image.id.in_(part))
        there = set(session.scalars(select(Image.id).where(*here)))
        yield [one for one in part if one in there]


def check_tags(tags: Sequence[str]) -> tuple[str, ...]:
    """Tags without needless space, each once. Raises UsageError for one that cannot be."""
    if isinstance(tags, str):
        tags = [tags]
    if len(tags) > MAX_TAGS:
        raise UsageError(f"at most {MAX_TAGS} tags are given at once, not {len(tags):,}")
    clean = [check_shown(" ".join(tag.split()), "a tag") for tag in tags]
    for tag in clean:
        if not tag or "," in tag:
            raise UsageError(f"{tag[:40]!r} is no tag: it needs letters, and has no comma")
        if len(tag) > MAX_TAG:
            raise UsageError(f"the tag {tag[:40]!r}… is too long: at most {MAX_TAG} characters")
    return tuple(dict.fromkeys(clean))


def _check_note(note: str) -> str:
    note = note.strip()
    if len(note) > MAX_NOTE:
        raise UsageError(f"a note has at most {MAX_NOTE:,} characters, this one {len(note):,}")
    return note


def _set(
    session: Session, collection_id: int, image_ids: Sequence[int], values: dict[str, Any]
) -> None:
    marked = set(
        session.scalars(select(ImageMark.image_id).where(ImageMark.image_id.in_(image_ids)))
    )
    if marked:
        session.execute(update(ImageMark).where(ImageMark.image_id.in_(marked)).values(**values))
    fresh = {"collection_id": collection_id, "favorite": False, "rating": None, "note": ""}
    rows = [{**fresh, **values, "image_id": one} for one in image_ids if one not in marked]
    if rows:
        session.execute(insert(ImageMark), rows)


def _change_tags(
    session: Session, image_ids: Sequence[int], added: Sequence[str], removed: Sequence[str]
) -> None:
    """Tags that differ in case only are one: what is added replaces what is there."""
    lowered = {tag.lower() for tag in (*added, *removed)}
    had = session.execute(
        select(ImageTag.image_id, ImageTag.tag).where(ImageTag.image_id.in_(image_ids))
    ).all()
    gone = {tag for _, tag in had if tag.lower() in lowered}
    if gone:
        here = (ImageTag.image_id.in_(image_ids), ImageTag.tag.in_(gone))
        session.execute(delete(ImageTag).where(*here))
    rows = [{"image_id": image_id, "tag": tag} for image_id in image_ids for tag in added]
    if rows:
        session.execute(insert(ImageTag), rows)


# --- as filters ----------------------------------------------------------------------------


def is_favorite(image_id: ColumnElement[int], wanted: bool) -> ColumnElement[bool]:
    """The condition that an image is a favorite, or is none."""
    found = exists().where(ImageMark.image_id == image_id, ImageMark.favorite)
    return found if wanted else ~found


def has_tags(image_id: ColumnElement[int], tags: Sequence[str]) -> ColumnElement[bool]:
    """The condition that an image has all of these tags, whatever the case of their letters."""
    return and_(
        *(
            exists().where(
                ImageTag.image_id == image_id,
                # the database's lower() may know ASCII only: what is written alike is always found
                or_(ImageTag.tag == tag, func.lower(ImageTag.tag) == tag.lower()),
            )
            for tag in tags
        )
    )


def rating_of(image_id: ColumnElement[int]) -> ColumnElement[int]:
    """The rating that counts of an image: that of a person, else its file's."""
    given = select(ImageMark.rating).where(ImageMark.image_id == image_id).scalar_subquery()
    of_file = (
        select(ImageMetadataRow.rating)
        .where(ImageMetadataRow.image_id == image_id)
        .scalar_subquery()
    )
    return func.coalesce(given, of_file)


def favorite_counts(session: Session, collection_id: int) -> dict[str, int]:
    """How many images are favorites ("yes") and how many are not; nothing where none is."""
    here = (ImageMark.collection_id == collection_id, ImageMark.favorite)
    count = session.scalar(select(func.count()).select_from(ImageMark).where(*here)) or 0
    if not count:
        return {}
    every = select(func.count()).select_from(Image).where(Image.collection_id == collection_id)
    return {"yes": count, "no": (session.scalar(every) or 0) - count}


def tag_counts(session: Session, collection_id: int) -> dict[str, int]:
    """Counts of a collection's images by tag, the commonest first."""
    query = (
        select(ImageTag.tag, func.count())
        .join(Image, Image.id == ImageTag.image_id)
        .where(Image.collection_id == collection_id)
        .group_by(ImageTag.tag)
        .order_by(func.count().desc(), ImageTag.tag)
        .limit(_MOST_VALUES)
    )
    return dict(session.execute(query).all())


def rating_counts(session: Session, collection_id: int) -> dict[str, int]:
    """Counts of a collection's images by the rating that counts, the commonest first."""
    rating = func.coalesce(ImageMark.rating, ImageMetadataRow.rating)
    query = (
        select(rating, func.count())
        .select_from(Image)
        .outerjoin(ImageMark, ImageMark.image_id == Image.id)
        .outerjoin(ImageMetadataRow, ImageMetadataRow.image_id == Image.id)
        .where(Image.collection_id == collection_id, rating.is_not(None), rating != 0)
        .group_by(rating)
        .order_by(func.count().desc(), rating)
    )
    return {str(value): count for value, count in session.execute(query)}


# --- keeping marks over a new reading of their document ------------------------------------


@dataclass(frozen=True, slots=True)
class KeptMarks:
    """The marks of an image that goes away, by its pixels. `own`: it was an image file."""

    pixels_sha256: str
    own: bool
    marks: ImageMarks
    albums: dict[int, int] = field(default_factory=dict)  # position by album


def keep_marks(session: Session, document_ids: Sequence[int]) -> list[KeptMarks]:
    """What people say of the images of these documents, by what they show."""
    query = select(Image.id, Image.pixels_sha256, Image.page.is_(None))
    rows = session.execute(query.where(Image.document_id.in_(document_ids)).order_by(Image.id))
    about = {row[0]: row[1:] for row in rows}
    positions: dict[int, dict[int, int]] = {}
    for part in _parts(list(about)):
        members = select(AlbumImage.image_id, AlbumImage.album_id, AlbumImage.position)
        for image_id, album, position in session.execute(
            members.where(AlbumImage.image_id.in_(part))
        ):
            positions.setdefault(image_id, {})[album] = position
    return [
        KeptMarks(*about[image_id], one, positions.get(image_id, {}))
        for image_id, one in marks_of(session, list(about)).items()
    ]


def mark_again(
    session: Session, collection_id: int, document_id: int, saved: Sequence[KeptMarks]
) -> None:
    """Give marks back to the images with the same pixels.

    Those of an image file go to the document's new image, which may have been edited.
    """
    for one in saved:
        here = [Image.document_id == document_id]
        same = select(Image.id).where(*here, Image.pixels_sha256 == one.pixels_sha256)
        image_id = session.scalar(same.order_by(Image.id).limit(1))
        if image_id is None and one.own:
            own = select(Image.id).where(*here, Image.page.is_(None))
            image_id = session.scalar(own.order_by(Image.id).limit(1))
        if image_id is None:
            continue
        said = one.marks
        mark(
            session, collection_id, [image_id], favorite=said.favorite, rating=said.rating,
            note=said.note, add_tags=said.tags,
        )  # fmt: skip
        rows = [
            {"album_id": album, "image_id": image_id, "position": position}
            for album, position in one.albums.items()
        ]
        if rows:
            session.execute(insert(AlbumImage), rows)


def _parts(ids: Sequence[int]) -> Iterator[list[int]]:
    for at in range(0, len(ids), _IN):
        yield [int(one) for one in ids[at : at + _IN]]
