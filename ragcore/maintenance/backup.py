"""One file that holds a library, made while it is in use, and the way back.

The archive is a tar file with what cannot be made again: the catalog (a consistent snapshot by
SQLite's backup interface, which does not stop writers), uploads, images out of documents,
settings and keys. Indexes and maps follow from the catalog and are left out. Its last member is
a manifest with the checksum of every file, so that a file that was cut off is known as such.
"""

from __future__ import annotations

import ctypes
import hashlib
import io
import json
import os
import sqlite3
import tarfile
import tempfile
import tomllib
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from ragcore import __version__
from ragcore.catalog import head_revision, read_only_uri
from ragcore.errors import RagcoreError, UsageError
from ragcore.files import (
    can_write,
    partial_suffix,
    private_folder,
    remove_strays,
    storage_error,
    storing,
    strays_here,
)
from ragcore.redaction import mask_url
from ragcore.settings import Settings
from ragcore.types import Progress, ProgressCallback

FORMAT = 1
CATALOG, MANIFEST = "catalogue.db", "manifest.json"
# What follows from the rest, or belongs to running processes.
_LEFT_OUT = {
    "indexes",
    "maps",
    "fetched",
    "runs",
    CATALOG,
    f"{CATALOG}-wal",
    f"{CATALOG}-shm",
}
_BLOCK = 1 << 20
_HERE, _EXCHANGE = -100, 2  # AT_FDCWD and RENAME_EXCHANGE of Linux


@dataclass(frozen=True, slots=True)
class Archived:
    """What an archive holds: number of files, their bytes, and what could not be read."""

    path: Path
    files: int
    size: int
    missing: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SettingChange:
    """A line of `settings.toml` that a restore changes; None: it is not there. No secrets."""

    name: str
    before: str | None
    after: str | None


@dataclass(frozen=True, slots=True)
class Restored:
    """What came out of an archive.

    Number of files, their bytes, where an earlier home was put, and the settings that are others
    now.
    """

    path: Path
    files: int
    size: int
    aside: Path | None = None
    settings: tuple[SettingChange, ...] = ()


def backup(
    settings: Settings, target: Path, *, progress: ProgressCallback | None = None
) -> Archived:
    """Write the library of `settings.home` into `target` (.tar, or .tar.gz / .tgz compressed).

    The library may be in use. The file appears when it is whole, readable by its owner only.
    Raises UsageError where there is no library, or the catalog is not SQLite's.
    """
    catalog = _catalog(settings)
    target = target.expanduser().absolute()
    mode = _mode(target)
    if not target.parent.is_dir():
        raise UsageError(f"there is no folder {target.parent}")
    with storing(f"{target} was not written"):
        remove_strays(strays_here(target.parent))
        suffix = partial_suffix()
        handle, part = tempfile.mkstemp(suffix, ".ragcore-", target.parent)
        os.close(handle)  # made for its owner only
    try:
        with tempfile.TemporaryDirectory(suffix, ".ragcore-", target.parent) as folder:
            snapshot = Path(folder) / CATALOG
            _snapshot(catalog, snapshot)
            with tarfile.open(part, mode, **_level(mode)) as archive:  # type: ignore[call-overload]
                written = _write(archive, settings, snapshot, target, progress)
        os.replace(part, target)
    except OSError as error:
        if problem := storage_error(error, f"{target} was not written"):
            raise problem from error
        raise RagcoreError(f"{target} cannot be written: {error.strerror or error}") from error
    finally:
        with suppress(FileNotFoundError):
            os.unlink(part)
    return Archived(target, *written)


def restore(
    archive: Path,
    settings: Settings,
    *,
    replace: bool = False,
    check: bool = False,
    progress: ProgressCallback | None = None,
) -> Restored:
    """Put an archive's library into `settings.home`.

    A home that holds a library is refused; with `replace` it is renamed first, never deleted.
    Nothing is changed unless every file agrees with the archive's checksums, and its database is
    sound and of a schema that this ragcore knows. With `check` nothing is changed in any case.
    Raises UsageError for no archive of ours, one of a newer ragcore, or a home in the way,
    RagcoreError for a damaged one.
    """
    archive, home = archive.expanduser(), settings.home
    if settings.database_url:
        raise UsageError("a library in a database server is restored by that server's own tools")
    if not archive.is_file():
        raise UsageError(f"there is no file {archive}")
    taken = home.is_dir() and any(home.iterdir())
    if taken and not (replace or check):
        raise UsageError(
            f"{home} is not empty: give another folder by RAGCORE_HOME, or --replace to put what "
            "is there aside"
        )
    home.parent.mkdir(parents=True, exist_ok=True)
    remove_strays(strays_here(home.parent))
    with tempfile.TemporaryDirectory(partial_suffix(), ".ragcore-", home.parent) as folder:
        unpacked = Path(folder) / "home"
        private_folder(unpacked)
        files, size = _unpack(archive, unpacked, progress)
        _check_catalog(archive, unpacked / CATALOG)
        changes = _changed_settings(home, unpacked)
        aside = None
        if not check:
            if taken:
                aside = _exchange(unpacked, home)
            else:
                if home.is_dir():
                    home.rmdir()
                os.replace(unpacked, home)
    return Restored(archive, files, size, aside, changes)


