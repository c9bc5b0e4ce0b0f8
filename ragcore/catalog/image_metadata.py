"""How images were taken: stored beside them, read back, counted for the filters."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from sqlalchemy import Text, delete, func, insert, select, update
from sqlalchemy.orm import Session

from ragcore.catalog.models import Document, Image, ImageKeyword, ImageMetadataRow
from ragcore.catalog.permits import visible
from ragcore.types import FileState, ImageMetadata

_IN = 10_000  # values per IN list
_MOST_VALUES = 500  # to choose from
_COLUMNS = tuple(one.name for one in fields(ImageMetadata) if one.name != "keywords")


def write_metadata(
    session: Session, collection_id: int, found: Mapping[int, ImageMetadata]
) -> None:
    """Store the metadata of images, by id, in place of what was stored before."""
    if not found:
        return
    ids = list(found)
    for table in (ImageMetadataRow, ImageKeyword):
        for at in range(0, len(ids), _IN):
            session.execute(delete(table).where(table.image_id.in_(ids[at : at + _IN])))
    rows = [
        {"image_id": image_id, "collection_id": collection_id}
        | {name: value for name, value in asdict(one).items() if name != "keywords"}
        for image_id, one in found.items()
    ]
    session.execute(insert(ImageMetadataRow), rows)
    words = [
        {"image_id": image_id, "keyword": keyword}
        for image_id, one in found.items()
        for keyword in one.keywords
    ]
    if words:
        session.execute(insert(ImageKeyword), words)


def metadata_of(session: Session, image_ids: Sequence[int]) -> dict[int, ImageMetadata]:
    """The metadata of those of these images that have some and may be seen, by id."""
    found: dict[int, ImageMetadata] = {}
    columns = [getattr(ImageMetadataRow, name) for name in _COLUMNS]
    for at in range(0, len(image_ids), _IN):
        part = [int(one) for one in image_ids[at : at + _IN]]
        query = select(ImageMetadataRow.image_id, *columns).where(
            ImageMetadataRow.image_id.in_(part), visible(ImageMetadataRow.collection_id)
        )
        for image_id, *row in session.execute(query):
            found[image_id] = ImageMetadata(**dict(zip(_COLUMNS, row, strict=True)))
        listed = select(ImageKeyword.image_id, ImageKeyword.keyword)
        listed = listed.where(ImageKeyword.image_id.in_(part))
        words: dict[int, list[str]] = {}
        for image_id, keyword in session.execute(listed):
            words.setdefault(image_id, []).append(keyword)
        for image_id in words.keys() & found.keys():
            found[image_id] = replace(found[image_id], keywords=tuple(sorted(words[image_id])))
    return found


@dataclass(frozen=True, slots=True)
class ImageFile:
    """An image that is a file of its own."""

    image_id: int
    file: FileState


def image_files(session: Session, collection_id: int) -> list[ImageFile]:
    """The image files of a collection, by ascending id of the image."""
    query = (
        select(
            Image.id, Document.path, Document.name, Document.size, Document.mtime_ns,
            Document.sha256, Document.version,
        )
        .join(Document, Document.id == Image.document_id)
        .where(
            Image.collection_id == collection_id,
            Image.page.is_(None),
            Document.media_type.startswith("image/"),
        )
        .order_by(Image.id)
    )  # fmt: skip
    return [ImageFile(row[0], FileState(*row[1:])) for row in session.execute(query)]


def refresh(session: Session, collection_id: int, found: Mapping[int, ImageMetadata]) -> int:
    """Store metadata that was read again; return for how many images it has changed.

    A caption in it becomes the image's, unless a person has written another. Images that have
    gone meanwhile are passed over.
    """
    ids = list(found)
    here = (Image.collection_id == collection_id, Image.id.in_(ids))
    present = session.execute(select(Image.id, Image.caption, Image.caption_by).where(*here)).all()
    before = metadata_of(session, ids)
    changed = {
        row.id: found[row.id] for row in present if before.get(row.id) != _stored(found[row.id])
    }
    write_metadata(session, collection_id, changed)
    for row in present:
        caption = found[row.id].caption
        earlier = before[row.id].caption if row.id in before else ""
        if caption and caption != row.caption and (row.caption_by or row.caption in ("", earlier)):
            values = {"caption": caption, "caption_by": ""}
            session.execute(update(Image).where(Image.id == row.id).values(**values))
    return len(changed)


def _stored(one: ImageMetadata) -> ImageMetadata:
    """As it is read back."""
    return replace(one, keywords=tuple(sorted(one.keywords)))


def images_by(column: Any) -> Callable[[Session, int], dict[str, int]]:
    """Counts of a collection's images by a column of their metadata, the commonest first."""

    def count(session: Session, collection_id: int) -> dict[str, int]:
        query = select(column, func.count()).where(
            ImageMetadataRow.collection_id == collection_id, column.is_not(None)
        )
        if isinstance(column.type, Text):
            query = query.where(column != "")
        rows = session.execute(
            query.group_by(column).order_by(func.count().desc(), column).limit(_MOST_VALUES)
        )
        return {str(value): number for value, number in rows}

    return count


def images_by_keyword(session: Session, collection_id: int) -> dict[str, int]:
    """Counts of a collection's images by keyword, the commonest first."""
    query = (
        select(ImageKeyword.keyword, func.count())
        .join(ImageMetadataRow, ImageMetadataRow.image_id == ImageKeyword.image_id)
        .where(ImageMetadataRow.collection_id == collection_id)
        .group_by(ImageKeyword.keyword)
        .order_by(func.count().desc(), ImageKeyword.keyword)
        .limit(_MOST_VALUES)
    )
    return dict(session.execute(query).all())
