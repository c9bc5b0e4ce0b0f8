"""Archives (ZIP, TAR): each file in them is read by the reader of its type."""

from __future__ import annotations

import bz2
import gzip
import lzma
import stat
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, cast

from ragcore.errors import UnreadableFile
from ragcore.readers import container
from ragcore.readers.clean import PageBuilder, one_line
from ragcore.readers.contract import InputFile
from ragcore.readers.inner import InnerFiles, label_of
from ragcore.readers.options import ReadOptions
from ragcore.readers.sniff import image_type
from ragcore.types import ReadDocument

_BLOCK = 1 << 20
_MOST_MEMBERS = 10_000  # files that are read; more are counted as skipped
_BOMB_SIZE = 50 * 2**20  # unpacked, above which …
_BOMB_RATIO = 150  # … this many times the archive's size is no archive of documents
_DAMAGED = (zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, OSError)
_PACKED: Mapping[bytes, Callable[[Any], Any]] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ\x00": lzma.open,
}
_TAR_MARK = slice(257, 262)  # where every POSIX tar archive has "ustar"


def read(file: InputFile, options: ReadOptions) -> ReadDocument:
    """Each member's pages follow each other, under its path in the archive as heading and label.

    Archives in archives, and messages with attachments, are read to the depth that `options`
    allow. Members whose names lead out of the archive, links and devices are not read.
    """
    members = _Members(options)
    if file.head.startswith(b"PK"):
        _read_zip(file.path, members)
    else:
        _read_tar(file.path, members)
    found = members.found
    if not found.pages and not found.images:
        raise UnreadableFile(members.why_nothing())
    return ReadDocument(
        media_type=file.media_type,
        title="",
        pages=tuple(found.pages),
        images=tuple(found.images),
        paged=True,
        coverage=found.coverage.done(),
    )


def packed_tar(file: InputFile) -> bool:
    """Whether a file is a TAR archive, packed or not."""
    if file.head[_TAR_MARK] == b"ustar":
        return True
    if _opener(file.head) is None:
        return False
    try:
        with _unpacked(file.path) as stream:
            return bool(stream.read(512)[_TAR_MARK] == b"ustar")
    except _DAMAGED:
        return False


class _Members:
    """Takes the files of an archive one after the other."""

    def __init__(self, options: ReadOptions) -> None:
        self.found = InnerFiles(options)
        self.options = options
        self._count = 0

    def skip(self, name: str, why: str) -> None:
        self.found.coverage.skip("attachment", why, _shown(name))

    def why_nothing(self) -> str:
        """Why there is no page, by the first member that was not read."""
        skipped = self.found.coverage.done().skipped
        first = f"{skipped[0].where}: {skipped[0].why}" if skipped else "it is empty"
        return f"nothing in the archive can be read ({first})"[:500]

    def refused(self, name: str) -> bool:
        """Whether a member is passed over, by its name or because there are too many."""
        parts = name.replace("\\", "/").split("/")
        if ".." in parts or name.startswith(("/", "\\")) or ":" in parts[0]:
            self.skip(name, "its name leads out of the archive: refused")
        elif any(part.startswith(".") or part == "__MACOSX" for part in parts):
            self.found.coverage.ignore("attachment")  # left there by systems
        elif self._count >= _MOST_MEMBERS:
            self.skip(name, f"only the first {_MOST_MEMBERS:,} files of an archive are read")
        elif self.found.full:
            self.skip(name, "the archive is very large: its end is not kept")
        else:
            self._count += 1
            return False
        return True

    def take(self, name: str, stream: IO[bytes], size: int) -> None:
        """Read a member of `size` bytes."""
        if size > self.options.max_file_mb << 20:
            self.skip(name, f"{size >> 20} MiB is over the limit (setting max_file_mb)")
            return
        with tempfile.TemporaryDirectory(prefix="ragcore-") as folder:
            # Suffixes take part in the choice of a reader; no other part of a name is used.
            path = Path(folder) / f"member{''.join(Path(name).suffixes[-2:]).lower()[-20:]}"
            with path.open("xb") as copy:
                while block := stream.read(_BLOCK):
                    copy.write(block)
            with path.open("rb") as copy:
                head = copy.read(4096)
            if image_type(head):
                self._take_image(path, name)
            else:
                self.found.add_file(path, _shown(name), heading=True)

    def _take_image(self, path: Path, name: str) -> None:
        """An image gets a page of its own with its name, so that it has a place."""
        builder = PageBuilder()
        builder.heading(_shown(name), 1)
        self.found.add_page(builder.page(1, label=label_of(_shown(name))))
        self.found.add_images([(path.read_bytes(), len(self.found.pages), Path(name).stem[:300])])
        self.found.coverage.read("attachment")


