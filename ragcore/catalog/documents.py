"""Storing and removing documents: each a unit of work with its text, images and vectors."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from sqlalchemy import Select, delete, func, insert, select, update
from sqlalchemy.orm import Session

from ragcore.catalog.coverage import coverage_values
from ragcore.catalog.embeddings import add_embeddings, remove_embeddings
from ragcore.catalog.image_metadata import write_metadata
from ragcore.catalog.labels import give_again, keep_given
from ragcore.catalog.marks import keep_marks, mark_again
from ragcore.catalog.models import Document, DocumentPage, Image, Passage, SpaceRow, Thumbnail, now
from ragcore.types import FileState, PassageDraft, ReadDocument, ReadImage

if TYPE_CHECKING:
    from ragcore.types import FloatArray

_IN = 10_000  # values per IN list


@dataclass(frozen=True, slots=True)
class KnownFile:
    """A file as the catalog remembers it."""

    id: int
    path: str
    size: int
    mtime_ns: int
    sha256: str
    state: str
    version: str
    passage_count: int
    passage_size: str
    origin: str


@dataclass(slots=True)
class NewDocument:
    """A document that is ready to be stored: read, split and embedded.

    `passage_vectors` and `image_vectors` map a space id to unit vectors [n, d] in the order of
    `passages` and `document.images`. `media` names the stored file of each embedded image
    ("" for a file's own). `passage_size` is the name of the size that the passages were cut to.
    """

    file: FileState
    document: ReadDocument
    passages: Sequence[PassageDraft]
    passage_vectors: Mapping[int, FloatArray] = field(default_factory=dict)
    image_vectors: Mapping[int, FloatArray] = field(default_factory=dict)
    media: Sequence[str] = ()
    passage_size: str = ""


_PATHS_AT_ONCE = 500  # in one statement
_Stored = Sequence[tuple[int, NewDocument]]  # documents with their ids


def known_files(
    session: Session, collection_id: int, paths: Sequence[str] | None = None
) -> dict[str, KnownFile]:
    """Every file of a collection, or those of these paths, by path."""
    query: Any = select(  # more columns than its types know
        Document.id,
        Document.path,
        Document.size,
        Document.mtime_ns,
        Document.sha256,
        Document.state,
        Document.version,
        Document.passage_count,
        Document.passage_size,
        Document.origin,
    ).where(Document.collection_id == collection_id)
    if paths is None:
        return {row.path: KnownFile(*row) for row in session.execute(query)}
    found: dict[str, KnownFile] = {}
    for at in range(0, len(paths), _PATHS_AT_ONCE):
        part = paths[at : at + _PATHS_AT_ONCE]
        rows = session.execute(query.where(Document.path.in_(part)))
        found |= {row.path: KnownFile(*row) for row in rows}
    return found


def store_document(session: Session, collection_id: int, new: NewDocument) -> tuple[int, bool]:
    """Store one document as `store_documents` does; return (its id, whether it is new)."""
    return store_documents(session, collection_id, [new])[0]


def store_documents(
    session: Session, collection_id: int, documents: Sequence[NewDocument]
) -> list[tuple[int, bool]]:
    """Store documents in place of any earlier versions; return (id, whether it is new) of each.

    No two of them have the same path. A document keeps its id when it is updated; passages and
    images get new ids, and what people labelled or marked keeps that where it is as it was. One
    statement a table stores all of them: a statement for each costs more than its rows.
    """
    earlier = _ids_at(session, collection_id, [new.file.path for new in documents])
    old = list(earlier.values())
    given = {one: keep_given(session, [one]) for one in old}
    marks = {one: keep_marks(session, [one]) for one in old}
    if old:
        _remove_content(session, collection_id, old)
    fresh = [new for new in documents if new.file.path not in earlier]
    ids = earlier | _add_documents(session, collection_id, fresh)
    for new in documents:
        if new.file.path in earlier:
            here = Document.id == earlier[new.file.path]
            session.execute(update(Document).where(here).values(**_document_values(new)))
    stored = [(ids[new.file.path], new) for new in documents]
    _store_pages(session, stored)
    _store_passages(session, collection_id, stored)
    _store_images(session, collection_id, stored)
    for document_id in old:
        give_again(session, collection_id, document_id, given[document_id])
        mark_again(session, collection_id, document_id, marks[document_id])
    return [(document_id, new.file.path not in earlier) for document_id, new in stored]


def _ids_at(session: Session, collection_id: int, paths: Sequence[str]) -> dict[str, int]:
    """The documents of these paths that there are."""
    found: dict[str, int] = {}
    for at in range(0, len(paths), _PATHS_AT_ONCE):
        part = paths[at : at + _PATHS_AT_ONCE]
        query = select(Document.path, Document.id).where(
            Document.collection_id == collection_id, Document.path.in_(part)
        )
        found |= {row.path: row.id for row in session.execute(query)}
    return found


def _add_documents(
    session: Session, collection_id: int, documents: Sequence[NewDocument]
) -> dict[str, int]:
    """Rows of documents that are new, in their order; their ids by path."""
    if not documents:
        return {}
    rows = [{"collection_id": collection_id, **_document_values(new)} for new in documents]
    statement = insert(Document).returning(Document.id, sort_by_parameter_order=True)
    ids = session.scalars(statement, rows).all()
    return {new.file.path: one for new, one in zip(documents, ids, strict=True)}


def store_failure(session: Session, collection_id: int, file: FileState, error: str) -> None:
    """Record that a file could not be read. What an earlier version held is kept ("stale")."""
    document_id = session.scalar(_at(collection_id, file.path))
    if document_id is None:
        session.add(
            Document(collection_id=collection_id, state="failed", error=error, **_file_values(file))
        )
        return
    row = session.get_one(Document, document_id)
    row.error = error
    if row.state != "failed":
        row.state = "stale"  # its size and time stay those of the version that is kept
    else:
        row.size, row.mtime_ns, row.sha256 = max(0, file.size), file.mtime_ns, file.sha256


def touch_document(session: Session, document_id: int, file: FileState) -> None:
    """The same bytes under another time or path: only the file's particulars change.

    Another run may have been quicker: a document that is gone is left so, and one whose new path
    is another document's by now is removed.
    """
    values = _file_values(file)
    row = session.get(Document, document_id)
    if row is None:
        return
    if session.scalar(_at(row.collection_id, file.path)) not in (None, document_id):
        remove_documents(session, row.collection_id, [document_id])
        return
    if row.name != file.name and row.title == row.name:  # a title that was only the file's name
        values["title"] = file.name
        here = Passage.document_id == document_id
        session.execute(update(Passage).where(here).values(title=file.name))
    session.execute(
        update(Document).where(Document.id == document_id).values(**values, state="ready", error="")
    )
    session.execute(
        update(Image)
        .where(Image.document_id == document_id, Image.page.is_(None))
        .values(name=file.name)
    )


def remove_documents(session: Session, collection_id: int, ids: Iterable[int]) -> int:
    """Remove documents with all that came from them; return how many there were."""
    wanted = sorted(set(ids))
    removed = 0
    for at in range(0, len(wanted), _IN):
        part = wanted[at : at + _IN]
        here = (Document.collection_id == collection_id, Document.id.in_(part))
        present = list(session.scalars(select(Document.id).where(*here)))
        _remove_content(session, collection_id, present)
        session.execute(delete(Document).where(*here))
        removed += len(present)
    return removed


def _at(collection_id: int, path: str) -> Select[int]:
    return select(Document.id).where(Document.collection_id == collection_id, Document.path == path)


def _file_values(file: FileState) -> dict[str, object]:
    return {
        "path": file.path,
        "name": file.name,
        "size": max(0, file.size),
        "mtime_ns": file.mtime_ns,
        "sha256": file.sha256,
        "version": file.version,
        "origin": file.origin,
        "modified_at": dt.datetime.fromtimestamp(file.mtime_ns / 1e9, dt.UTC),
    }


def _title(new: NewDocument) -> str:
    return new.document.title or new.file.name


def _document_values(new: NewDocument) -> dict[str, object]:
    read = new.document
    return {
        **_file_values(new.file),
        "title": _title(new),
        "media_type": read.media_type,
        "paged": read.paged,
        "page_count": len(read.pages),
        "passage_count": len(new.passages),
        "passage_size": new.passage_size,
        "image_count": len(read.images),
        "details": dict(read.metadata),
        "warnings": list(read.warnings),
        "coverage": coverage_values(read.coverage) if read.coverage else None,
        "incomplete": bool(read.coverage and read.coverage.skipped),
        "state": "ready",
        "error": "",
        "ingested_at": now(),
    }


def _remove_content(session: Session, collection_id: int, document_ids: Sequence[int]) -> None:
    spaces = session.execute(select(SpaceRow.id, SpaceRow.modality)).all()
    for table, modality in ((Passage, "text"), (Image, "image")):
        here = table.document_id.in_(document_ids)
        items = session.scalars(select(table.id).where(here)).all()
        in_spaces = [space for space, of in spaces if of == modality]
        remove_embeddings(session, collection_id, items, in_spaces)
        session.execute(delete(table).where(here))
    session.execute(delete(DocumentPage).where(DocumentPage.document_id.in_(document_ids)))


def _store_pages(session: Session, stored: _Stored) -> None:
    rows = []
    for document_id, new in stored:
        start = 0
        for page in new.document.pages:
            rows.append(
                {
                    "document_id": document_id,
                    "number": page.number,
                    "label": page.label,
                    "start": start,
                    "ocr": page.ocr,
                    "text": page.text,
                }
            )
            start += len(page.text) + 1  # pages are joined by one form feed
    if rows:
        session.execute(insert(DocumentPage), rows)


def _store_passages(session: Session, collection_id: int, stored: _Stored) -> None:
    rows = [
        {
            "document_id": document_id,
            "collection_id": collection_id,
            "ordinal": ordinal,
            "page": draft.page,
            "page_end": draft.page_end,
            "start": draft.start,
            "end": draft.end,
            "title": _title(new),
            "heading": draft.heading,
            "text": draft.text,
        }
        for document_id, new in stored
        for ordinal, draft in enumerate(new.passages)
    ]
    if not rows:
        return
    statement = insert(Passage).returning(Passage.id, sort_by_parameter_order=True)
    ids = session.scalars(statement, rows).all()
    _store_vectors(
        session, collection_id, ids,
        [(len(new.passages), new.passage_vectors) for _, new in stored],
    )  # fmt: skip


def _store_vectors(
    session: Session,
    collection_id: int,
    ids: Sequence[int],
    vectors: Sequence[tuple[int, Mapping[int, FloatArray]]],
) -> None:
    """The vectors of items, which lie one document's after the other's.

    `vectors`: of each document how many items it has, and their vectors by space.
    """
    spaces: dict[int, tuple[list[int], list[FloatArray]]] = {}
    start = 0
    for count, of_document in vectors:
        for space_id, values in of_document.items():
            if len(values) != count:
                raise ValueError(f"{count} ids for {len(values)} vectors")
            items, parts = spaces.setdefault(space_id, ([], []))
            items.extend(ids[start : start + count])
            parts.append(values)
        start += count
    for space_id, (items, parts) in spaces.items():
        add_embeddings(session, collection_id, space_id, items, np.concatenate(parts))


def _store_images(session: Session, collection_id: int, stored: _Stored) -> None:
    rows, images = [], []
    for document_id, new in stored:
        media = new.media or [""] * len(new.document.images)
        for ordinal, (image, name) in enumerate(zip(new.document.images, media, strict=True)):
            images.append(image)
            rows.append(
                {
                    "document_id": document_id,
                    "collection_id": collection_id,
                    "ordinal": ordinal,
                    "media": name,
                    **_image_values(image, new.file.name if image.page is None else ""),
                }
            )
    if not rows:
        return
    statement = insert(Image).returning(Image.id, sort_by_parameter_order=True)
    ids = session.scalars(statement, rows).all()
    thumbnails = [
        {"image_id": image_id, "data": image.thumbnail}
        for image_id, image in zip(ids, images, strict=True)
    ]
    session.execute(insert(Thumbnail), thumbnails)
    metadata = {
        image_id: image.metadata
        for image_id, image in zip(ids, images, strict=True)
        if image.metadata is not None
    }
    write_metadata(session, collection_id, metadata)
    _store_vectors(
        session, collection_id, ids,
        [(len(new.document.images), new.image_vectors) for _, new in stored],
    )  # fmt: skip


def _image_values(image: ReadImage, name: str) -> dict[str, object]:
    return {
        "page": image.page,
        "second": image.second,
        "width": image.width,
        "height": image.height,
        "pixels_sha256": image.pixels_sha256,
        "phash": image.phash,
        "name": name,
        "caption": image.caption,
        "text": image.text,
    }


def count_other_sizes(session: Session, collection_id: int, passage_size: str) -> int:
    """How many documents have passages of another size."""
    query = select(func.count()).where(
        Document.collection_id == collection_id,
        Document.passage_count > 0,
        Document.passage_size != passage_size,
    )
    return session.scalar(query) or 0


def forget_content(
    session: Session, collection_id: int, document_ids: Sequence[int]
) -> Sequence[str]:
    """Make the next ingest read these documents' files again; return their paths."""
    here = (Document.collection_id == collection_id, Document.id.in_(document_ids))
    session.execute(update(Document).where(*here).values(mtime_ns=-1, sha256="", version=""))
    return session.scalars(select(Document.path).where(*here)).all()
