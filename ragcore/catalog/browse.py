"""Looking through a collection: lists, facets, counts, a page's text."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice, zip_longest
from typing import Any

from sqlalchemy import ColumnElement, Select, case, func, select
from sqlalchemy.orm import Session

from ragcore.catalog.models import (
    CollectionSpace,
    Document,
    DocumentPage,
    Embedding,
    Image,
    Passage,
    SpaceRow,
    Thumbnail,
)
from ragcore.catalog.permits import may, may_see
from ragcore.errors import UsageError

_PASSAGES_FOR_HEADINGS = 2_000
_NUMBER = re.compile(r"^(\d+(\.\d+)*\.?|[IVX]+\.)\s+")  # of a section
ORDERS = {
    "name": Document.name,
    "newest": Document.ingested_at.desc(),
    "modified": Document.modified_at.desc(),
    "size": Document.size.desc(),
    "pages": Document.page_count.desc(),
    "state": Document.state,
}


@dataclass(frozen=True, slots=True)
class ImageInfo:
    """An image with what is known of its document."""

    id: int
    document_id: int
    document: str
    path: str
    page: int | None
    width: int
    height: int
    media: str
    caption: str
    text: str
    phash: bytes
    pixels_sha256: str
    collection_id: int
    caption_by: str  # the model that wrote the caption; "": people
    second: float | None = None  # where a frame is in its video


@dataclass(frozen=True, slots=True)
class Statistics:
    """Counts of one collection. `types` and `states` count documents."""

    documents: int
    pages: int
    passages: int
    images: int
    bytes: int
    types: dict[str, int]
    states: dict[str, int]
    spaces: dict[str, int]  # vectors by space name
    incomplete: int = 0  # documents of which something was not read


def list_documents(
    session: Session,
    collection_id: int,
    *,
    search: str = "",
    state: str | None = None,
    media_type: str | None = None,
    incomplete: bool | None = None,
    where: Sequence[ColumnElement[bool]] = (),
    order: str = "name",
    limit: int = 100,
    offset: int = 0,
) -> tuple[Sequence[Document], int]:
    """One page of a collection's documents that meet all of `where`, and how many there are.

    `search` is looked for in name, title and, for who may write, path. `incomplete`: only those
    of whose file something was not read, or everything. Raises UsageError for an
    unknown `order`.
    """
    if order not in ORDERS:
        raise UsageError(f"documents are ordered by {', '.join(ORDERS)}, not by {order!r}")
    here: list[ColumnElement[bool]] = [Document.collection_id == collection_id, *where]
    if search:
        named = Document.path if may("write") else Document.name  # readers see no paths
        here.append(
            named.icontains(search, autoescape=True)
            | Document.title.icontains(search, autoescape=True)
        )
    if state:
        here.append(Document.state == state)
    if media_type:
        here.append(Document.media_type == media_type)
    if incomplete is not None:
        here.append(Document.incomplete.is_(incomplete))
    total = session.scalar(select(func.count()).select_from(Document).where(*here)) or 0
    query = select(Document).where(*here).order_by(ORDERS[order], Document.id)
    return session.scalars(query.limit(limit).offset(offset)).all(), total


def get_document(session: Session, document_id: int) -> Document:
    """Raises UsageError if there is no such document."""
    found = session.get(Document, document_id)
    if found is None or not may_see(found.collection_id):
        raise UsageError(f"there is no document {document_id}")
    return found


def document_paths(
    session: Session, collection_id: int, document_ids: Sequence[int]
) -> Sequence[str]:
    """Paths of those of these documents that the collection has."""
    query = select(Document.path).where(
        Document.collection_id == collection_id, Document.id.in_(document_ids)
    )
    return session.scalars(query).all()


def documents_below(session: Session, collection_id: int, paths: Sequence[str]) -> dict[int, str]:
    """Paths by id of the documents that are at one of these paths, or in a folder there."""
    found: dict[int, str] = {}
    for path in paths:
        below = Document.path.startswith(path.rstrip("/") + "/", autoescape=True)
        query = select(Document.id, Document.path).where(
            Document.collection_id == collection_id, (Document.path == path) | below
        )
        found.update(session.execute(query).all())
    return found


def headings(session: Session, collection_id: int, limit: int) -> list[str]:
    """Headings of sections to ask about, at most `limit`, without their numbers.

    Taken from the documents in turn: questions first, then the others in their order.
    """
    query = (
        select(Passage.document_id, Passage.heading, Document.title)
        .join(Document, Document.id == Passage.document_id)
        .where(Passage.collection_id == collection_id, Passage.heading != "")
        .order_by(Passage.id)
        .limit(_PASSAGES_FOR_HEADINGS)
    )
    by_document: dict[int, dict[str, None]] = {}
    for document_id, heading, title in session.execute(query):
        last = heading.rsplit(" > ", 1)[-1].strip()
        last = _NUMBER.sub("", last)
        whole = 8 <= len(last) <= 80 and " " in last and last[-1] not in ":.,"
        if whole and last != title and "|" not in last:  # a row of names is no heading
            by_document.setdefault(document_id, {})[last] = None
    turns = [sorted(found, key=lambda one: not one.endswith("?")) for found in by_document.values()]
    in_turn = (one for row in zip_longest(*turns) for one in row if one is not None)
    return list(islice(dict.fromkeys(in_turn), limit))


def document_pages(session: Session, document_id: int) -> Sequence[DocumentPage]:
    """All pages of a document, in order."""
    query = select(DocumentPage).where(DocumentPage.document_id == document_id)
    return session.scalars(query.order_by(DocumentPage.number)).all()


def get_page(session: Session, document_id: int, number: int) -> DocumentPage:
    """One page's text. Raises UsageError if the document has no such page."""
    count = get_document(session, document_id).page_count
    found = session.get(DocumentPage, (document_id, number))
    if found is None:
        raise UsageError(f"document {document_id} has no page {number}: it has {count}")
    return found