def _shown(name: str) -> str:
    return one_line(name.replace("\\", "/"))[:300] or "unnamed"


# --- ZIP ---------------------------------------------------------------------------------------


def _read_zip(path: Path, members: _Members) -> None:
    container.check_members(path, members.options, encrypted=True)
    with zipfile.ZipFile(path) as archive:
        for member in sorted(archive.infolist(), key=lambda one: one.filename):
            if member.is_dir() or members.refused(member.filename):
                continue
            if stat.S_ISLNK(member.external_attr >> 16):
                members.skip(member.filename, "a link, which is not followed")
                continue
            try:
                with _opened(archive, member, members.options.passwords) as stream:
                    members.take(member.filename, stream, member.file_size)
            except (*_DAMAGED, NotImplementedError) as error:
                members.skip(member.filename, f"it cannot be unpacked: {error}")


@contextmanager
def _opened(
    archive: zipfile.ZipFile, member: zipfile.ZipInfo, passwords: tuple[str, ...]
) -> Iterator[IO[bytes]]:
    """A member's content. Raises zipfile.BadZipFile where no password opens it."""
    keys = [word.encode() for word in passwords] if member.flag_bits & 1 else [None]
    for key in keys:
        try:
            stream = archive.open(member, pwd=key)
        except RuntimeError:  # zipfile's word for a wrong password
            continue
        with stream:
            yield stream
        return
    raise zipfile.BadZipFile("it is locked: give its password, or unpack the archive")


# --- TAR ---------------------------------------------------------------------------------------


class _Counted:
    """The unpacked bytes of an archive, up to a limit: a file of kilobytes can unpack to years."""

    def __init__(self, stream: Any, size: int, options: ReadOptions) -> None:
        self._stream, self._size = stream, size
        self._most = options.max_unpacked_mb << 20
        self._limit = options.max_unpacked_mb
        self._read = 0
        self._last = b""

    @property
    def ended(self) -> bool:
        """Whether what was read last is the end mark of an archive: blocks of zeros."""
        return len(self._last) >= 512 and not any(self._last[-512:])

    def read(self, size: int = -1) -> bytes:
        block = cast(bytes, self._stream.read(size if size >= 0 else _BLOCK))
        self._read += len(block)
        self._last = block or self._last
        if self._read > self._most:
            raise UnreadableFile(f"it unpacks to more than the limit of {self._limit} MiB")
        if self._read > max(_BOMB_SIZE, _BOMB_RATIO * self._size):
            raise UnreadableFile("it unpacks to far more than its size: refused")
        return block


def _read_tar(path: Path, members: _Members) -> None:
    read_any = False
    try:
        with _unpacked(path) as stream:
            counted = _Counted(stream, path.stat().st_size, members.options)
            # As a stream: nothing is sought, so every byte that is unpacked is counted.
            with tarfile.open(fileobj=cast(Any, counted), mode="r|", errorlevel=1) as archive:
                for member in archive:
                    read_any = True
                    _take_member(archive, member, members)
            if not counted.ended:
                raise EOFError("its end is missing")
    except _DAMAGED as error:
        if not read_any:
            raise UnreadableFile("the archive is cut off or damaged") from error
        members.skip("what follows", f"the archive is cut off or damaged: {error}")


def _take_member(archive: tarfile.TarFile, member: tarfile.TarInfo, members: _Members) -> None:
    if member.isdir():
        return
    name = member.name.removeprefix("./")
    if not member.isreg():
        if not members.refused(name):
            members.skip(name, "a link or device, which is not read")
        return
    if not members.refused(name):
        stream = archive.extractfile(member)
        assert stream is not None  # of a regular file
        members.take(name, stream, member.size)


@contextmanager
def _unpacked(path: Path) -> Iterator[Any]:
    with path.open("rb") as raw:
        opener = _opener(raw.read(8))
        raw.seek(0)
        if opener is None:
            yield raw
        else:
            with opener(raw) as stream:
                yield stream


def _opener(head: bytes) -> Callable[[Any], Any] | None:
    return next((opener for magic, opener in _PACKED.items() if head.startswith(magic)), None)
