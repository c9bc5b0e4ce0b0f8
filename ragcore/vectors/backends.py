"""Where the vector stores of a library are: a backend, chosen by the URL scheme of the setting.

The schemes are those of the registry (`ragcore.vector_stores`): FAISS in the home folder,
Milvus, and what plug-ins add.
"""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

from ragcore import extensions
from ragcore.errors import UsageError
from ragcore.vectors.base import VectorStore

if TYPE_CHECKING:
    from ragcore.settings import Settings
    from ragcore.types import FloatArray, IdArray

    # The vectors of those of the ids that are there: (ids [n], vectors [n, d]).
    Lookup = Callable[[IdArray], tuple[IdArray, FloatArray]]

FAISS = "faiss"  # its name on the command line; the setting `vectors` is then empty
Device = Literal["auto", "cpu", "cuda"]


@dataclass(frozen=True, slots=True)
class StoreKey:
    """Which store: a collection of the catalog in a space.

    `created` is when the collection was created, to the microsecond (ISO 8601, UTC): libraries
    that share a server number their collections alike, and do not meet with it in the name.
    """

    collection_id: int
    created: str
    space_id: int
    space: str
    dimension: int


@dataclass(frozen=True, slots=True)
class VectorContext:
    """What a backend is created with besides its URL.

    `folder` is the library's folder for indexes (it may not exist yet), `device` where an index
    may compute, `token` the setting `vectors_token`.
    """

    folder: Path
    device: Device = "cpu"
    token: str = ""


class VectorBackend(Protocol):
    """Holds the stores of one library. Creating one opens nothing and connects to nothing."""

    @property
    def description(self) -> str:
        """What messages call it, without secrets, such as "Milvus at http://…"."""
        ...

    def open(
        self, key: StoreKey, *, expected: int = 0, lookup: Lookup | None = None
    ) -> VectorStore:
        """A store as it was last saved, or a new one.

        `expected` is how many vectors it will hold; `lookup` reads vectors from the catalog,
        for a backend to which that is nearer. Raises CorruptStoreError for a store that cannot
        be read: it is dropped and rebuilt from the catalog.
        """
        ...

    def drop(self, key: StoreKey) -> None:
        """Delete a store, if there is one."""
        ...

    def drop_collection(self, collection_id: int, created: str) -> None:
        """Delete all stores of a collection."""
        ...

    def close(self) -> None: ...


# What is registered for a scheme: (the whole URL, context) to a backend. Raises UsageError for a
# URL that cannot be.
VectorBackendFactory = Callable[[str, VectorContext], VectorBackend]


class FaissBackend:
    """Folders of FAISS indexes: `<folder>/<collection>/<space>`."""

    def __init__(self, folder: Path, device: Device = "cpu") -> None:
        self._folder = folder
        self._device = device

    @property
    def description(self) -> str:
        return f"FAISS in {self._folder}"

    def folder(self, key: StoreKey) -> Path:
        safe = re.sub(r"[^\w.@-]+", "_", key.space)[-80:]
        return self._folder / str(key.collection_id) / f"{key.space_id}-{safe}"

    def open(
        self, key: StoreKey, *, expected: int = 0, lookup: Lookup | None = None
    ) -> VectorStore:
        from ragcore.vectors.faiss_store import FaissStore

        return FaissStore(self.folder(key), key.dimension, device=self._device)

    def drop(self, key: StoreKey) -> None:
        shutil.rmtree(self.folder(key), ignore_errors=True)

    def drop_collection(self, collection_id: int, created: str) -> None:
        shutil.rmtree(self._folder / str(collection_id), ignore_errors=True)

    def close(self) -> None:
        pass


class MilvusBackend:
    """Collections of a Milvus server, or of Milvus Lite in a folder."""

    def __init__(self, address: str, token: str = "") -> None:
        from ragcore.vectors.milvus_connection import MilvusConnection

        self._connection = MilvusConnection(address, token)

    @property
    def description(self) -> str:
        kind = "Milvus Lite in" if self._connection.lite else "Milvus at"
        return f"{kind} {self._connection.shown}"

    def open(
        self, key: StoreKey, *, expected: int = 0, lookup: Lookup | None = None
    ) -> VectorStore:
        from ragcore.vectors.milvus_store import MilvusStore

        return MilvusStore(
            self._connection, milvus_name(key), key.dimension, expected=expected, lookup=lookup
        )

    def drop(self, key: StoreKey) -> None:
        self._connection.write("drop_collection", milvus_name(key))

    def drop_collection(self, collection_id: int, created: str) -> None:
        for name in self._connection.read("list_collections"):
            if name.startswith(_prefix(collection_id, created)):
                self._connection.write("drop_collection", name)

    def close(self) -> None:
        self._connection.close()


def milvus_name(key: StoreKey) -> str:
    """Letters, digits and underscores, as Milvus wants it."""
    return f"{_prefix(key.collection_id, key.created)}s{key.space_id}"


def _prefix(collection_id: int, created: str) -> str:
    return f"ragcore_c{collection_id}_{hashlib.sha256(created.encode()).hexdigest()[:10]}_"


def backend_of(settings: Settings) -> VectorBackend:
    """The backend that the settings name. Nothing is opened yet.

    Raises UsageError for an unknown scheme or an address that the backend does not take.
    """
    url = settings.vectors or FAISS
    word = url.partition(":")[0].lower()  # "faiss", and schemes without "//" such as unix:
    named = word in extensions.names("vector_stores")
    scheme = word if named else extensions.scheme_of(url) or "file"
    factory: VectorBackendFactory = extensions.find("vector_stores", scheme).load()
    context = VectorContext(settings.indexes, settings.device, settings.vectors_token)
    return factory(url, context)


# --- what ragcore registers ----------------------------------------------------


def faiss(url: str, context: VectorContext) -> VectorBackend:
    """The word `faiss`: indexes in the library's own folder."""
    if url != FAISS:
        raise UsageError(f"FAISS keeps its indexes in the home folder: write {FAISS}, not {url!r}")
    return FaissBackend(context.folder, context.device)


def milvus(url: str, context: VectorContext) -> VectorBackend:
    """`http://`, `https://`, `tcp://` and `unix:`: a Milvus server."""
    return MilvusBackend(url, context.token)


def milvus_lite(path: str, context: VectorContext) -> VectorBackend:
    """A path that ends in .db, relative to the folder of indexes: Milvus Lite.

    Raises UsageError for any other.
    """
    if not path.endswith(".db"):
        raise UsageError(
            f"vectors are in {FAISS}, at a Milvus address such as http://host:19530, or in a "
            f"Milvus Lite folder whose name ends in .db; {path!r} is none of these"
        )
    address = str((context.folder / Path(path).expanduser()).absolute())
    return MilvusBackend(address, context.token)