def _done(progress: ProgressCallback | None) -> None:
    if progress is not None:
        progress(Progress("done", 0, 0))


# --- out ---------------------------------------------------------------------


def _catalog(settings: Settings) -> Path:
    if settings.database_url:
        raise UsageError(
            "the catalog is in a database server: back it up by pg_dump, then the folder "
            f"{settings.home} beside it (see docs/how-to/operations.md)"
        )
    path = settings.home / CATALOG
    if not path.is_file():
        raise UsageError(f"there is no library in {settings.home}")
    return path


def _reading(catalog: Path) -> str:
    """How SQLite opens the catalog to read it."""
    if can_write(catalog.parent):
        return f"{catalog.as_uri()}?mode=ro"
    return read_only_uri(catalog)


def _snapshot(catalog: Path, copy: Path) -> None:
    """All pages within one read transaction: whoever writes meanwhile goes on writing."""
    try:
        with (
            closing(sqlite3.connect(_reading(catalog), uri=True)) as source,
            closing(sqlite3.connect(copy)) as target,
        ):
            source.backup(target)
            wrong = target.execute("PRAGMA quick_check(1)").fetchone()[0]
    except sqlite3.Error as error:
        raise RagcoreError(f"the catalog cannot be copied: {error}") from error
    if wrong != "ok":
        raise RagcoreError(f"the catalog is damaged ({wrong}): run `ragcore doctor --repair`")


def _write(
    archive: tarfile.TarFile,
    settings: Settings,
    snapshot: Path,
    target: Path,
    progress: ProgressCallback | None,
) -> tuple[int, int, tuple[str, ...]]:
    files = [(CATALOG, snapshot), *kept_files(settings, target)]
    sums: dict[str, str] = {}
    missing: list[str] = []
    size = 0
    for number, (name, path) in enumerate(files):
        if progress is not None:
            progress(Progress("store", number, len(files), current=name))
        try:
            with path.open("rb") as source:
                info = archive.gettarinfo(arcname=name, fileobj=source)
                reader = _Hashing(source)
                archive.addfile(info, reader)
        except FileNotFoundError:  # removed since the snapshot was taken
            missing.append(name)
            continue
        sums[name], size = reader.sum.hexdigest(), size + info.size
    _done(progress)
    about: dict[str, Any] = {
        "format": FORMAT,
        "ragcore": __version__,
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "sha256": sums,
    }
    data = json.dumps(about, indent=1).encode()
    info = tarfile.TarInfo(MANIFEST)
    info.size = len(data)
    archive.addfile(info, io.BytesIO(data))
    return len(sums), size, tuple(missing)


def kept_files(settings: Settings, target: Path) -> Iterator[tuple[str, Path]]:
    """(name, path) of the home's files besides the catalog that cannot be made again."""
    home = settings.home
    for folder, folders, names in os.walk(home):
        here = Path(folder)
        top = here == home
        folders[:] = sorted(
            name
            for name in folders
            if not (top and name in _LEFT_OUT) and here / name != settings.weights_cache
        )
        for name in sorted(names):
            path = here / name
            if name.endswith(".lock") or (top and name in _LEFT_OUT) or path == target:
                continue
            if name.endswith(".partial") or path.is_symlink() or not path.is_file():
                continue
            yield path.relative_to(home).as_posix(), path


class _Hashing(io.RawIOBase):
    """Reads a file and keeps the checksum of what went through."""

    def __init__(self, source: IO[bytes]) -> None:
        self._source = source
        self.sum = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        data = self._source.read(size)
        self.sum.update(data)
        return data


def _mode(target: Path) -> str:
    if target.name.endswith((".tar.gz", ".tgz")):
        return "w:gz"
    if target.suffix == ".tar":
        return "w"
    raise UsageError(f"{target.name}: a backup is a .tar or a .tar.gz file")


def _level(mode: str) -> dict[str, int]:
    return {"compresslevel": 3} if mode == "w:gz" else {}  # vectors and images hardly shrink


# --- back --------------------------------------------------------------------


