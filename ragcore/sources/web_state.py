"""What earlier runs saw of a web site, so that unchanged pages are not sent again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

from ragcore.files import private_folder, replace_private

_FORM = 1  # of the file; others are not read


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What an address answered: `url` is where redirects led, `location` the document's identity.

    `links` are the page's, or the entries of a feed.
    """

    url: str
    location: str
    media_type: str = ""
    etag: str = ""
    modified: str = ""
    version: str = ""
    size: int | None = None
    feed: bool = False
    links: tuple[str, ...] = ()

    @property
    def conditions(self) -> dict[str, str]:
        """Headers with which only a page that changed is sent."""
        found = {}
        if self.etag:
            found["If-None-Match"] = self.etag
        if self.modified:
            found["If-Modified-Since"] = self.modified
        return found

    @property
    def modified_ns(self) -> int | None:
        """Nanoseconds since 1970; None if the server says no time."""
        try:
            return max(0, int(parsedate_to_datetime(self.modified).timestamp())) * 1_000_000_000
        except (ValueError, TypeError, OverflowError):
            return None


class WebState:
    """By address, what it answered last. A file that is lost or damaged costs a transfer only."""

    def __init__(self, folder: Path, start: str) -> None:
        self._path = folder / f"{hashlib.sha256(start.encode()).hexdigest()[:32]}.json"
        self._known = dict(_read(self._path))
        self._current: dict[str, Seen] = {}

    def get(self, url: str) -> Seen | None:
        return self._known.get(url)

    def put(self, url: str, seen: Seen) -> None:
        self._current[url] = seen

    def forget(self, url: str) -> None:
        self._known.pop(url, None)

    def save(self) -> None:
        """Keep what this run saw; what it did not ask for is forgotten."""
        private_folder(self._path.parent)
        entries = {url: asdict(seen) for url, seen in self._current.items()}
        replace_private(self._path, json.dumps({"form": _FORM, "seen": entries}))


def _read(path: Path) -> Mapping[str, Seen]:
    names = {field.name for field in fields(Seen)}
    try:
        data: Any = json.loads(path.read_text("utf-8"))
        if data["form"] != _FORM:
            return {}
        found = {}
        for url, entry in data["seen"].items():
            if set(entry) != names:
                return {}
            found[url] = Seen(**{**entry, "links": tuple(entry["links"])})
        return found
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return {}
