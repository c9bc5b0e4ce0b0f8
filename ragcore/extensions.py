"""The registry: everything that can be exchanged or added, found by entry points.

A package adds to ragcore by an entry point of the group `ragcore.<group>` in its metadata; what
ships with ragcore is registered the same way (docs/how-to/extending.md). The metadata is read once
per process, and nothing is imported before `Extension.load`. A plug-in that is broken is one line
in the log and an entry of `active()`, and everything else works.
"""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib import import_module
from importlib.metadata import entry_points
from types import MappingProxyType
from typing import Any, Literal, get_args

from ragcore.errors import RagcoreError, UsageError

log = logging.getLogger(__name__)

Group = Literal[
    "readers",
    "text_encoders",
    "image_text_encoders",
    "rerankers",
    "span_readers",
    "llms",
    "transcribers",
    "diffusers",
    "vector_stores",
    "sources",
    "commands",
]
GROUPS: tuple[Group, ...] = get_args(Group)

_PREFIX = "ragcore."  # of the entry points' groups
_OWN = "ragcore"  # the package whose names cannot be taken by another
_SCHEME = re.compile(r"([a-z][a-z0-9+.-]*)://")

# What the object behind an entry point must have; factories must be callable.
_NEEDS: Mapping[Group, tuple[str, ...]] = MappingProxyType(
    {"readers": ("suffixes", "media_types", "read"), "commands": ("make_context", "invoke")}
)


class ExtensionError(RagcoreError):
    """An extension is installed and cannot be loaded: the message says which, `reason` why."""

    def __init__(self, extension: Extension, reason: str) -> None:
        super().__init__(extension.failure_line(reason))
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Extension:
    """One entry point: `value` is "module:attribute", `package` and `version` who registered it.

    `error` is why it cannot be used (None: nothing is known against it).
    """

    group: Group
    name: str
    value: str
    package: str
    version: str
    error: str | None = None

    @property
    def built_in(self) -> bool:
        """Whether it ships with ragcore."""
        return self.package == _OWN

    def load(self) -> Any:
        """Import the object; later calls return the same one.

        Raises ExtensionError if that fails or the object is not what its group needs.
        """
        return _registry.load(self)

    def failure_line(self, error: str) -> str:
        """The sentence that says that it cannot be used, and why."""
        who = f"{self.package} {self.version}".strip()
        return f"{title(self.group)} {self.name!r} of {who} cannot be used: {error}"


def names(group: Group) -> tuple[str, ...]:
    """The names that are registered in a group, in alphabetical order. Imports nothing."""
    return tuple(sorted(_registry.found()[group]))


def find(group: Group, name: str) -> Extension:
    """The extension of that name; it is not imported yet.

    Raises UsageError, naming the known ones, if there is none.
    """
    found = _registry.found()[group].get(name)
    if found is None:
        known = ", ".join(names(group)) or "none: ragcore's own metadata is missing, reinstall it"
        raise UsageError(
            f"there is no {title(group)} {name!r} (installed: {known}); a package that registers "
            f"it adds it: pip install PACKAGE (`ragcore plugins` lists what is active)"
        )
    return found


def load_all(group: Group) -> dict[str, Any]:
    """The objects of a group by name, without those that cannot be loaded.

    Each of these is one warning in the log, the first time.
    """
    loaded = {}
    for name in names(group):
        try:
            loaded[name] = find(group, name).load()
        except ExtensionError as error:
            _registry.warn(group, name, str(error))
    return loaded


def active(group: Group | None = None) -> tuple[Extension, ...]:
    """Every extension of one group or of all, loaded now; those with an `error` are unusable.

    By group, ragcore's own first, then by package.
    """
    listed = []
    for each in GROUPS if group is None else (group,):
        for name in names(each):
            extension = find(each, name)
            try:
                extension.load()
            except ExtensionError as error:
                extension = replace(extension, error=error.reason)
            listed.append(extension)
        listed += [one for one in _registry.rejected() if one.group == each]
    order = {each: at for at, each in enumerate(GROUPS)}
    return tuple(
        sorted(listed, key=lambda one: (order[one.group], not one.built_in, one.package, one.name))
    )


