"""Files of object stores, servers and archives: whatever fsspec reaches, by URL scheme."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ragcore.errors import RagcoreError, UnreadableFile, UsageError
from ragcore.extras import require_extra
from ragcore.sources.contract import Skipped, SourceItem
from ragcore.sources.copies import write_limited
from ragcore.sources.local import passed_over

_BLOCK = 1 << 20  # bytes that are read at a time
# Names under which file systems report what changes with the content, and the time.
_VERSIONS = ("ETag", "etag", "sha", "content_md5", "CRC")
_TIMES = ("LastModified", "last_modified", "mtime", "modified", "updated", "created")


class RemoteFiles:
    """The files at or below one path of a file system of fsspec.

    Hidden files, folders and links are passed over as on this computer.
    """

    def __init__(
        self,
        scheme: str,
        root: str,
        path: str,
        connect: Callable[[], Any],
        *,
        flat: bool = False,
        one_at_a_time: bool = False,
    ) -> None:
        """`root` is what comes before the path in locations: a host, or "".

        `flat` is for stores that list everything below a path at once, `one_at_a_time` for
        connections that threads cannot share. `connect` makes the file system.
        """
        self._prefix = f"{scheme}://{root}"
        self._path = path.rstrip("/")
        self._connect, self._flat = connect, flat
        self._lock = threading.Lock()
        self._found: Any = None
        self._turn = threading.Lock() if one_at_a_time else nullcontext()

    @property
    def location(self) -> str:
        return (self._prefix + self._path).rstrip("/")

    def list(self) -> Iterator[SourceItem | Skipped]:
        system = self._system()
        system.invalidate_cache()
        try:
            info = system.info(self._path)
        except FileNotFoundError:
            raise UsageError(f"there is nothing at {self.location}") from None
        if info["type"] == "file":
            yield self._item(info)
        elif self._flat:
            for one in system.find(self._path, detail=True).values():
                yield from self._offered(one)
        else:
            yield from self._walk(system)

    def fetch(self, item: SourceItem, folder: Path, *, most_bytes: int) -> Path:
        path = item.location.removeprefix(self._prefix)
        try:
            system = self._system()
            with self._turn, system.open(path, "rb", block_size=_BLOCK) as stream:
                blocks = iter(lambda: stream.read(_BLOCK), b"")
                return write_limited(blocks, folder / "content", most_bytes)
        except FileNotFoundError:
            raise UnreadableFile("it is not there any more") from None

    def _walk(self, system: Any) -> Iterator[SourceItem | Skipped]:
        """Folder by folder; one that cannot be listed is one failure."""
        waiting = [self._path]
        while waiting:
            folder = waiting.pop()
            try:
                entries = system.ls(folder, detail=True)
            except (OSError, RagcoreError) as error:
                if folder == self._path:
                    raise
                reason = f"cannot be listed: {error}"
                yield Skipped(self._location(folder), " ".join(reason.split()), "failed")
                continue
            for entry in sorted(entries, key=lambda one: str(one["name"])):
                name = str(entry["name"]).rstrip("/")
                if entry["type"] == "directory":
                    if name.strip("/") != folder.strip("/") and not _last(name).startswith("."):
                        waiting.append(name)
                else:
                    yield from self._offered(entry)

    def _offered(self, info: dict[str, Any]) -> Iterator[SourceItem | Skipped]:
        name = str(info["name"])
        if info["type"] == "link":
            yield Skipped(self._location(name), "a link", "link")
            return
        below = self._location(name).removeprefix(self.location).strip("/").split("/")
        if info["type"] != "file" or name.endswith("/"):
            return  # devices, and the markers by which stores have empty folders
        if not passed_over(below[-1]) and not any(part.startswith(".") for part in below[:-1]):
            yield self._item(info)

    def _item(self, info: dict[str, Any]) -> SourceItem:
        size = info.get("size")
        version = next((str(info[key]) for key in _VERSIONS if info.get(key)), "")
        return SourceItem(
            self._location(str(info["name"])),
            _last(str(info["name"])),
            int(size) if isinstance(size, int) and size >= 0 else None,
            next((found for key in _TIMES if (found := _ns(info.get(key))) is not None), None),
            version.strip('"'),
        )

    def _location(self, name: str) -> str:
        """The location of what the file system calls `name`."""
        return self._prefix + self._path_of(name)

    def _path_of(self, name: str) -> str:
        name = name.rstrip("/")
        rooted = self._path.startswith("/") or (not self._path and not self._flat)
        return f"/{name.lstrip('/')}" if rooted else name.lstrip("/")

    def _system(self) -> Any:
        with self._lock:
            if self._found is None:
                self._found = self._connect()
            return self._found


def split(url: str) -> tuple[str, str]:
    """(host or bucket, path with its slash) of SCHEME://HOST/PATH, as they are written.

    Raises UsageError where there is no host, for a password in it, and for `..` in the path.
    """
    host, slash, path = url.partition("://")[2].partition("/")
    path = (slash + path).rstrip("/")
    if not host:
        raise UsageError(f"{url} names no bucket or host: write SCHEME://NAME/PATH")
    if "@" in host:
        raise UsageError(
            "a URL with a user name or password in it is not taken: write them into the "
            "credentials file (docs/how-to/sources.md)"
        )
    if ".." in path.split("/") or any(ord(c) < 32 for c in url):
        raise UsageError(f"{url!r} has a part that is not taken")
    return host, path


def need(module: str, package: str, what: str) -> None:
    """Raise MissingExtra unless what a scheme needs is installed."""
    from importlib.util import find_spec

    from ragcore.errors import MissingExtra

    require_extra("remote", what)
    if find_spec(module) is None:
        raise MissingExtra(f"{what} need {package}, not installed here: pip install {package}")


def _last(name: str) -> str:
    return name.rstrip("/").rpartition("/")[2]


def _ns(value: Any) -> int | None:
    """Nanoseconds since 1970 of a time as file systems report it; None for what is none."""
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            return None
    if isinstance(value, datetime):
        if value.tzinfo is None:
            value = value.replace(tzinfo=UTC)
        return max(0, int(value.timestamp() * 1_000_000)) * 1000
    if isinstance(value, int | float) and not isinstance(value, bool):
        return max(0, int(value * 1_000_000)) * 1000
    return None
