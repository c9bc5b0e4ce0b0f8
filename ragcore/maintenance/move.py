"""Moving a library to other engines by one call, without embedding again."""

from __future__ import annotations

import time
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from ragcore.catalog import Catalog, Transferred, copy_catalog, postgres
from ragcore.errors import Cancelled, RagcoreError, UsageError
from ragcore.settings import Settings, save_setting
from ragcore.types import CancelToken, Progress, ProgressCallback
from ragcore.vectors import FAISS, backend_of

if TYPE_CHECKING:
    from ragcore.catalog import Collection, SpaceRow
    from ragcore.search import Stores
    from ragcore.vectors import VectorStore

OWN = "sqlite"  # as `database`: SQLite inside the home folder
_SAMPLE = 200  # vectors that must find themselves in the new place


@dataclass(slots=True)
class MovedVectors:
    """How many vectors each index holds, by "collection/modality"."""

    counts: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0


@dataclass(slots=True)
class Moved:
    """What was moved and where to, without passwords. `left`: what stays behind as it was."""

    database: str = ""
    catalog: Transferred | None = None
    vectors: str = ""
    indexes: MovedVectors | None = None
    left: list[str] = field(default_factory=list)


def move_library(
    settings: Settings,
    *,
    database: str | None = None,
    vectors: str | None = None,
    vectors_token: str | None = None,
    progress: ProgressCallback | None = None,
    cancel: CancelToken | None = None,
) -> Moved:
    """Move the catalog, the vector indexes or both, and use the new places from now on.

    `database`: an SQLAlchemy URL, or "sqlite"; `vectors`: "faiss", a Milvus address or a Milvus
    Lite folder. The new places are written to the settings file once everything was compared;
    the old ones stay as they were. Writers of the catalog wait meanwhile, and must be started
    again afterwards. Raises UsageError for a place that it is in already or a database that holds
    a library, RagcoreError if a place cannot be used or the copy differs, Cancelled.
    """
    if not settings.database_url and not (settings.home / "catalogue.db").is_file():
        raise UsageError(f"there is no library in {settings.home}")
    changes: dict[str, str] = {}
    if database is not None:
        changes["database_url"] = "" if database == OWN else database
    if vectors is not None:
        changes["vectors"] = "" if vectors == FAISS else vectors
        if changes["vectors"] == settings.vectors:
            raise UsageError(f"the vectors are in {backend_of(settings).description} already")
        if vectors_token is not None:
            changes["vectors_token"] = vectors_token
    wanted = settings.model_copy(update=changes)
    wanted.__dict__.pop("catalog_url", None)
    moved = Moved()
    if database is not None:
        _move_catalog(settings, wanted, moved, progress, cancel)
    if vectors is not None:
        moved.indexes = fill_indexes(wanted, progress=progress, cancel=cancel)
        moved.vectors = backend_of(wanted).description
        moved.left.append(
            f"{backend_of(settings).description} (`ragcore move --clear {_name(settings)}`)"
        )
    for name, value in changes.items():
        path = save_setting(settings.home, name, value)
        path.chmod(0o600)  # a URL or token may hold a password
    return moved


def fill_indexes(
    settings: Settings,
    *,
    progress: ProgressCallback | None = None,
    cancel: CancelToken | None = None,
) -> MovedVectors:
    """Rebuild every index from the catalog, in the place that the settings name, and check.

    The ids must be the catalog's, and vectors must find themselves. Raises RagcoreError
    otherwise, Cancelled between two indexes.
    """
    from ragcore.search import Stores

    started, done = time.monotonic(), MovedVectors()
    with closing(Catalog(settings.catalog_url)) as catalog:
        stores = Stores(catalog, settings)
        try:
            wanted = [
                (row, modality, space)
                for row in catalog.collections()
                for modality in ("text", "image")
                if (space := catalog.active_space(row.id, modality)) is not None
            ]
            for at, (row, modality, space) in enumerate(wanted):
                if cancel is not None and cancel.cancelled:
                    raise Cancelled("the move was cancelled; the settings were not changed")
                if progress is not None:
                    progress(Progress("index", at, len(wanted), current=row.name))
                done.counts[f"{row.name}/{modality}"] = _fill(stores, row, space)
        finally:
            stores.close()
    if progress is not None:
        progress(Progress("done", len(wanted), len(wanted)))
    done.seconds = time.monotonic() - started
    return done


def clear_vectors(settings: Settings, vectors: str) -> str:
    """Delete the library's indexes from a place that it no longer uses; return its name.

    Raises UsageError for the place that it uses.
    """
    other = settings.model_copy(update={"vectors": "" if vectors == FAISS else vectors})
    if other.vectors == settings.vectors:
        raise UsageError(f"the vectors are in {backend_of(settings).description}: move them first")
    from ragcore.search import Stores

    with closing(Catalog(settings.catalog_url)) as catalog:
        stores = Stores(catalog, other)
        try:
            for row in catalog.collections():
                stores.drop(row)
        finally:
            stores.close()
    return backend_of(other).description


def _move_catalog(
    settings: Settings,
    wanted: Settings,
    moved: Moved,
    progress: ProgressCallback | None,
    cancel: CancelToken | None,
) -> None:
    own = settings.home / "catalogue.db"
    made = own.with_name("catalogue.db.moving")
    if not wanted.database_url and not settings.database_url:
        raise UsageError("the catalog is in the home folder already")
    _remove(made)  # of a move that was killed
    url = wanted.database_url or f"sqlite:///{made}"
    with closing(Catalog(settings.catalog_url)) as source, closing(Catalog(url)) as target:
        moved.catalog = copy_catalog(source, target, progress=progress, cancel=cancel)
        moved.left.append(postgres.shown(source.engine.url))
        moved.database = postgres.shown(target.engine.url)
    if not wanted.database_url:
        moved.left += _put_aside(own)
        made.replace(own)
        _remove(made)
        moved.database = wanted.catalog_url


def _put_aside(own: Path) -> list[str]:
    """Rename the catalog that the library was in before it moved to a server."""
    if not own.exists():
        return []
    aside = own.with_name(f"{own.name}.before-{datetime.now(UTC):%Y%m%d-%H%M%S}")
    for suffix in ("", "-wal", "-shm"):
        old = own.with_name(own.name + suffix)
        if old.exists():
            old.replace(aside.with_name(aside.name + suffix))
    return [str(aside)]


def _remove(path: Path) -> None:
    for suffix in ("", "-wal", "-shm", ".lock"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)


def _fill(stores: Stores, row: Collection, space: SpaceRow) -> int:
    store = stores.rebuild(row.id, space)
    wrong = stores.check(row.id, space)
    if wrong:
        raise RagcoreError(f"collection {row.name!r} in {stores.backend.description}: {wrong[0]}")
    _check_search(store, row.name, stores.backend.description)
    return store.count()


def _check_search(store: VectorStore, collection: str, place: str) -> None:
    import numpy as np

    ids = store.ids()
    if not len(ids):
        return
    chosen = np.random.default_rng(0).choice(ids, min(_SAMPLE, len(ids)), replace=False)
    scores = store.search(store.vectors(chosen), 1)[0][:, 0]
    found = float((scores > 0.99).mean())
    if found < 0.95:
        raise RagcoreError(
            f"only {found:.0%} of the vectors of {collection!r} find themselves in {place}; the "
            "settings were not changed"
        )


def _name(settings: Settings) -> str:
    return settings.vectors or FAISS