def _unpack(archive: Path, folder: Path, progress: ProgressCallback | None) -> tuple[int, int]:
    """Files and bytes; every file is checked against the manifest."""
    sums: dict[str, str] = {}
    manifest: dict[str, Any] | None = None
    size = 0
    try:
        with tarfile.open(archive, "r:*") as source:
            for member in source:
                if member.name == MANIFEST:
                    manifest = json.loads(_open(source, member).read())
                    continue
                if progress is not None:
                    progress(Progress("restore", len(sums), 0, current=member.name))
                sums[member.name] = _extract(source, member, folder)
                size += member.size
    except (tarfile.TarError, EOFError, OSError, ValueError) as error:
        raise RagcoreError(f"{archive} is no whole backup: {error}") from error
    _done(progress)
    if manifest is None or CATALOG not in sums:
        raise RagcoreError(f"{archive} is no whole backup of a library")
    if manifest.get("format") != FORMAT:
        raise UsageError(f"{archive} was made by a newer ragcore ({manifest.get('ragcore')})")
    if manifest.get("sha256") != sums:
        wrong = {name for name, _ in set(sums.items()) ^ set(manifest["sha256"].items())}
        raise RagcoreError(f"{archive} is damaged: {min(wrong)} differs from its checksum")
    return len(sums), size


def _check_catalog(archive: Path, catalog: Path) -> None:
    """Raises RagcoreError for a damaged database, UsageError for one of a newer ragcore."""
    try:
        with closing(sqlite3.connect(f"{catalog.as_uri()}?mode=ro&immutable=1", uri=True)) as it:
            wrong = it.execute("PRAGMA integrity_check(1)").fetchone()[0]
            broken = len(it.execute("PRAGMA foreign_key_check").fetchall())
            row = it.execute("SELECT version_num FROM alembic_version").fetchone()
    except sqlite3.Error as error:
        raise RagcoreError(f"the database in {archive} is damaged: {error}") from error
    if wrong != "ok" or broken:
        reason = wrong if wrong != "ok" else f"{broken} rows refer to rows that are not there"
        raise RagcoreError(f"the database in {archive} is damaged: {reason}")
    if row is None or row[0] > head_revision():
        raise UsageError(f"{archive} was made by a newer ragcore (schema {row and row[0]})")


def _changed_settings(home: Path, unpacked: Path) -> tuple[SettingChange, ...]:
    before, after = _settings_in(home), _settings_in(unpacked)
    return tuple(
        SettingChange(name, before.get(name), after.get(name))
        for name in sorted(before.keys() | after.keys())
        if before.get(name) != after.get(name)
    )


def _settings_in(folder: Path) -> dict[str, str]:
    """The lines of a settings file, secrets by a digest that only says whether they differ."""
    try:
        values = tomllib.loads((folder / "settings.toml").read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    shown = {}
    for name, value in values.items():
        known = Settings.model_fields.get(name)
        if known is not None and not known.repr:
            digest = hashlib.sha256(str(value).encode()).hexdigest()[:8]
            shown[name] = f"secret {digest}" if value else ""
        else:
            shown[name] = mask_url(value) if isinstance(value, str) else json.dumps(value)
    return shown


def _open(source: tarfile.TarFile, member: tarfile.TarInfo) -> IO[bytes]:
    opened = source.extractfile(member)
    if opened is None:
        raise ValueError(f"{member.name!r} is not a plain file")
    return opened


def _extract(source: tarfile.TarFile, member: tarfile.TarInfo, folder: Path) -> str:
    """Write one file below `folder`, never beside it; return its checksum."""
    path = (folder / member.name).resolve()
    if not path.is_relative_to(folder.resolve()) or not member.isreg():
        raise ValueError(f"{member.name!r} does not belong into a backup")
    private_folder(path.parent)
    digest = hashlib.sha256()
    with _open(source, member) as opened, path.open("xb") as out:
        os.chmod(path, 0o600)
        while block := opened.read(_BLOCK):
            digest.update(block)
            out.write(block)
    return digest.hexdigest()


def _exchange(unpacked: Path, home: Path) -> Path:
    """Put the unpacked home in place of the one that is there; return where that one is now.

    On Linux at once: whoever is killed meanwhile leaves one or the other in its place.
    """
    stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    aside = home.with_name(f"{home.name}.before-{stamp}")
    if aside.exists():
        raise UsageError(f"{aside} is in the way")
    os.replace(unpacked, aside)
    if not _exchange_names(aside, home):
        spare = unpacked.with_name("before")
        os.replace(home, spare)
        os.replace(aside, home)
        os.replace(spare, aside)
    return aside


def _exchange_names(one: Path, other: Path) -> bool:
    """Let two folders exchange their names in one step; False where the system cannot do that."""
    try:
        rename = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError, TypeError):
        return False
    done = rename(_HERE, os.fsencode(one), _HERE, os.fsencode(other), _EXCHANGE)
    return bool(done == 0)
