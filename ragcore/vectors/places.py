"""Where the vector stores of a library are: FAISS in its home folder, or Milvus."""

from __future__ import annotations

import hashlib
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

from ragcore.errors import UsageError
from ragcore.vectors.base import VectorStore

if TYPE_CHECKING:
    from ragcore.settings import Settings
    from ragcore.vectors.milvus_store import Lookup

FAISS = "faiss"  # its name on the command line; the setting `vectors` is then empty
Device = Literal["auto", "cpu", "cuda"]
_SCHEMES = ("http://", "https://", "tcp://", "unix:")


@dataclass(frozen=True, slots=True)
class StoreKey:
    """Which store: a collection of the catalogue in a space. `made`: when the collection was,
    exactly, so that libraries that share a server do not meet."""

    collection_id: int
    made: str
    space_id: int
    space: str
    dimension: int


class Place(Protocol):
    """Holds the stores of one library."""

    @property
    def shown(self) -> str:
        """What a person is told, such as "Milvus at http://…"."""
        ...

    def open(
        self, key: StoreKey, *, expected: int = 0, lookup: Lookup | None = None
    ) -> VectorStore:
        """A store as it was last saved, or a new one. Raises CorruptStoreError."""
        ...

    def drop(self, key: StoreKey) -> None:
        """Delete a store, if there is one."""
        ...

    def drop_collection(self, collection_id: int, made: str) -> None:
        """Delete all stores of a collection."""
        ...

    def close(self) -> None: ...


class FaissPlace:
    """Folders of FAISS indexes: `<folder>/<collection>/<space>`."""

    def __init__(self, folder: Path, device: Device = "cpu") -> None:
        self._folder = folder
        self._device = device

    @property
    def shown(self) -> str:
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

    def drop_collection(self, collection_id: int, made: str) -> None:
        shutil.rmtree(self._folder / str(collection_id), ignore_errors=True)

    def close(self) -> None:
        pass


class MilvusPlace:
    """Collections of a Milvus server, or of Milvus Lite in a folder."""

    def __init__(self, address: str, token: str = "") -> None:
        from ragcore.vectors.milvus_connection import MilvusConnection

        self._connection = MilvusConnection(address, token)

    @property
    def shown(self) -> str:
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

    def drop_collection(self, collection_id: int, made: str) -> None:
        for name in self._connection.read("list_collections"):
            if name.startswith(_prefix(collection_id, made)):
                self._connection.write("drop_collection", name)

    def close(self) -> None:
        self._connection.close()


def milvus_name(key: StoreKey) -> str:
    """Letters, digits and underscores, as Milvus wants it."""
    return f"{_prefix(key.collection_id, key.made)}s{key.space_id}"


def _prefix(collection_id: int, made: str) -> str:
    return f"ragcore_c{collection_id}_{hashlib.sha256(made.encode()).hexdigest()[:10]}_"


def place_of(settings: Settings) -> Place:
    """The place that the settings name. Nothing is opened yet."""
    address = milvus_address(settings.vectors, settings.indexes)
    if not address:
        return FaissPlace(settings.indexes, settings.device)
    return MilvusPlace(address, settings.vectors_token)


def milvus_address(value: str, indexes: Path) -> str:
    """A Milvus URI or the absolute path of a Milvus Lite folder; "" for FAISS.

    Raises UsageError for what is neither.
    """
    if value in ("", FAISS):
        return ""
    if value.startswith(_SCHEMES):
        return value
    if "://" in value or not value.endswith(".db"):
        raise UsageError(
            f"vectors are in {FAISS}, at a Milvus address such as http://host:19530, or in a "
            f"Milvus Lite folder whose name ends in .db; {value!r} is none of these"
        )
    return str((indexes / Path(value).expanduser()).absolute())
