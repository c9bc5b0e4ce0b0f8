"""Where files come from: folders of this computer, and what plug-ins add, by URL scheme."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

from ragcore import extensions
from ragcore.errors import UsageError
from ragcore.sources.contract import Skipped, Source, SourceContext, SourceFactory, SourceItem
from ragcore.sources.copies import Copies, write_limited
from ragcore.sources.local import LocalSource, check_allowed, passed_over

if TYPE_CHECKING:
    from ragcore.settings import Settings

LOCAL = "file"  # the scheme of paths
# Schemes that name servers; others may read this computer's files, as those of archives do.
_ELSEWHERE = frozenset(
    {
        "http",
        "https",
        "s3",
        "gs",
        "az",
        "github",
        "sftp",
        "webdav",
        "webdav+http",
        "imaps",
        "git+https",
    }
)


def is_remote(location: str) -> bool:
    """Whether a location is a URL of another source than the files of this computer."""
    return extensions.scheme_of(location) not in ("", LOCAL)


def is_elsewhere(location: str) -> bool:
    """Whether a location certainly leads to another computer, and opens no file of this one."""
    return extensions.scheme_of(location) in _ELSEWHERE


def open_source(
    url: str, settings: Settings, options: Mapping[str, str] = MappingProxyType({})
) -> Source:
    """The source of a path or URL, by its scheme. Nothing is listed or connected to yet.

    Raises UsageError for an unknown scheme, a URL or option that its source does not take, a path
    that does not exist, and what the setting allowed_roots does not allow; ExtensionError if the
    source's plug-in is broken.
    """
    scheme = extensions.scheme_of(url) or LOCAL
    extension = extensions.find("sources", scheme)
    if settings.allowed_roots and scheme != LOCAL:
        raise UsageError(
            f"{url} is outside the allowed folders: where the setting allowed_roots is set, only "
            "files under these folders are ingested"
        )
    factory: SourceFactory = extension.load()
    return factory(url, SourceContext(settings, options))


def copies_of(settings: Settings) -> Copies:
    """What fetches the files of sources into the home folder for as long as they are read."""
    return Copies(
        settings.home / "fetched",
        max_file_mb=settings.max_file_mb,
        seconds=settings.read_timeout,
    )


__all__ = [
    "LOCAL",
    "Copies",
    "LocalSource",
    "Skipped",
    "Source",
    "SourceContext",
    "SourceFactory",
    "SourceItem",
    "check_allowed",
    "copies_of",
    "is_elsewhere",
    "is_remote",
    "open_source",
    "passed_over",
    "write_limited",
]
