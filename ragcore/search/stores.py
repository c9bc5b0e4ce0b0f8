"""The vector indexes of all collections, kept in step with the catalog.

One store per collection and space, in the place that the settings name. The catalog's log of
changes says what an index has yet to learn; the number of the last change that an index holds is
saved with it. An index that is missing, damaged or too far behind is rebuilt from the catalog.
"""

from __future__ import annotations

import datetime as dt
import logging
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sqlalchemy import text

from ragcore.catalog import Catalog, Collection, SpaceRow, exclusive
from ragcore.errors import RagcoreError, VectorsUnavailable
from ragcore.settings import Settings
from ragcore.vectors import CorruptStoreError, StoreKey, VectorBackend, backend_of

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from ragcore.types import FloatArray, IdArray
    from ragcore.vectors import VectorStore

log = logging.getLogger(__name__)

_LAST_CHANGE = text(
    "SELECT max(seq) FROM changes WHERE collection_id = :collection AND space_id = :space"
)
_SAVE_EVERY = 60.0  # seconds between saves while searching goes on
_SAVE_CHANGES = 1_000  # fewer changes are not worth a save before the store is closed


@dataclass(slots=True)
class _Open:
    """An open store, the last change it holds, and what was not saved yet."""

    key: StoreKey
    store: VectorStore
    seq: int
    unsaved: int = 0
    saved_at: float = field(default_factory=time.monotonic)
    lock: threading.RLock = field(default_factory=threading.RLock)


