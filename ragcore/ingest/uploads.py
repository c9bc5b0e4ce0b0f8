"""Files that came through the browser: kept under the home folder, a folder a collection."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from ragcore.catalog import Catalog
from ragcore.errors import RagcoreError, TooLarge
from ragcore.files import partial_suffix, private_folder, storage_error
from ragcore.ingest.upload_ledger import UploadLedger
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
        self._ledger = UploadLedger(settings.uploads)

    def folder(self, collection: str) -> Path:
        """Where a collection's uploads are; the collection is made if it is new."""
        row = self._catalog.create_collection(collection, exist_ok=True)
        return self._settings.uploads / str(row.id)

    def save(
        self,
        collection: str,
        files: Sequence[tuple[str, BinaryIO]],
        *,
        owner: str = "",
        begin: Callable[[list[Path]], object] | None = None,
    ) -> list[Path]:
        """Store files given as (name, open file); return their paths.

        All are stored, or none; none either if `begin`, which gets the paths, raises an error.
        `owner` names who uploads them, for the quota of each key.
        Raises TooLarge for a file above the upload limit, or a request above a whole quota;
        StorageFull where a quota, or the disk, has no room for them now.
        """
        limit = self._settings.ui_upload_mb * 2**20
        sizes = [_size(name, file, limit) for name, file in files]
        folder = self.folder(collection)
        quotas = self._settings.upload_quota_mb * 2**20, self._settings.upload_quota_key_mb * 2**20
        new: list[Path] = []
        stored = []
        with self._ledger.reserve(folder.name, owner, sum(sizes), *quotas) as reservation:
            try:
                for name, file in files:
                    path, is_new = _store(folder, safe_name(name), file)
                    stored.append(path)
                    if is_new:
                        new.append(path)
                reservation.enter((path, path.stat().st_size) for path in new)
                if begin is not None:
                    begin(stored)
            except BaseException:
                for path in new:
                    path.unlink(missing_ok=True)
                raise
        return stored

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

    Raises TooLarge above `limit` bytes, RagcoreError if the disk refuses.
    """
    _size(name, file, limit)
    return _store(folder, name, file)[0]


def _size(name: str, file: BinaryIO, limit: int) -> int:
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    if size > limit:
        raise TooLarge(f"{name} is larger than {limit // 2**20} MiB (setting ui_upload_mb)")
    return size


def _store(folder: Path, name: str, file: BinaryIO) -> tuple[Path, bool]:
    """The file's path, and whether it was not there before.

    It is written beside its place and then takes a name that nobody has: of several that come at
    once each gets its own, and one that breaks off leaves nothing.
    """
    partial = ""
    try:
        private_folder(folder)
        descriptor, partial = tempfile.mkstemp(
            prefix=".", suffix=partial_suffix(), dir=folder
        )  # for its owner alone
        with os.fdopen(descriptor, "wb") as out:
            shutil.copyfileobj(file, out, 2**20)
        for target in _names(folder, name):
            if _take_name(Path(partial), target):
                return target, True
            if _same(target, file):
                return target, False
    except OSError as error:
        if problem := storage_error(error, f"{name} was not stored"):
            raise problem from error
        raise RagcoreError(f"the upload cannot be kept: {error.strerror}") from error
    finally:
        if partial:
            with suppress(FileNotFoundError):
                os.unlink(partial)
    raise RagcoreError(f"there is no free name for {name}")  # never: the names do not end


def _take_name(partial: Path, target: Path) -> bool:
    """Give a written file its name, unless something has that name already."""
    try:
        os.link(partial, target)
    except FileExistsError:
        return False
    except OSError:  # a file system without hard links
        try:
            os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        except FileExistsError:
            return False
        os.replace(partial, target)
    return True


def safe_name(name: str) -> str:
    """A file name that stays in its folder, hidden from nobody, at most 150 bytes long."""
    base = unicodedata.normalize("NFC", name).replace("\\", "/").rsplit("/", 1)[-1]
    base = _UNSAFE.sub("_", base).strip(" .") or "file"
    stem, dot, suffix = base.rpartition(".")
    if not dot or len(suffix) > 10:
        stem, suffix = base, ""
    encoded = stem.encode("utf-8", "replace")[: 150 - len(suffix)]
    return encoded.decode("utf-8", "ignore") + (f".{suffix}" if suffix else "")


def _names(folder: Path, name: str) -> Iterable[Path]:
    """`name`, then "name (2)", and so on."""
    yield folder / name
    number = 2
    while True:
        yield folder / f"{Path(name).stem} ({number}){Path(name).suffix}"
        number += 1


def _same(path: Path, file: BinaryIO) -> bool:
    file.seek(0)
    try:
        with path.open("rb") as stored:
            while True:
                left, right = stored.read(2**20), file.read(2**20)
                if left != right:
                    return False
                if not left:
                    return True
    except FileNotFoundError:  # removed in between: its name may be taken next time
        return False
