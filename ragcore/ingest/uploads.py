"""Files that came through the browser: kept under the home folder, a folder a collection."""

from __future__ import annotations

import re
import shutil
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import BinaryIO

from ragcore.catalog import Catalog, permits
from ragcore.errors import RagcoreError, UsageError
from ragcore.private_files import private_folder
from ragcore.settings import Settings

# Control characters and bidirectional marks too: no name of ours steers a terminal or misleads.
_UNSAFE = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069/\\:*?\"<>|]+"
)


class Uploads:
    """Keeps uploaded files. A file of a name that is there replaces it only if it is the same."""

    def __init__(self, catalog: Catalog, settings: Settings) -> None:
        self._catalog = catalog
        self._settings = settings

    def folder(self, collection: str) -> Path:
        """Where a collection's uploads are; the collection is made if it is new."""
        row = self._catalog.create_collection(collection, exist_ok=True)
        return self._settings.uploads / str(row.id)

    @permits.verb("write")
    def save(self, collection: str, files: Sequence[tuple[str, BinaryIO]]) -> list[Path]:
        """Store files given as (name, open file); return their paths.

        Raises UsageError for a file above the upload limit.
        """
        limit = self._settings.ui_upload_mb * 2**20
        folder = self.folder(collection)
        return [store_file(folder, safe_name(name), file, limit) for name, file in files]

    def discard(self, paths: Iterable[str | Path]) -> int:
        """Delete those of these files that are uploads; return how many. Others are left."""
        root = self._settings.uploads.resolve()
        gone = 0
        for path in map(Path, paths):
            if path.resolve().is_relative_to(root) and path.is_file():
                path.unlink()
                gone += 1
        return gone

    def drop(self, collection_id: int) -> None:
        """Delete all uploads of a collection that is gone."""
        shutil.rmtree(self._settings.uploads / str(collection_id), ignore_errors=True)


def store_file(folder: Path, name: str, file: BinaryIO, limit: int) -> Path:
    """Copy an open file into `folder`, which is made if it is new, under `name` or one like it.

    Raises UsageError above `limit` bytes, RagcoreError if the disk refuses.
    """
    file.seek(0, 2)
    if file.tell() > limit:
        raise UsageError(f"{name} is larger than {limit // 2**20} MiB (setting ui_upload_mb)")
    file.seek(0)
    try:
        private_folder(folder)
        target = _free_name(folder, name, file)
        with target.open("wb") as out:
            target.chmod(0o600)
            shutil.copyfileobj(file, out, 2**20)
    except OSError as error:
        raise RagcoreError(f"the upload cannot be kept: {error.strerror}") from error
    return target


def safe_name(name: str) -> str:
    """A file name that stays in its folder, hidden from nobody, at most 150 bytes long."""
    base = unicodedata.normalize("NFC", name).replace("\\", "/").rsplit("/", 1)[-1]
    base = _UNSAFE.sub("_", base).strip(" .") or "file"
    stem, dot, suffix = base.rpartition(".")
    if not dot or len(suffix) > 10:
        stem, suffix = base, ""
    encoded = stem.encode("utf-8", "replace")[: 150 - len(suffix)]
    return encoded.decode("utf-8", "ignore") + (f".{suffix}" if suffix else "")


def _free_name(folder: Path, name: str, file: BinaryIO) -> Path:
    """`name`, or "name (2)" if another file has it. The same content keeps its name."""
    target = folder / name
    number = 1
    while target.exists() and not _same(target, file):
        number += 1
        target = folder / f"{Path(name).stem} ({number}){Path(name).suffix}"
    return target


def _same(path: Path, file: BinaryIO) -> bool:
    try:
        file.seek(0)
        with path.open("rb") as kept:
            while True:
                left, right = kept.read(2**20), file.read(2**20)
                if left != right:
                    return False
                if not left:
                    return True
    finally:
        file.seek(0)