def get_image(session: Session, image_id: int) -> ImageInfo:
    """Raises UsageError if there is no such image."""
    row = session.execute(_images().where(Image.id == image_id)).one_or_none()
    found = ImageInfo(*row) if row is not None else None
    if found is None or not may_see(found.collection_id):
        raise UsageError(f"there is no image {image_id}")
    return found


def list_images(
    session: Session,
    collection_id: int,
    *,
    document_id: int | None = None,
    captioned: bool = False,
    ids: Select[Any] | None = None,
    limit: int = 100,
    offset: int = 0,
) -> Sequence[ImageInfo]:
    """A collection's images, newest first, or those of one document in its order.

    `captioned` leaves out those without a caption, `ids` all but those that it selects.
    """
    query = _images().where(Image.collection_id == collection_id)
    if ids is not None:
        query = query.where(Image.id.in_(ids))
    if captioned:
        query = query.where(Image.caption != "")
    if document_id is not None:
        query = query.where(Image.document_id == document_id).order_by(Image.ordinal)
    else:
        query = query.order_by(Image.id.desc())
    return [ImageInfo(*row) for row in session.execute(query.limit(limit).offset(offset))]


def thumbnail(session: Session, image_id: int) -> bytes:
    """WebP. Raises UsageError if there is no such image."""
    get_image(session, image_id)
    data = session.scalar(select(Thumbnail.data).where(Thumbnail.image_id == image_id))
    if data is None:
        raise UsageError(f"there is no image {image_id}")
    return data


def thumbnails(session: Session, image_ids: Sequence[int]) -> dict[int, bytes]:
    """WebP of each image that exists, by id."""
    query = select(Thumbnail.image_id, Thumbnail.data, Image.collection_id)
    query = query.join(Image, Image.id == Thumbnail.image_id).where(Image.id.in_(image_ids))
    return {item: data for item, data, where in session.execute(query) if may_see(where)}


def years(session: Session, collection_id: int) -> dict[str, int]:
    """Counts of documents that can be found by the year of the file's own time."""
    year = func.extract("year", Document.modified_at)
    here = (Document.collection_id == collection_id, Document.state != "failed")
    rows = session.execute(select(year, func.count()).where(*here).group_by(year).order_by(year))
    return {str(value): count for value, count in rows}


def folders(session: Session, collection_id: int) -> dict[str, int]:
    """Counts of documents by the folder that they are in."""
    result: dict[str, int] = {}
    query = select(Document.path).where(Document.collection_id == collection_id)
    for path in session.scalars(query):
        folder = path.rsplit("/", 1)[0] or "/"
        result[folder] = result.get(folder, 0) + 1
    return dict(sorted(result.items()))


def statistics(session: Session, collection_id: int) -> Statistics:
    """Everything that can be counted of one collection."""
    ready = case((Document.state != "failed", 1), else_=0)
    row = session.execute(
        select(
            func.coalesce(func.sum(ready), 0),
            func.coalesce(func.sum(Document.page_count), 0),
            func.coalesce(func.sum(Document.passage_count), 0),
            func.coalesce(func.sum(Document.image_count), 0),
            func.coalesce(func.sum(Document.size), 0),
            func.coalesce(func.sum(case((Document.incomplete, 1), else_=0)), 0),
        ).where(Document.collection_id == collection_id)
    ).one()

    def by(column: ColumnElement[str]) -> dict[str, int]:
        query = select(column, func.count()).where(Document.collection_id == collection_id)
        return dict(session.execute(query.group_by(column)).all())

    vectors = (
        select(SpaceRow.name, func.count(Embedding.item_id))
        .join(CollectionSpace, CollectionSpace.space_id == SpaceRow.id)
        .outerjoin(
            Embedding,
            (Embedding.space_id == SpaceRow.id)
            & (Embedding.collection_id == CollectionSpace.collection_id),
        )
        .where(CollectionSpace.collection_id == collection_id)
        .group_by(SpaceRow.name)
    )
    documents, pages, passages, images, size, incomplete = (int(value) for value in row)
    return Statistics(
        documents=documents,
        pages=pages,
        passages=passages,
        images=images,
        bytes=size,
        types=by(Document.media_type.expression),
        states=by(Document.state.expression),
        spaces=dict(session.execute(vectors).all()),
        incomplete=incomplete,
    )


def _images() -> Select[*tuple[Any, ...]]:
    return select(
        Image.id,
        Image.document_id,
        Document.title,
        Document.path,
        Image.page,
        Image.width,
        Image.height,
        Image.media,
        Image.caption,
        Image.text,
        Image.phash,
        Image.pixels_sha256,
        Image.collection_id,
        Image.caption_by,
        Image.second,
    ).join(Document, Document.id == Image.document_id)
