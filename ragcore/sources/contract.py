"""The contract of a source: where the files of a collection come from."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

from ragcore.errors import UsageError

if TYPE_CHECKING:
    from ragcore.settings import Settings


@dataclass(frozen=True, slots=True)
class SourceItem:
    """One file of a source.

    `location` is the identity of its document and stays the same as long as the file does.
    `name` is a file name without folders; its suffix takes part in the choice of a reader.
    `size` is in bytes, `modified_ns` in nanoseconds since 1970 (UTC); None where the source does
    not know. `version` changes whenever the content does (an ETag, a revision, a content hash);
    "" where the source has none: then size and time together are compared.
    """

    location: str
    name: str
    size: int | None = None
    modified_ns: int | None = None
    version: str = ""


@dataclass(frozen=True, slots=True)
class Skipped:
    """What a source lists without offering it. `reason` is a part of one line, for people.

    "link" is a link that leads out of what was asked for, "left out" anything else that is passed
    over on purpose; both are counted. "failed" is a file, or a folder with all that is in it,
    that could not be looked at: a failure of the run. Documents at or below a skipped location
    are not removed. "dropped" is what is left out because it is not there any more, or not asked
    for any more: its document is removed like one that is not listed.
    """

    location: str
    reason: str
    kind: Literal["link", "left out", "failed", "dropped"] = "left out"


class Source(Protocol):
    """The files at one URL. `fetch` is called from several threads at once.

    A source of which `is_folder` is False (it need not have the attribute) lists what does not lie
    below its location: a `--sync` of it removes nothing.
    """

    @property
    def location(self) -> str:
        """The URL in its canonical form.

        The location of every item is this one, or begins with it and a slash (web pages lie where
        links lead to); and an item's location, given as a URL, is a source of that one item.
        """
        ...

    def list(self) -> Iterator[SourceItem | Skipped]:
        """List every file, in any order, without fetching any.

        Yields:
            An item, or what was left out and why.

        Raises:
            UsageError: There is nothing at the URL.
            RagcoreError: It cannot be listed, or not to its end (or an OSError): nothing is removed
                by a `--sync` then.
        """
        ...

    def fetch(self, item: SourceItem, folder: Path, *, most_bytes: int) -> Path:
        """Bring an item to this computer.

        Args:
            item: One that `list` gave. Of items from an earlier run only location, name and version
                are set.
            folder: An empty folder, the item's own, removed when the file was read.
            most_bytes: What the content may have.

        Returns:
            A file written into `folder`, or one that is on this computer anyway, which is left
            alone.

        Raises:
            UnreadableFile: The content is larger than `most_bytes` (raised as soon as that is
                known), or the item is gone.
            RagcoreError: It cannot be had now (or an OSError).
        """
        ...


@dataclass(frozen=True, slots=True)
class SourceContext:
    """What a source's factory is given besides the URL.

    `options` are the person's wishes by name, as they were written: {"depth": "3"}.
    """

    settings: Settings
    options: Mapping[str, str] = field(default_factory=dict)

    def check_options(self, *known: str) -> None:
        """Check a person's options.

        Args:
            known: Names that the source takes.

        Raises:
            UsageError: One is not among them.
        """
        for name in self.options:
            if name not in known:
                has = f"it has {', '.join(known)}" if known else "it has none"
                raise UsageError(f"there is no option {name!r} of this source: {has}")


# What is registered for a scheme: (the whole URL, context) to a source. It connects to nothing.
# Raises UsageError for a URL that cannot be.
SourceFactory = Callable[[str, SourceContext], Source]
