"""The contract of a reader, and the file it is handed."""

from __future__ import annotations

import zipfile
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol, runtime_checkable

from ragcore.errors import UnreadableFile
from ragcore.readers.options import ReadOptions
from ragcore.readers.sniff import looks_like_text
from ragcore.types import PAGE_BREAK, ReadDocument

HEAD_BYTES = 4096
_MOST_MEMBERS = 50_000  # of a zip archive whose names are looked at


@dataclass(frozen=True)
class InputFile:
    """A file that is to be read: where it is, how it begins, and its type once that is known.

    `head` holds the first bytes (at most 4096, never empty). It can be opened like a path:
    `open(file)` and `Path(file)` work.
    """

    path: Path
    head: bytes
    media_type: str = ""

    @classmethod
    def open(cls, path: Path) -> InputFile:
        """Look at a file.

        Returns:
            The file with its first bytes, without a media type.

        Raises:
            UnreadableFile: It is empty.
        """
        with path.open("rb") as stream:
            head = stream.read(HEAD_BYTES)
        if not head:
            raise UnreadableFile("the file is empty")
        return cls(path, head)

    def __fspath__(self) -> str:
        return str(self.path)

    @property
    def suffix(self) -> str:
        """The name's last suffix in lower case, with its dot; "" if it has none."""
        return self.path.suffix.lower()

    @cached_property
    def is_text(self) -> bool:
        """Whether the head is text in some encoding."""
        return looks_like_text(self.head)

    @cached_property
    def members(self) -> frozenset[str]:
        """Names of the members of a zip archive; empty for any other file.

        Raises:
            UnreadableFile: The archive is damaged.
        """
        if not self.head.startswith(b"PK\x03\x04"):
            return frozenset()
        try:
            with zipfile.ZipFile(self.path) as archive:
                return frozenset(archive.namelist()[:_MOST_MEMBERS])
        except Exception as error:  # damaged archives raise many kinds of errors
            raise UnreadableFile("a cut off or damaged zip archive") from error

    def member(self, name: str, most_bytes: int = 200) -> bytes:
        """The beginning of a zip archive's member.

        Args:
            name: The member's name in the archive.
            most_bytes: How much of it is read.

        Returns:
            Its first bytes; none if the archive has no such member.
        """
        if name not in self.members:
            return b""
        with zipfile.ZipFile(self.path) as archive, archive.open(name) as stream:
            return stream.read(most_bytes)

    def read_bytes(self) -> bytes:
        """Read the file.

        Returns:
            The whole content.
        """
        return self.path.read_bytes()


@dataclass(frozen=True, slots=True)
class FileType:
    """Files that are read: what people call them, plural, and their suffixes (with the dot).

    Files without one of these suffixes are read by their content, or as plain text.
    """

    kind: str
    suffixes: tuple[str, ...]


def check_document(document: ReadDocument) -> None:
    """Check what every reader's result must keep to.

    Raises:
        ValueError: It does not; the message names the first fault.
    """
    if not isinstance(document, ReadDocument):
        raise ValueError(f"its reader returned {type(document).__name__}, not ReadDocument")
    for number, page in enumerate(document.pages, start=1):
        if page.number != number:
            raise ValueError(f"its reader numbered page {number} as {page.number}")
        if PAGE_BREAK in page.text:
            raise ValueError(f"its reader left a form feed in page {number}")
        if any(not 0 <= start <= len(page.text) for start, _, _ in page.headings):
            raise ValueError(f"its reader placed a heading outside page {number}")


class Reader(Protocol):
    """Reads files of one format. Called in reader processes, one file at a time."""

    @property
    def suffixes(self) -> Collection[str]:
        """The suffixes of its files, in lower case with their dot, such as ".eml"."""
        ...

    @property
    def media_types(self) -> Sequence[str]:
        """The media types it reads. The first one is that of a file chosen by its suffix."""
        ...

    def read(self, file: InputFile, options: ReadOptions) -> ReadDocument:
        """Read a file.

        Args:
            file: The file, with its media type.
            options: What was asked for: passwords, whether to recognize text, limits.

        Returns:
            Its pages, numbered from 1, and images, with what of the file was not read.

        Raises:
            UnreadableFile: It cannot be read; one line says why. Any other exception is recorded as
                a damaged file.
        """
        ...


@runtime_checkable
class ContentReader(Reader, Protocol):
    """A reader that knows its files by their content: it gets only what it recognizes."""

    def recognize(self, file: InputFile) -> str:
        """Look whether a file is of this reader's format.

        Args:
            file: The file; its `media_type` is still empty.

        Returns:
            The media type of a file that is certainly of this format, else "".
        """
        ...
