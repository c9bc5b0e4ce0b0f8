"""First stage: which files there are, of all sources that are named."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from ragcore.catalog import FileState
from ragcore.errors import Cancelled, RagcoreError, UsageError
from ragcore.extensions import scheme_of
from ragcore.redaction import redact
from ragcore.sources import (
    LocalSource,
    Skipped,
    Source,
    SourceItem,
    is_remote,
    open_source,
)
from ragcore.types import FileFailure

if TYPE_CHECKING:
    from ragcore.settings import Settings

_LONGEST_NAME = 255  # bytes of a file's name, as file systems allow
_WEB = ("http", "https")
UNKNOWN_SIZE = -1  # of a file that its source has not measured


@dataclass(slots=True)
class Discovered:
    """What the sources list, by location.

    `roots` are the folders and remote sources that were listed whole. `remote` says where to
    fetch a file from. `links` counts the links that lead out of what was named, `skipped` is what
    sources passed over for other reasons, and `stale` the remote locations, skipped or failed, at
    or below which nothing is known to be gone.
    """

    files: dict[str, FileState] = field(default_factory=dict)
    remote: dict[str, tuple[Source, SourceItem]] = field(default_factory=dict)
    roots: list[str] = field(default_factory=list)
    failed: list[FileFailure] = field(default_factory=list)
    skipped: list[FileFailure] = field(default_factory=list)
    links: int = 0
    stale: set[str] = field(default_factory=set)

    def has_lost(self, location: str) -> bool:
        """Whether a document's file is not there any more, as far as this listing shows."""
        if location in self.files:
            return False
        if not is_remote(location):
            return not os.path.lexists(location)
        return self.covers(location) and self.stale.isdisjoint(_at_and_above(location))

    def covers(self, location: str) -> bool:
        """Whether a location is in one of the roots."""
        return any(is_below(location, root) for root in self.roots)


def is_below(location: str, root: str) -> bool:
    """Whether a location is `root`, or in a folder of that name."""
    return location == root or location.startswith(root.rstrip("/") + "/")


def _at_and_above(location: str) -> Iterator[str]:
    while location:
        yield location
        location = location.rpartition("/")[0]


def open_sources(
    paths: Iterable[str | Path],
    settings: Settings,
    options: Mapping[str, str] = MappingProxyType({}),
) -> list[Source]:
    """The sources of paths and URLs, each with the same options; none is listed yet.

    Raises UsageError for none, a path that does not exist, is not allowed, or has an unknown
    scheme, and for an option that a source does not have.
    """
    sources = [open_source(str(path), settings, options) for path in paths]
    if not sources:
        raise UsageError("nothing to ingest: name at least one file or folder")
    return sources


def discover(
    paths: Iterable[str | Path],
    settings: Settings,
    options: Mapping[str, str] = MappingProxyType({}),
    check_cancel: Callable[[], None] = lambda: None,
) -> Discovered:
    """Everything that the sources of `paths` list.

    `check_cancel`, called between two files, may raise Cancelled.

    A source that cannot be listed to its end is one entry in `failed`. Raises UsageError as
    `open_sources`, and for a URL where nothing is.
    """
    found = Discovered()
    for source in open_sources(paths, settings, options):
        taken: list[str] = []
        try:
            for item in source.list():
                if _take(item, source, found):
                    taken.append(item.location)
                check_cancel()
        except (UsageError, Cancelled):
            raise
        except Exception as error:  # of a server, or a fault of a plug-in: the others go on
            found.failed.append(FileFailure(source.location, _reason(error)))
        else:
            if getattr(source, "is_folder", True):
                found.roots.append(source.location)
            elif len(taken) == 1:  # a page, whose address leads elsewhere
                _named(taken[0], found)
    return found


def _named(location: str, found: Discovered) -> None:
    """Somebody named this very file."""
    found.files[location] = replace(found.files[location], origin="")


def _take(item: SourceItem | Skipped, source: Source, found: Discovered) -> bool:
    """Note an item; return whether it is a file."""
    if isinstance(item, Skipped):
        if is_remote(item.location) and item.kind != "dropped":
            found.stale.add(item.location)
        if item.kind == "link":
            found.links += 1
        else:
            failures = found.failed if item.kind == "failed" else found.skipped
            failures.append(FileFailure(item.location, item.reason))
        return False
    if isinstance(source, LocalSource):
        found.files[item.location] = _state(item, "")
        return True
    if problem := _problem(item, source):
        found.stale.add(item.location)
        found.failed.append(FileFailure(item.location, problem))
        return False
    before = found.files.get(item.location)
    named = item.location == source.location or (before is not None and not before.origin)
    found.files[item.location] = _state(item, "" if named else source.location)
    found.remote[item.location] = (source, item)
    return True


def _problem(item: SourceItem, source: Source) -> str:
    """What is wrong with an item of a plug-in's source; "" if nothing is."""
    web = all(scheme_of(one) in _WEB for one in (item.location, source.location))
    if not is_remote(item.location) or not (web or is_below(item.location, source.location)):
        return f"its source lists it outside of {source.location}"
    try:
        length = len(item.name.encode())
        item.location.encode()
    except UnicodeEncodeError:
        return "its source gives it a name that is not valid Unicode"
    if item.name in ("", ".", "..") or any(c in item.name for c in "/\\\0"):
        return f"its source names it {item.name[:80]!r}, which is no file name"
    if length > _LONGEST_NAME:
        return f"its source gives it a name of {length} bytes; {_LONGEST_NAME} are the most"
    numbers = (item.size, item.modified_ns)
    if not isinstance(item.version, str) or not all(
        number is None or (isinstance(number, int) and number >= 0) for number in numbers
    ):
        return "its source gives it a size, time or version of a wrong type"
    return ""


def _state(item: SourceItem, origin: str) -> FileState:
    return FileState(
        item.location,
        item.name,
        UNKNOWN_SIZE if item.size is None else item.size,
        # A file of unknown age counts as changed now: it is fetched, and its content decides.
        time.time_ns() if item.modified_ns is None else item.modified_ns,
        version=item.version,
        origin=origin,
    )


def _reason(error: Exception) -> str:
    text = " ".join(redact(str(error)).split())[:300]
    if isinstance(error, RagcoreError):
        return text
    return f"cannot be listed to its end ({type(error).__name__}: {text})"
