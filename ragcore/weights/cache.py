"""The weights cache: one finished folder per entry, made atomically, one writer at a time.

<cache>/<name>/<key>/…            finished, with a manifest of sizes and checksums
<cache>/.partial/<name>/…         being made; left over after a crash, reused or cleared
<cache>/.locks/<name>.lock        held by the process that makes it
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ragcore.errors import ModelUnavailable
from ragcore.weights.hashing import sha256_of
from ragcore.weights.providers.base import Reporter
from ragcore.weights.registry import Entry

MANIFEST = ".manifest.json"
_READABLE = 0o555


@dataclass(frozen=True, slots=True)
class CachedFile:
    """One finished file: path within the folder, bytes, SHA-256."""

    path: str
    size: int
    sha256: str


class WeightCache:
    """Finished folders below `root`. Reading needs no lock and no write access."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def folder(self, entry: Entry) -> Path:
        return self._root / entry.name / entry.key

    def whole(self, entry: Entry) -> bool:
        """Whether the folder is finished and every file has its recorded size."""
        folder = self.folder(entry)
        try:
            return all((folder / f.path).stat().st_size == f.size for f in read_manifest(folder))
        except (OSError, ValueError, KeyError):
            return False

    def versions(self, name: str) -> list[Path]:
        """All folders of this name, of older registries as well."""
        return sorted(p for p in (self._root / name).glob("*") if p.is_dir())

    @contextmanager
    def writing(self, entry: Entry, report: Reporter) -> Iterator[Path]:
        """Hold the entry's lock and yield its work folder; waiting can be cancelled.

        Raises ModelUnavailable if the cache cannot be written.
        """
        from filelock import FileLock, Timeout

        work = self._root / ".partial" / entry.name
        try:
            (self._root / ".locks").mkdir(parents=True, exist_ok=True)
            work.parent.mkdir(exist_ok=True)
            lock = FileLock(self._root / ".locks" / f"{entry.name}.lock")
            while True:
                try:
                    lock.acquire(timeout=0.25)
                    break
                except Timeout:
                    report.bytes("wait for another process", 0, entry.download_size)
        except OSError as error:
            raise ModelUnavailable(
                f"{entry.name}: the weights cache {self._root} cannot be written "
                f"({error.strerror}); set RAGCORE_WEIGHTS_CACHE to a folder of yours"
            ) from error
        try:
            work.mkdir(exist_ok=True)
            yield work
        finally:
            lock.release()

    def check_space(self, entry: Entry) -> None:
        """Raise ModelUnavailable unless the disk has room for download and result."""
        wanted = 2 * entry.download_size + entry.disk_size
        free = shutil.disk_usage(self._root).free
        if free < wanted:
            raise ModelUnavailable(
                f"{entry.name}: needs {wanted / 1e6:.0f} MB in {self._root}, "
                f"{free / 1e6:.0f} MB are free; make room or set RAGCORE_WEIGHTS_CACHE"
            )

    def publish(self, entry: Entry, made: Path, report: Reporter) -> Path:
        """Record checksums in `made`, flush it to disk and rename it into its place."""
        files = sorted(path for path in made.rglob("*") if path.is_file())
        total = sum(path.stat().st_size for path in files)
        done, recorded = 0, []
        for path in files:
            size = path.stat().st_size
            path.chmod(path.stat().st_mode | 0o444)  # some writers make private files
            recorded.append(CachedFile(path.relative_to(made).as_posix(), size, sha256_of(path)))
            _fsync(path)
            done += size
            report.bytes("check", done, total)
        write_manifest(made, entry, recorded)
        target = self.folder(entry)
        target.parent.mkdir(parents=True, exist_ok=True)
        for folder in (p for p in made.rglob("*") if p.is_dir()):
            _fsync(folder)
            folder.chmod(folder.stat().st_mode | _READABLE)
        for folder in (made, target.parent):  # weights are no secret: users may share a cache
            folder.chmod(folder.stat().st_mode | _READABLE)
        _fsync(made)
        if target.exists():  # damaged: `whole` said no, and we hold the lock
            shutil.rmtree(target)
        made.rename(target)
        _fsync(target.parent)
        return target


def read_manifest(folder: Path) -> list[CachedFile]:
    """What is recorded of a finished folder. OSError or ValueError if there is no record."""
    data = json.loads((folder / MANIFEST).read_text("utf-8"))
    return [CachedFile(f["path"], f["size"], f["sha256"]) for f in data["files"]]


def write_manifest(folder: Path, entry: Entry, files: list[CachedFile]) -> None:
    """Write an entry's licenses, source and checksums beside its files."""
    data = {
        "name": entry.name,
        "license": entry.license,
        "training_data": entry.training_data,
        "source": entry.repo or f"{entry.package} {entry.version}".strip(),
        "converted": entry.convert,
        "files": [{"path": f.path, "size": f.size, "sha256": f.sha256} for f in files],
    }
    path = folder / MANIFEST
    path.write_text(json.dumps(data, indent=1), "utf-8")
    _fsync(path)


def _fsync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
