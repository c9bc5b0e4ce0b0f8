"""Zip containers (DOCX, PPTX, XLSX, EPUB): checked before a library unpacks them."""

from __future__ import annotations

import zipfile
from pathlib import Path

from ragcore.errors import UnreadableFile
from ragcore.readers.options import ReadOptions

_MAX_MEMBERS = 50_000
_BOMB_SIZE = 50 * 2**20  # a member above this …
_BOMB_RATIO = 150  # … that was packed tighter than this is no document


def check_members(path: Path, options: ReadOptions, *, encrypted: bool = False) -> None:
    """Raises `UnreadableFile` where unpacking would take too much.

    Also where members are encrypted, unless `encrypted` ones may be in it.

    The sizes are the archive's own statements; `zipfile` never unpacks more than is stated.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError) as error:
        raise UnreadableFile("the file is cut off or damaged") from error
    if len(members) > _MAX_MEMBERS:
        raise UnreadableFile(f"it holds {len(members)} parts: this is no ordinary document")
    total = sum(member.file_size for member in members)
    if total > options.max_unpacked_mb * 2**20:
        raise UnreadableFile(
            f"it would unpack to {total / 2**20:.0f} MiB, over the limit of "
            f"{options.max_unpacked_mb} MiB"
        )
    for member in members:
        if member.flag_bits & 1 and not encrypted:
            raise UnreadableFile("locked: its parts are encrypted; save it without a password")
        ratio = member.file_size / max(member.compress_size, 1)
        if member.file_size > _BOMB_SIZE and ratio > _BOMB_RATIO:
            raise UnreadableFile("it unpacks to far more than its size: refused")
