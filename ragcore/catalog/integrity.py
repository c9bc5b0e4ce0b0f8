"""Whether a catalog agrees with itself and with the files beside it, and repairs of it.

Every `check_…` returns problems, one line each; every `repair_…` removes their causes as far as
the catalog itself allows.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path

from sqlalchemy import Exists, exists, func, or_, select, text, update
from sqlalchemy.exc import DatabaseError
from sqlalchemy.orm import Session

from ragcore.catalog import lexical
from ragcore.catalog.catalog import Catalog
from ragcore.catalog.embeddings import remove_embeddings
from ragcore.catalog.models import (
    Document,
    DocumentPage,
    Embedding,
    Image,
    Passage,
    SpaceRow,
    Thumbnail,
)
from ragcore.catalog.numbers import catch_up, tables_behind
from ragcore.errors import DatabaseDamaged

_YOUNG = 3600.0  # seconds: a younger file may belong to an ingest that has not committed yet
_COUNTED = (
    (DocumentPage, Document.page_count, "pages"),
    (Passage, Document.passage_count, "passages"),
    (Image, Document.image_count, "images"),
)


def check_database(catalog: Catalog) -> list[str]:
    """The database itself: SQLite's pages and references, PostgreSQL's indexes."""
    if catalog.engine.dialect.name != "sqlite":
        return _broken_indexes(catalog)
    try:
        with catalog.read() as session:
            rows = session.scalars(text("PRAGMA quick_check(10)")).all()
            broken = session.execute(text("PRAGMA foreign_key_check")).all()
    except (DatabaseError, DatabaseDamaged) as error:
        reason = str(error.orig if isinstance(error, DatabaseError) else error).splitlines()[0]
        return [f"the database is damaged: {reason}"]
    problems = [f"the database is damaged: {row}" for row in rows if row != "ok"]
    if broken:
        problems.append(f"{len(broken)} rows refer to rows that are gone")
    return problems


def _broken_indexes(catalog: Catalog) -> list[str]:
    query = text(
        "SELECT relname FROM pg_index JOIN pg_class ON oid = indexrelid "
        "WHERE NOT indisvalid AND pg_table_is_visible(indrelid)"
    )
    with catalog.read() as session:
        return [f"index {name} is not valid: REINDEX it" for name in session.scalars(query)]


def check_lexical(catalog: Catalog) -> list[str]:
    """Problems of the lexical indexes, one line each."""
    with catalog.write() as session:
        return lexical.check_lexical(session)


def repair_lexical(catalog: Catalog) -> None:
    """Rebuild the lexical indexes from their tables."""
    with catalog.write() as session:
        lexical.rebuild_lexical(session)


def check_rows(catalog: Catalog) -> list[str]:
    """Counts kept with the documents, vectors without their items, images without thumbnails."""
    problems = []
    with catalog.read() as session:
        for table, column, what in _COUNTED:
            counted = (
                select(func.count())
                .select_from(table)
                .where(table.document_id == Document.id)
                .scalar_subquery()
            )
            wrong = session.scalar(
                select(func.count()).select_from(Document).where(column != counted)
            )
            if wrong:
                problems.append(f"{wrong} documents count their {what} wrongly")
        for space in session.scalars(select(SpaceRow)):
            count = len(_loose_vectors(session, space))
            if count:
                problems.append(f"{count} vectors in {space.name} belong to nothing or are damaged")
        bare = session.scalar(select(func.count()).select_from(Image).where(~_has_thumbnail()))
        if bare:
            problems.append(f"{bare} images have no thumbnail; their files are read again")
        behind = tables_behind(session.connection())
        if behind:
            names = ", ".join(table.name for table in behind)
            problems.append(f"numbers of {names} would be given a second time")
    return problems


def repair_rows(catalog: Catalog) -> None:
    """Repair what `check_rows` finds."""
    with catalog.write() as session:
        for space in session.scalars(select(SpaceRow)).all():
            for collection_id, item in _loose_vectors(session, space):
                remove_embeddings(session, collection_id, [item], [space.id])
        bare = session.scalars(select(Image.document_id).where(~_has_thumbnail())).all()
        _read_again(session, bare)
        for table, column, _ in _COUNTED:
            counted = (
                select(func.count())
                .select_from(table)
                .where(table.document_id == Document.id)
                .scalar_subquery()
            )
            session.execute(update(Document).values({column: counted}))
        catch_up(session.connection())


def check_media(catalog: Catalog, media: Path) -> list[str]:
    """Files of images that were found inside documents: lost ones, and ones nobody needs."""
    with catalog.read() as session:
        lost = len(_lost_media(session, media))
    unneeded = len(_unneeded_media(catalog, media))
    problems = []
    if lost:
        problems.append(f"{lost} images have lost their file; their documents are read again")
    if unneeded:
        problems.append(f"{unneeded} files that no image needs")
    return problems


def repair_media(catalog: Catalog, media: Path) -> None:
    """Delete unneeded files; documents with lost ones are read again by the next ingest."""
    with catalog.write() as session:
        _read_again(session, [document for document, _ in _lost_media(session, media)])
    for path in _unneeded_media(catalog, media):
        path.unlink(missing_ok=True)


def count_items(catalog: Catalog, modality: str, collection_id: int) -> int:
    """Number of passages ("text") or images ("image") of a collection."""
    table: type[Passage] | type[Image] = Passage if modality == "text" else Image
    query = select(func.count()).select_from(table).where(table.collection_id == collection_id)
    with catalog.read() as session:
        return session.scalar(query) or 0


def count_missing(catalog: Catalog, modality: str, collection_id: int, space_id: int) -> int:
    """Number of passages ("text") or images ("image") that have no vector in a space."""
    table: type[Passage] | type[Image] = Passage if modality == "text" else Image
    has = exists().where(Embedding.space_id == space_id, Embedding.item_id == table.id)
    query = (
        select(func.count()).select_from(table).where(table.collection_id == collection_id, ~has)
    )
    with catalog.read() as session:
        return session.scalar(query) or 0


def _loose_vectors(session: Session, space: SpaceRow) -> list[tuple[int, int]]:
    """(collection id, item id) of vectors whose item is gone, or that have a wrong size."""
    table: type[Passage] | type[Image] = Passage if space.modality == "text" else Image
    there = exists().where(
        table.id == Embedding.item_id, table.collection_id == Embedding.collection_id
    )
    query = select(Embedding.collection_id, Embedding.item_id).where(
        Embedding.space_id == space.id,
        or_(~there, func.length(Embedding.vector) != 2 * space.dimension),
    )
    return [(row[0], row[1]) for row in session.execute(query)]


def _has_thumbnail() -> Exists:
    return exists().where(Thumbnail.image_id == Image.id)


def _read_again(session: Session, document_ids: Iterable[int]) -> None:
    """Make the next ingest read these documents, whatever their file's time says."""
    ids = sorted(set(document_ids))
    for at in range(0, len(ids), 10_000):
        here = Document.id.in_(ids[at : at + 10_000])
        session.execute(update(Document).where(here).values(mtime_ns=0, sha256=""))


def _lost_media(session: Session, media: Path) -> list[tuple[int, str]]:
    query = select(Image.document_id, Image.media).where(Image.media != "")
    rows = [(row[0], row[1]) for row in session.execute(query)]
    return [(document, name) for document, name in rows if not (media / name).is_file()]


def _unneeded_media(catalog: Catalog, media: Path) -> list[Path]:
    if not media.is_dir():
        return []
    old = [path for path in media.glob("*/*") if time.time() - path.stat().st_mtime > _YOUNG]
    with catalog.read() as session:
        needed = set(session.scalars(select(Image.media).distinct()))
    return [path for path in old if path.relative_to(media).as_posix() not in needed]
