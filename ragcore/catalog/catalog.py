"""The catalog: what is remembered of collections, documents, passages and images."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, TypeVar

from sqlalchemy import Engine, delete, func, select, text, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from ragcore.catalog.engine import (
    limited,
    make_engine,
    read_session,
    reading,
    write_session,
    writing,
)
from ragcore.catalog.models import (
    Change,
    Collection,
    CollectionSpace,
    Document,
    Embedding,
    SpaceRow,
)
from ragcore.catalog.permits import may_see, sees_everything, visible
from ragcore.catalog.retry import until_available
from ragcore.errors import NotPermitted, UsageError

T = TypeVar("T")

DEFAULT_COLLECTION = "default"
_NAME = re.compile(r"[^\W_][\w .\-]{0,99}")


class Catalog:
    """Sessions and collections of one database. Safe to share between threads.

    Example:
        >>> catalog = Catalog("sqlite:///catalogue.db")
        >>> with catalog.read() as session:
        ...     session.scalars(select(Document)).all()
    """

    def __init__(self, url: str, *, search_timeout: float = 10.0) -> None:
        """`search_timeout`: seconds that one statement of a search may take."""
        self.engine: Engine = make_engine(url)
        self._reading, self._writing = reading(self.engine), writing(self.engine)
        self.search_engine: Engine = limited(self.engine, search_timeout)
        self._searching = limited(self._reading, search_timeout)

    def read(self) -> AbstractContextManager[Session]:
        """A session that sees one consistent state."""
        return read_session(self._reading)

    def search(self) -> AbstractContextManager[Session]:
        """As `read`, for statements that a caller shapes.

        Each raises SearchTimeout when it takes too long.
        """
        return read_session(self._searching)

    def write(self) -> AbstractContextManager[Session]:
        """A session whose changes are committed together when it is left."""
        return write_session(self._writing)

    def commit(self, work: Callable[[Session], T]) -> T:
        """Run `work` in a session of `write`; where the server is gone, again when it is back.

        `work` must not mind to be done twice. Raises DatabaseUnavailable if that takes minutes.
        """

        def attempt() -> T:
            with self.write() as session:
                return work(session)

        return until_available(attempt)

    def ping(self) -> None:
        """Raises DatabaseUnavailable unless the database answers."""
        with self.read() as session:
            session.execute(text("SELECT 1"))

    def close(self) -> None:
        self.engine.dispose()

    # --- collections ---------------------------------------------------------

    def collections(self) -> Sequence[Collection]:
        """All collections that may be seen (see `permits`), by name."""
        with self.read() as session:
            rows = session.scalars(select(Collection).order_by(Collection.name)).all()
        return [row for row in rows if may_see(row.id)]

    def collection(self, name: str) -> Collection:
        """Raises UsageError, naming the known ones, if there is none of this name."""
        with self.read() as session:
            found = session.scalar(select(Collection).where(Collection.name == name))
        if found is None or not may_see(found.id):
            names = [c.name for c in self.collections()]
            known = (
                f"known: {', '.join(names)}" if names else "none yet; `ragcore ingest` makes one"
            )
            raise UsageError(f"no collection named {name!r} ({known})")
        return found

    def create_collection(self, name: str, *, exist_ok: bool = False) -> Collection:
        """Make an empty collection. Raises UsageError for a bad or taken name."""
        check_name(name)
        try:
            with self.write() as session:
                found = session.scalar(select(Collection).where(Collection.name == name))
                if not sees_everything() and (found is None or not may_see(found.id)):
                    # The same for a name that is free and one that is somebody else's.
                    raise NotPermitted(
                        "only who may see every collection may make one "
                        f"(no collection named {name!r})"
                    )
                if found is None:
                    found = Collection(name=name, settings={})
                    session.add(found)
                elif not exist_ok:
                    raise UsageError(f"there is already a collection named {name!r}")
                return found
        except IntegrityError:  # another process made it first
            return self.collection(name)

    def rename_collection(self, name: str, new_name: str) -> None:
        """Raises UsageError for a bad or taken name.

        Raises NotPermitted for who may not see every collection: whether a name is free would
        reveal others.
        """
        check_name(new_name)
        wanted = self.collection(name)
        if not sees_everything():
            raise NotPermitted("only who may see every collection may rename one")
        try:
            with self.write() as session:
                session.execute(
                    update(Collection).where(Collection.id == wanted.id).values(name=new_name)
                )
        except IntegrityError:
            raise UsageError(f"there is already a collection named {new_name!r}") from None

    def delete_collection(self, name: str) -> int:
        """Delete a collection with all that is in it; return its id."""
        wanted = self.collection(name)
        with self.write() as session:
            both = (wanted.id, -wanted.id)  # with its trash
            for table in (Embedding, Change):
                session.execute(delete(table).where(table.collection_id.in_(both)))
            session.execute(delete(Collection).where(Collection.id.in_(both)))
        return wanted.id

    def update_collection_settings(self, name: str, **settings: Any) -> None:
        """Set keys of a collection's settings; a value of None removes the key."""
        wanted = self.collection(name)
        with self.write() as session:
            row = session.get_one(Collection, wanted.id)
            merged = {**row.settings, **settings}
            row.settings = {key: value for key, value in merged.items() if value is not None}

    def document_counts(self) -> dict[int, int]:
        """Number of documents by id of the collections that may be seen."""
        query = select(Document.collection_id, func.count()).where(visible(Document.collection_id))
        query = query.group_by(Document.collection_id)
        with self.read() as session:
            return dict(session.execute(query).all())

    # --- spaces --------------------------------------------------------------

    def space_id(self, name: str, modality: str, dimension: int) -> int:
        """The id of a space, made if new. Raises UsageError if its dimension differs."""
        with self.read() as session:
            row = session.scalar(select(SpaceRow).where(SpaceRow.name == name))
        if row is None:
            with self.write() as session:
                row = session.scalar(select(SpaceRow).where(SpaceRow.name == name))
                if row is None:
                    row = SpaceRow(name=name, modality=modality, dimension=dimension)
                    session.add(row)
                    session.flush()
        if row.dimension != dimension:
            raise UsageError(
                f"space {name!r} has {row.dimension} dimensions, not {dimension}: "
                "give the changed model another name or revision"
            )
        return row.id

    def active_space(self, collection_id: int, modality: str) -> SpaceRow | None:
        """The space that answers searches of this modality, if the collection has one."""
        query = (
            select(SpaceRow)
            .join(CollectionSpace, CollectionSpace.space_id == SpaceRow.id)
            .where(
                CollectionSpace.collection_id == collection_id,
                CollectionSpace.modality == modality,
                CollectionSpace.state == "active",
            )
        )
        with self.read() as session:
            return session.scalar(query)

    def use_space(
        self, collection_id: int, space_id: int, modality: str, *, state: str = "active"
    ) -> None:
        """Enter a space for a collection; making one active retires the one before."""
        with self.write() as session:
            if state == "active":
                session.execute(
                    update(CollectionSpace)
                    .where(
                        CollectionSpace.collection_id == collection_id,
                        CollectionSpace.modality == modality,
                        CollectionSpace.space_id != space_id,
                        CollectionSpace.state == "active",
                    )
                    .values(state="retired")
                )
            session.merge(
                CollectionSpace(
                    collection_id=collection_id, space_id=space_id, modality=modality, state=state
                )
            )


def check_name(name: str) -> None:
    """Raises UsageError unless `name` can name a collection."""
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"{name[:60]!r} cannot name a collection: use up to 100 letters, digits, spaces, "
            "points, dashes and underscores, beginning with a letter or digit"
        )