class Stores:
    """Opens, updates and saves the vector stores of one library. Safe to share between threads.

    Processes do not need to agree on anything. Of stores in files each brings its own copy up to
    date from the catalog, and whichever saves last leaves a whole, correct index behind. A
    store that is shared is brought up to date by whichever process comes first.
    """

    def __init__(
        self, catalog: Catalog, settings: Settings, *, backend: VectorBackend | None = None
    ) -> None:
        """`backend` stands for the one that the settings name."""
        self._catalog = catalog
        self.backend = backend or backend_of(settings)
        self._open: dict[tuple[int, int], _Open] = {}
        self._lock = threading.Lock()
        self._made: dict[tuple[int, int], threading.Lock] = {}

    def get(self, collection_id: int, space: SpaceRow) -> VectorStore:
        """The store of a collection in a space, holding everything committed so far."""
        key = (collection_id, space.id)
        with self._lock:
            making = self._made.setdefault(key, threading.Lock())
        with making:
            opened = self._open.get(key)
            if opened is None:
                opened = self._open[key] = self._load(collection_id, space)
        with opened.lock:
            self._catch_up(opened)
            self._save_now_and_then(opened)
        return opened.store

    def refresh(self, collection_id: int) -> None:
        """Bring every active index of a collection up to date and save it; for after an ingest.

        What the vectors' server cannot take now is left to the next search or ingest.
        """
        for modality in ("text", "image"):
            space = self._catalog.active_space(collection_id, modality)
            if space is None:
                continue
            try:
                self.get(collection_id, space)
                opened = self._open[collection_id, space.id]
                with opened.lock:
                    self._save(opened)
            except VectorsUnavailable as error:
                log.warning("the vectors of new documents follow later: %s", error)
                return

    def rebuild(self, collection_id: int, space: SpaceRow) -> VectorStore:
        """Rebuild an index from the catalog's embeddings, and save it."""
        key = (collection_id, space.id)
        with self._lock:
            old = self._open.pop(key, None)
        if old is not None:
            old.store.close()
        self.backend.drop(self.key(collection_id, space))
        store = self.get(collection_id, space)
        self._save(self._open[key])
        return store

    def check(self, collection_id: int, space: SpaceRow) -> list[str]:
        """Problems of an index against the catalog, one line each; for `ragcore doctor`."""
        import numpy as np

        from ragcore.catalog import embedding_ids

        try:
            present = self.get(collection_id, space).ids()
        except RagcoreError as error:
            return [str(error)]
        with self._catalog.read() as session:
            right = embedding_ids(session, collection_id, space.id)
        missing = len(np.setdiff1d(right, present))
        extra = len(np.setdiff1d(present, right))
        if missing or extra:
            return [
                f"the index of space {space.name} lacks {missing} vectors and has {extra} too "
                "many; `ragcore doctor --repair` rebuilds it"
            ]
        return []

    def drop(self, collection: Collection) -> None:
        """Close and delete the indexes of a collection that is gone."""
        with self._lock:
            gone = [key for key in self._open if key[0] == collection.id]
            stores = [self._open.pop(key) for key in gone]
        for opened in stores:
            opened.store.close()
        try:
            self.backend.drop_collection(collection.id, _created(collection))
        except VectorsUnavailable as error:
            log.warning("the vectors of a deleted collection are left behind: %s", error)

    def close(self) -> None:
        """Save what changed and close everything."""
        with self._lock:
            opened, self._open = self._open, {}
        for one in opened.values():
            with one.lock:
                self._save(one)
                one.store.close()
        self.backend.close()

    def key(self, collection_id: int, space: SpaceRow) -> StoreKey:
        with self._catalog.read() as session:
            collection = session.get_one(Collection, collection_id)
        return StoreKey(collection_id, _created(collection), space.id, space.name, space.dimension)

    # --- opening and catching up ---------------------------------------------

    def _load(self, collection_id: int, space: SpaceRow) -> _Open:
        key = self.key(collection_id, space)
        try:
            return self._opened(key)
        except CorruptStoreError as error:
            log.warning("%s; rebuilding it now", error)
            self.backend.drop(key)
            return self._opened(key)

    def _opened(self, key: StoreKey) -> _Open:
        from ragcore.catalog import count_embeddings

        with self._catalog.read() as session:
            expected = count_embeddings(session, key.collection_id, key.space_id)
        store = self.backend.open(
            key, expected=expected, lookup=lambda ids: self._lookup(key.space_id, ids)
        )
        return _Open(key, store, _number(store.saved_tag))

    def _lookup(self, space_id: int, ids: IdArray) -> tuple[IdArray, FloatArray]:
        """The vectors of those of the ids that have one."""
        from ragcore.catalog import load_embeddings

        with self._catalog.read() as session:
            return _joined(load_embeddings(session, space_id, ids))

    def _catch_up(self, opened: _Open) -> None:
        newest = self._last_change(opened.key)
        if newest == opened.seq and not opened.store.in_doubt:
            return
        if not opened.store.shared:
            self._advance(opened)
            return
        opened.seq = _number(opened.store.saved_tag)  # another process may have been here
        if newest == opened.seq:
            return
        with exclusive(self._catalog.engine, _turn(opened.key)):
            opened.seq = _number(opened.store.saved_tag)
            self._advance(opened)
            self._save(opened)

    def _advance(self, opened: _Open) -> None:
        """Make all changes since `opened.seq`."""
        from ragcore.catalog import changes_since, last_change

        collection_id, space_id = opened.key.collection_id, opened.key.space_id
        with self._catalog.read() as session:
            newest = last_change(session, collection_id, space_id)
            if newest < opened.seq or not opened.store.count():
                # Another catalog, or a new index: take everything as it is now.
                self._fill(session, opened)
                opened.seq = newest
                return
            seq, added, removed = changes_since(session, collection_id, space_id, opened.seq)
            if len(removed):
                opened.store.remove(removed)
            if len(added):
                self._add(session, opened, added)
            opened.unsaved += len(added) + len(removed)
            opened.seq = seq

    def _last_change(self, key: StoreKey) -> int:
        """As `last_change`, by the shortest way: every search asks."""
        where = {"collection": key.collection_id, "space": key.space_id}
        with self._catalog.engine.connect() as connection:
            return int(connection.execute(_LAST_CHANGE, where).scalar() or 0)

    def _fill(self, session: Session, opened: _Open) -> None:
        from ragcore.catalog import iter_embeddings

        present = opened.store.ids()
        if len(present):
            opened.store.remove(present)
        parts = iter_embeddings(session, opened.key.collection_id, opened.key.space_id)
        if not opened.store.shared:  # at once: the index is then built once, for its final size
            parts = iter([_joined(parts)])
        for ids, vectors in parts:
            if len(ids):
                opened.store.add(ids, vectors)
                opened.unsaved += len(ids)

    @staticmethod
    def _add(session: Session, opened: _Open, ids: IdArray) -> None:
        import numpy as np

        from ragcore.catalog import load_embeddings

        found, vectors = _joined(load_embeddings(session, opened.key.space_id, np.sort(ids)))
        if len(found):
            opened.store.add(found, vectors)

    # --- saving --------------------------------------------------------------

    def _save_now_and_then(self, opened: _Open) -> None:
        due = time.monotonic() - opened.saved_at > _SAVE_EVERY
        if opened.unsaved >= _SAVE_CHANGES and due:
            self._save(opened)

    @staticmethod
    def _save(opened: _Open) -> None:
        clean = opened.store.shared or opened.store.saved_tag == str(opened.seq)
        if not opened.unsaved and clean:
            return
        opened.saved_at = time.monotonic()
        try:
            opened.store.save(str(opened.seq))
            opened.unsaved = 0
        except OSError as error:  # a full or read-only disk: it follows from the catalog
            log.warning("an index could not be saved, searches go on without: %s", error)


def _created(collection: Collection) -> str:
    return collection.created_at.astimezone(dt.UTC).isoformat(timespec="microseconds")


def _number(tag: str) -> int:
    return int(tag) if tag.isdecimal() else 0


def _turn(key: StoreKey) -> str:
    return f"vectors-{key.collection_id}-{key.space_id}"


def _joined(parts: Iterator[tuple[IdArray, FloatArray]]) -> tuple[IdArray, FloatArray]:
    import numpy as np

    found = list(parts)
    if not found:
        return np.empty(0, np.int64), np.empty((0, 0), np.float32)
    return np.concatenate([one[0] for one in found]), np.concatenate([one[1] for one in found])
