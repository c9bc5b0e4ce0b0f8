"""The vector indexes of all collections, kept in step with the catalogue.

One folder per collection and space under `settings.indexes`. The catalogue's log of changes
says what an index has yet to learn; the number of the last change that an index holds is saved
with it. An index that is missing, damaged or too far behind is made anew from the catalogue.
"""

from __future__ import annotations

import logging
import re
import shutil
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import text

from ragcore.catalog import Catalog
from ragcore.catalog.models import SpaceRow
from ragcore.settings import Settings

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from ragcore.types import IdArray
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

    store: VectorStore
    seq: int
    unsaved: int = 0
    saved_at: float = field(default_factory=time.monotonic)
    lock: threading.RLock = field(default_factory=threading.RLock)


class Stores:
    """Opens, updates and saves the vector stores of one home. Safe to share between threads.

    Processes do not need to agree on anything: each brings its own copy up to date from the
    catalogue, and whichever saves last leaves a whole, correct index behind.
    """

    def __init__(self, catalog: Catalog, settings: Settings) -> None:
        self._catalog = catalog
        self._settings = settings
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
            self._catch_up(opened, collection_id, space)
            self._save_now_and_then(opened)
        return opened.store

    def refresh(self, collection_id: int) -> None:
        """Bring every active index of a collection up to date and save it; for after an ingest."""
        for modality in ("text", "image"):
            space = self._catalog.active_space(collection_id, modality)
            if space is None:
                continue
            self.get(collection_id, space)
            opened = self._open[collection_id, space.id]
            with opened.lock:
                self._save(opened)

    def rebuild(self, collection_id: int, space: SpaceRow) -> VectorStore:
        """Make an index anew from the catalogue's embeddings, and save it."""
        key = (collection_id, space.id)
        with self._lock:
            old = self._open.pop(key, None)
        if old is not None:
            old.store.close()
        shutil.rmtree(self.folder(collection_id, space), ignore_errors=True)
        store = self.get(collection_id, space)
        self._save(self._open[key])
        return store

    def check(self, collection_id: int, space: SpaceRow) -> list[str]:
        """Problems of an index against the catalogue, one line each; for `ragcore doctor`."""
        import numpy as np

        from ragcore.catalog.embeddings import embedding_ids
        from ragcore.errors import RagcoreError

        try:
            store = self.get(collection_id, space)
        except RagcoreError as error:
            return [str(error)]
        with self._catalog.read() as session:
            right = embedding_ids(session, collection_id, space.id)
        held = store.ids()
        missing = len(np.setdiff1d(right, held))
        extra = len(np.setdiff1d(held, right))
        if missing or extra:
            return [
                f"the index of space {space.name} lacks {missing} vectors and has {extra} too "
                "many; `ragcore doctor --repair` rebuilds it"
            ]
        return []

    def drop(self, collection_id: int) -> None:
        """Close and delete the indexes of a collection that is gone."""
        with self._lock:
            gone = [key for key in self._open if key[0] == collection_id]
            stores = [self._open.pop(key) for key in gone]
        for opened in stores:
            opened.store.close()
        shutil.rmtree(self._settings.indexes / str(collection_id), ignore_errors=True)

    def close(self) -> None:
        """Save what changed and close everything."""
        with self._lock:
            opened, self._open = self._open, {}
        for one in opened.values():
            with one.lock:
                try:
                    self._save(one)
                except OSError as error:  # it is made again from the catalogue
                    log.warning("an index could not be saved: %s", error)
                one.store.close()

    def folder(self, collection_id: int, space: SpaceRow) -> Path:
        safe = re.sub(r"[^\w.@-]+", "_", space.name)[-80:]
        return self._settings.indexes / str(collection_id) / f"{space.id}-{safe}"

    # --- opening and catching up ---------------------------------------------

    def _load(self, collection_id: int, space: SpaceRow) -> _Open:
        from ragcore.vectors import CorruptStoreError

        folder = self.folder(collection_id, space)
        try:
            return self._opened(folder, space.dimension)
        except CorruptStoreError as error:
            log.warning("%s; rebuilding it now", error)
            shutil.rmtree(folder, ignore_errors=True)
            return self._opened(folder, space.dimension)

    def _opened(self, folder: Path, dimension: int) -> _Open:
        from ragcore.vectors.faiss_store import FaissStore

        store = FaissStore(folder, dimension, device=self._settings.device)
        seq = int(store.saved_tag) if store.saved_tag.isdecimal() else 0
        return _Open(store, seq)

    def _catch_up(self, opened: _Open, collection_id: int, space: SpaceRow) -> None:
        from ragcore.catalog.embeddings import changes_since, last_change

        if self._last_change(collection_id, space) == opened.seq:
            return
        with self._catalog.read() as session:
            newest = last_change(session, collection_id, space.id)
            if newest < opened.seq or not opened.store.count():
                # Another catalogue, or a new index: take everything as it is now.
                self._fill(session, opened, collection_id, space)
                opened.seq = newest
                return
            seq, added, removed = changes_since(session, collection_id, space.id, opened.seq)
            if len(removed):
                opened.store.remove(removed)
            if len(added):
                self._add(session, opened, space.id, added)
            opened.unsaved += len(added) + len(removed)
            opened.seq = seq

    def _last_change(self, collection_id: int, space: SpaceRow) -> int:
        """As `last_change`, by the shortest way: every search asks."""
        where = {"collection": collection_id, "space": space.id}
        with self._catalog.engine.connect() as connection:
            return int(connection.execute(_LAST_CHANGE, where).scalar() or 0)

    def _fill(self, session: Session, opened: _Open, collection_id: int, space: SpaceRow) -> None:
        import numpy as np

        from ragcore.catalog.embeddings import iter_embeddings

        held = opened.store.ids()
        if len(held):
            opened.store.remove(held)
        parts = list(iter_embeddings(session, collection_id, space.id))
        if parts:  # at once: the index is then built once, for its final size
            ids = np.concatenate([part[0] for part in parts])
            vectors = np.concatenate([part[1] for part in parts])
            opened.store.add(ids, vectors)
            opened.unsaved += len(ids)

    @staticmethod
    def _add(session: Session, opened: _Open, space_id: int, ids: IdArray) -> None:
        import numpy as np

        from ragcore.catalog.embeddings import load_embeddings

        parts = list(load_embeddings(session, space_id, np.sort(ids)))
        if parts:
            opened.store.add(
                np.concatenate([part[0] for part in parts]),
                np.concatenate([part[1] for part in parts]),
            )

    # --- saving --------------------------------------------------------------

    def _save_now_and_then(self, opened: _Open) -> None:
        due = time.monotonic() - opened.saved_at > _SAVE_EVERY
        if opened.unsaved >= _SAVE_CHANGES and due:
            self._save(opened)

    @staticmethod
    def _save(opened: _Open) -> None:
        if opened.unsaved or opened.store.saved_tag != str(opened.seq):
            opened.store.save(str(opened.seq))
            opened.unsaved, opened.saved_at = 0, time.monotonic()