def rediscover() -> None:
    """Read the installed packages' metadata again, for packages installed in a running process."""
    _registry.clear()


def title(group: Group) -> str:
    """What one member of a group is called in messages, as in "text encoder"."""
    special = {
        "diffusers": "diffusion model",
        "llms": "LLM",
        "image_text_encoders": "image-text encoder",
    }
    return special.get(group) or group.removesuffix("s").replace("_", " ")


def scheme_of(url: str) -> str:
    """The scheme of a URL in lower case; "" for a path or plain word."""
    match = _SCHEME.match(url.lower())
    return match[1] if match else ""


class _Registry:
    """The entry points of this process's packages, read once, and what was loaded of them."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self.clear()

    def clear(self) -> None:
        with self._lock:
            self._found: Mapping[Group, Mapping[str, Extension]] | None = None
            self._rejected: tuple[Extension, ...] = ()
            self._loaded: dict[tuple[Group, str], Any] = {}
            self._failed: dict[tuple[Group, str], str] = {}
            self._warned: set[tuple[Group, str]] = set()

    def found(self) -> Mapping[Group, Mapping[str, Extension]]:
        with self._lock:
            if self._found is None:
                self._found = self._discover()
            return self._found

    def rejected(self) -> tuple[Extension, ...]:
        """Those whose name was taken."""
        self.found()
        return self._rejected

    def load(self, extension: Extension) -> Any:
        key = (extension.group, extension.name)
        with self._lock:
            if extension.error:
                raise ExtensionError(extension, extension.error)
            if key in self._failed:
                raise ExtensionError(extension, self._failed[key])
            if key not in self._loaded:
                try:
                    self._loaded[key] = _imported(extension)
                except (Exception, SystemExit) as error:  # whatever a plug-in's module raises
                    self._failed[key] = _reason(error)
                    raise ExtensionError(extension, self._failed[key]) from error
            return self._loaded[key]

    def warn(self, group: Group, name: str, sentence: str) -> None:
        """Log what cannot be used, once."""
        with self._lock:
            if (group, name) in self._warned:
                return
            self._warned.add((group, name))
        log.warning("%s", sentence)

    def _discover(self) -> Mapping[Group, Mapping[str, Extension]]:
        found: dict[Group, dict[str, Extension]] = {group: {} for group in GROUPS}
        rejected = []
        for extension in sorted(_installed(), key=lambda one: (not one.built_in, one.package)):
            winner = found[extension.group].setdefault(extension.name, extension)
            if winner is not extension:
                error = (
                    f"{winner.package} has a {title(extension.group)} of this name: "
                    "rename the entry point"
                )
                log.warning("%s", extension.failure_line(error))
                rejected.append(replace(extension, error=error))
        self._rejected = tuple(rejected)
        return found


def _installed() -> list[Extension]:
    everything = entry_points()
    listed = []
    packages: dict[int, tuple[str, str]] = {}  # every look parses the package's metadata again
    for group in GROUPS:
        for point in everything.select(group=_PREFIX + group):
            dist = point.dist
            if id(dist) not in packages:
                packages[id(dist)] = (dist.name, dist.version) if dist else ("unknown", "")
            listed.append(Extension(group, point.name, point.value, *packages[id(dist)]))
    return listed


def _imported(extension: Extension) -> Any:
    module, _, attribute = extension.value.partition(":")
    found: Any = import_module(module.strip())
    for part in attribute.partition("[")[0].strip().split("."):
        found = getattr(found, part)
    needed = _NEEDS.get(extension.group)
    if needed is None and not callable(found):
        raise TypeError(f"{extension.value} is not callable")
    missing = [name for name in needed or () if not hasattr(found, name)]
    if missing:
        raise TypeError(f"{extension.value} is no {title(extension.group)}: it has no {missing[0]}")
    return found


def _reason(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}".removesuffix(": ")


_registry = _Registry()
