"""First stage: which files there are."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ragcore.catalog import FileState
from ragcore.errors import UsageError
from ragcore.types import FileFailure

# Left by systems and editors beside a person's own files.
_JUNK = frozenset({"thumbs.db", "desktop.ini", "icon\r"})


@dataclass(slots=True)
class Discovered:
    """Files found, by absolute path; `folders` were walked; what could not be looked at.

    `links` counts the symbolic links in walked folders that lead out of them.
    """

    files: dict[str, FileState] = field(default_factory=dict)
    folders: list[str] = field(default_factory=list)
    failed: list[FileFailure] = field(default_factory=list)
    links: int = 0


def discover(
    paths: Iterable[str | Path], *, allowed_roots: Sequence[Path] = (), walk: bool = True
) -> Discovered:
    """Find the regular files under `paths`; with `walk=False` only check the paths themselves.

    Hidden files, folders reached through links, and devices are passed over; so are links that
    lead out of the folder they are found in. A file that is named itself is always taken. Raises
    UsageError for a path that does not exist or lies outside `allowed_roots`.
    """
    found = Discovered()
    given = [Path(os.path.abspath(os.path.expanduser(path))) for path in paths]
    if not given:
        raise UsageError("nothing to ingest: name at least one file or folder")
    for path in given:
        if not os.path.lexists(path):
            raise UsageError(f"no such file or folder: {path}")
        check_allowed(path, allowed_roots)
    for path in given if walk else ():
        if path.is_dir():
            found.folders.append(str(path))
            for file in _walk(path, found):
                if _inside(file, allowed_roots):
                    _take(file, found)
        else:
            _take(path, found)
    return found


def check_allowed(path: Path, allowed_roots: Sequence[Path]) -> None:
    """Raises UsageError if roots are set and `path`, links followed, is under none of them."""
    if not _inside(path, allowed_roots):
        raise UsageError(f"{path} is outside the allowed folders (setting allowed_roots)")


def _inside(path: Path, allowed_roots: Sequence[Path]) -> bool:
    if not allowed_roots:
        return True
    real = path.resolve()
    return any(real.is_relative_to(root) for root in allowed_roots)


def _walk(folder: Path, found: Discovered) -> Iterator[Path]:
    real = folder.resolve()

    def leads_out(path: Path) -> bool:
        """Whether a path is a link out of the folder; such a one is counted."""
        out = path.is_symlink() and not path.resolve().is_relative_to(real)
        found.links += out
        return out

    def failed(error: OSError) -> None:
        found.failed.append(FileFailure(str(error.filename), f"cannot be listed: {error.strerror}"))

    for base, folders, files in os.walk(folder, onerror=failed):
        folders[:] = sorted(
            name for name in folders if not name.startswith(".") and not leads_out(Path(base, name))
        )
        for name in sorted(files):
            if not passed_over(name) and not leads_out(path := Path(base, name)):
                yield path


def passed_over(name: str) -> bool:
    """Whether a file of this name in a folder is hidden, or left there by a system or editor."""
    return name.startswith((".", "~$")) or name.lower() in _JUNK


def _take(path: Path, found: Discovered) -> None:
    name = str(path)
    try:
        name.encode()
        info = path.stat()
    except UnicodeEncodeError:
        shown = name.encode(errors="replace").decode()
        found.failed.append(FileFailure(shown, "its name is not valid UTF-8: rename it"))
        return
    except OSError as error:
        found.failed.append(FileFailure(name, f"cannot be looked at: {error.strerror}"))
        return
    if stat.S_ISREG(info.st_mode):
        found.files[name] = FileState(name, path.name, info.st_size, info.st_mtime_ns)
