"""Files and folders of this computer: the source of paths, and of `file://` URLs."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import unquote, urlsplit

from ragcore.errors import UnreadableFile, UsageError
from ragcore.sources.contract import Skipped, SourceContext, SourceItem

# Left by systems and editors beside a person's own files.
_JUNK = frozenset({"thumbs.db", "desktop.ini", "icon\r"})


class LocalSource:
    """A file, or the regular files in a folder and its sub-folders. Locations are their paths.

    Hidden files, folders reached through links, and devices are passed over; so are links that
    lead out of the folder they are found in (`Skipped`). A file that is named itself is always
    taken. With `allowed_roots` nothing outside of these is listed.
    """

    def __init__(self, path: str | Path, *, allowed_roots: Sequence[Path] = ()) -> None:
        """Raises UsageError for a path that does not exist or lies outside `allowed_roots`."""
        self._path = Path(os.path.abspath(os.path.expanduser(path)))
        self._allowed_roots = allowed_roots
        if not os.path.lexists(self._path):
            raise UsageError(f"no such file or folder: {self._path}")
        check_allowed(self._path, allowed_roots)

    @property
    def location(self) -> str:
        return str(self._path)

    @property
    def is_folder(self) -> bool:
        return self._path.is_dir()

    def list(self) -> Iterator[SourceItem | Skipped]:
        if not self._path.is_dir():
            yield from _looked_at(self._path)
            return
        for found in self._walk():
            if isinstance(found, Skipped):
                yield found
            elif _inside(found, self._allowed_roots):
                yield from _looked_at(found)

    def fetch(self, item: SourceItem, folder: Path, *, most_bytes: int) -> Path:
        """The file itself: nothing is copied."""
        path = Path(item.location)
        try:
            size = path.stat().st_size
        except OSError as error:
            raise UnreadableFile(f"cannot be read: {error.strerror}") from error
        if size > most_bytes:
            raise UnreadableFile(f"it has {size:,} bytes; at most {most_bytes:,} are read")
        return path

    def _walk(self) -> Iterator[Path | Skipped]:
        real = self._path.resolve()
        skipped: list[Skipped] = []

        def leads_out(path: Path) -> bool:
            """Whether a path is a link out of the folder; it is reported."""
            out = path.is_symlink() and not path.resolve().is_relative_to(real)
            if out:
                skipped.append(Skipped(str(path), "a link that leads out of its folder", "link"))
            return out

        def failed(error: OSError) -> None:
            reason = f"cannot be listed: {error.strerror}"
            skipped.append(Skipped(str(error.filename), reason, "failed"))

        for base, folders, files in os.walk(self._path, onerror=failed):
            folders[:] = sorted(
                name
                for name in folders
                if not name.startswith(".") and not leads_out(Path(base, name))
            )
            for name in sorted(files):
                if not passed_over(name) and not leads_out(path := Path(base, name)):
                    yield path
            yield from skipped
            skipped.clear()
        yield from skipped


def local(url: str, context: SourceContext) -> LocalSource:
    """A path, or `file:///path`. Raises UsageError for the files of another computer."""
    context.check_options()
    path = url
    if url.lower().startswith("file://"):
        parts = urlsplit(url)
        if parts.netloc not in ("", "localhost"):
            raise UsageError(f"{url} is on another computer: write file:///path for one of this")
        path = unquote(parts.path)
    return LocalSource(path, allowed_roots=context.settings.readable_roots)


def check_allowed(path: Path, allowed_roots: Sequence[Path]) -> None:
    """Raises UsageError if roots are set and `path`, links followed, is under none of them."""
    if not _inside(path, allowed_roots):
        raise UsageError(f"{path} is outside the allowed folders (setting allowed_roots)")


def passed_over(name: str) -> bool:
    """Whether a file of this name in a folder is hidden, or left there by a system or editor."""
    return name.startswith((".", "~$")) or name.lower() in _JUNK


def _inside(path: Path, allowed_roots: Sequence[Path]) -> bool:
    if not allowed_roots:
        return True
    real = path.resolve()
    return any(real.is_relative_to(root) for root in allowed_roots)


def _looked_at(path: Path) -> Iterator[SourceItem | Skipped]:
    """The item of a regular file; nothing for a device, pipe or socket."""
    name = str(path)
    try:
        name.encode()
        info = path.stat()
    except UnicodeEncodeError:
        shown = name.encode(errors="replace").decode()
        yield Skipped(shown, "its name is not valid UTF-8: rename it", "failed")
        return
    except OSError as error:
        yield Skipped(name, f"cannot be looked at: {error.strerror}", "failed")
        return
    if stat.S_ISREG(info.st_mode):
        yield SourceItem(name, path.name, info.st_size, info.st_mtime_ns)
