"""Which reader reads a file: plug-ins first, then content, then the suffix, then plain text."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import TypeGuard

from ragcore import extensions
from ragcore.errors import UnreadableFile
from ragcore.readers.contract import ContentReader, FileType, InputFile, Reader
from ragcore.readers.sniff import foreign_type, starts_like_html

log = logging.getLogger(__name__)

_FALLBACK = "text"  # the reader of text whose suffix says nothing


def readers() -> tuple[dict[str, Reader], dict[str, Reader]]:
    """The readers that are installed and load, by name: (of plug-ins, ragcore's own).

    Raises RagcoreError if ragcore's own are missing.
    """
    extensions.find("readers", _FALLBACK)
    loaded = extensions.load_all("readers")
    own = {name for name in loaded if extensions.find("readers", name).built_in}
    plug_ins = {name: reader for name, reader in loaded.items() if name not in own}
    return plug_ins, {name: loaded[name] for name in sorted(own)}


def file_types() -> tuple[FileType, ...]:
    """What files are read by this installation: ragcore's own types, then those of plug-ins."""
    from ragcore.readers.formats import FORMATS

    plug_ins, _ = readers()
    return (
        *(FileType(one.kind, one.suffixes) for one in FORMATS),
        *(FileType(f"{name} files", tuple(one.suffixes)) for name, one in plug_ins.items()),
    )


def choose(path: Path) -> tuple[Reader, InputFile]:
    """The reader of the file at `path`, and the file with its media type.

    A plug-in's reader comes before ragcore's own: by what it recognizes, or by suffix if it
    recognizes nothing by content. Of ragcore's own the content decides and the suffix comes
    second. Raises UnreadableFile for empty files, types that are not read, and names that
    promise an image or document which the content is not.
    """
    file = InputFile.open(path)
    plug_ins, own = readers()
    for name, reader in plug_ins.items():
        if media_type := _claim(name, reader, file):
            return reader, replace(file, media_type=media_type)
    for reader in own.values():
        if _by_content(reader) and (media_type := _recognized(reader, file, own)):
            return reader, replace(file, media_type=media_type)
    _refuse(file, own)
    reader = next((r for r in own.values() if file.suffix in r.suffixes), own[_FALLBACK])
    return reader, replace(file, media_type=reader.media_types[0])


def _by_content(reader: Reader) -> TypeGuard[ContentReader]:
    """Whether a reader recognizes its files; `isinstance` with a protocol is slow here."""
    return hasattr(reader, "recognize")


def _claim(name: str, reader: Reader, file: InputFile) -> str:
    """The media type under which a plug-in's reader takes the file; "" if it does not."""
    if not _by_content(reader):
        return reader.media_types[0] if file.suffix in reader.suffixes else ""
    try:
        return reader.recognize(file)
    except UnreadableFile:  # a damaged archive: ragcore's own readers say so
        return ""
    except Exception as error:  # a fault of one plug-in is no fault of the file
        log.warning("reader %r failed to look at a file: %s", name, error)
        return ""


def _recognized(reader: ContentReader, file: InputFile, own: dict[str, Reader]) -> str:
    try:
        return reader.recognize(file)
    except UnreadableFile:
        if file.suffix in _suffixes(own.values(), by_content=True):
            raise UnreadableFile(f"the {file.suffix} file is cut off or damaged") from None
        raise


def _suffixes(chosen: Iterable[Reader], *, by_content: bool) -> set[str]:
    """The suffixes of the readers that know their files by content, or of the others."""
    return {
        suffix
        for reader in chosen
        if _by_content(reader) is by_content
        for suffix in reader.suffixes
    }


def _refuse(file: InputFile, own: dict[str, Reader]) -> None:
    """Raise UnreadableFile for what no reader recognized and is not plain text either."""
    suffix, by_content = file.suffix, _suffixes(own.values(), by_content=True)
    if file.members:
        raise UnreadableFile("a document of an unknown type in a zip archive")
    if foreign := foreign_type(file.head):
        raise UnreadableFile(f"this is {foreign}")
    if not file.is_text:
        if suffix in by_content:
            raise UnreadableFile(f"named {suffix} but is not one, or its beginning is damaged")
        if suffix in _suffixes(own.values(), by_content=False):
            raise UnreadableFile(f"named {suffix} but holds binary data")
        raise UnreadableFile("a file of an unknown type")
    is_html = starts_like_html(file.head)
    if not is_html and (suffix == ".svg" or b"<svg" in file.head[:300].lower()):
        raise UnreadableFile("an SVG drawing, which is not read: save it as PNG")
    if suffix in by_content:
        raise UnreadableFile(f"named {suffix} but is {'HTML' if is_html else 'plain'} text")
