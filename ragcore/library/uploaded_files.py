"""Files uploaded ahead of their collection, as OpenAI's API does: each belongs to its uploader."""

from __future__ import annotations

import hashlib
import json
import re
import secrets
import shutil
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from ragcore.catalog import Permit, permits
from ragcore.errors import TooLarge, UsageError
from ragcore.files import private_folder, replace_private
from ragcore.ingest import safe_name
from ragcore.library.core import Core
from ragcore.library.scopes import scoped

if TYPE_CHECKING:
    from ragcore.library.jobs import Jobs

_ID = re.compile(r"file-[0-9a-f]{24}")
_DAYS = 7  # that a file waits for its collection
_MOST = 1000  # files of one uploader
_RECORD = "attached.json"


@dataclass(frozen=True, slots=True)
class UploadedFile:
    """A file that waits, or was put into collections. `created_at` is seconds since 1970.

    `attached` is job and path by the number of the collection.
    """

    id: str
    name: str
    bytes: int
    created_at: int
    attached: Mapping[int, tuple[int, str]]


@scoped
class UploadedFiles:
    """Files of whoever asks; those of others do not exist for them.

    A file is deleted a week after its upload; what it became in collections stays.
    """

    def __init__(self, core: Core, jobs: Jobs, permit: Permit | None = None) -> None:
        self._core, self._jobs, self._permit = core, jobs, permit

    def add(self, name: str, stream: BinaryIO) -> UploadedFile:
        """Keep a file. Raises TooLarge above the upload limit or the uploader's quota."""
        folder = self._folder()
        private_folder(private_folder(folder.parent) / folder.name)
        self._expire(folder)
        there = self.list()
        settings = self._core.settings
        limit = settings.ui_upload_mb * 2**20
        if settings.upload_quota_key_mb:
            waiting = sum(one.bytes for one in there if not one.attached)
            limit = min(limit, settings.upload_quota_key_mb * 2**20 - waiting)
        if len(there) >= _MOST:
            raise TooLarge(f"{_MOST} files are waiting: delete some, or put them into collections")
        file_id = f"file-{secrets.token_hex(12)}"
        target = private_folder(folder / file_id) / safe_name(name)
        try:
            with target.open("wb") as out:
                written = 0
                while block := stream.read(2**20):
                    written += len(block)
                    if written > limit:
                        raise TooLarge(f"{name} is larger than {max(0, limit) / 2**20:.0f} MiB")
                    out.write(block)
        except BaseException:
            shutil.rmtree(folder / file_id, ignore_errors=True)
            raise
        return self.get(file_id)

    def list(self) -> Sequence[UploadedFile]:
        """The newest first."""
        folder = self._folder()
        if not folder.is_dir():
            return []
        found = [self._read(path) for path in folder.iterdir() if _ID.fullmatch(path.name)]
        return sorted((one for one in found if one), key=lambda one: (-one.created_at, one.id))

    def get(self, file_id: str) -> UploadedFile:
        """Raises UsageError for a file that is not there, or another's."""
        found = self._read(self._folder() / file_id) if _ID.fullmatch(file_id) else None
        if found is None:
            raise UsageError(f"there is no file {file_id[:60]!r}")
        return found

    def path(self, file_id: str) -> Path:
        """The file itself. Errors as of `get`."""
        return self._folder() / file_id / self.get(file_id).name

    def remove(self, file_id: str) -> None:
        """Delete a file; what it became in collections stays. Errors as of `get`."""
        self.get(file_id)
        shutil.rmtree(self._folder() / file_id)

    def attach(self, file_ids: Sequence[str], *, collection: str) -> int:
        """Put files into a collection and ingest them; return the job's number.

        Errors as of `get` and of `Jobs.start_upload`.
        """
        with ExitStack() as stack:
            given = [
                (self.get(one).name, stack.enter_context(self.path(one).open("rb")))
                for one in file_ids
            ]
            job, paths = self._jobs.start_upload(given, collection=collection)
        number = self._core.catalog.collection(collection).id
        for one, path in zip(file_ids, paths, strict=True):
            record = {**self.get(one).attached, number: (job, str(path))}
            replace_private(self._folder() / one / _RECORD, json.dumps(record))
        return job

    def _folder(self) -> Path:
        """The folder of whoever asks; `add` makes it."""
        owner = hashlib.sha256(permits.uploader().encode()).hexdigest()[:16]
        return self._core.settings.home / "files" / owner

    def _read(self, folder: Path) -> UploadedFile | None:
        try:
            record = folder / _RECORD
            attached = json.loads(record.read_text("utf-8")) if record.exists() else {}
            [path] = [one for one in folder.iterdir() if one.name != _RECORD]
            facts = path.stat()
        except (OSError, ValueError):  # being written or deleted now
            return None
        return UploadedFile(
            folder.name,
            path.name,
            facts.st_size,
            int(facts.st_mtime),
            {int(number): (int(job), str(where)) for number, (job, where) in attached.items()},
        )

    def _expire(self, folder: Path) -> None:
        for path in folder.iterdir():
            found = self._read(path)
            if found and found.created_at < time.time() - _DAYS * 86400:
                shutil.rmtree(path, ignore_errors=True)
