"""Compound files (OLE2, version 3), as Outlook writes its messages into."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path

Storage = Mapping[str, "bytes | Storage"]

_SECTOR, _MINI, _CUTOFF = 512, 64, 4096
_END, _FREE, _FAT, _NONE = 0xFFFFFFFE, 0xFFFFFFFF, 0xFFFFFFFD, 0xFFFFFFFF


def write_ole(path: Path, root: Storage) -> Path:
    """A file with the streams (bytes) and storages (mappings) of `root`."""
    sectors: list[bytes] = []
    fat: list[int] = []
    mini, mini_fat = b"", []
    entries: list[list[object]] = [["Root Entry", 5, b"", _NONE, _NONE]]

    def chain(data: bytes) -> int:
        """Store data in sectors of their own; where it begins."""
        first = len(sectors)
        blocks = [data[at : at + _SECTOR] for at in range(0, len(data), _SECTOR)]
        for number, block in enumerate(blocks, start=1):
            sectors.append(block.ljust(_SECTOR, b"\0"))
            fat.append(len(sectors) if number < len(blocks) else _END)
        return first if blocks else _END

    def add(storage: Storage) -> int:
        """Enter a storage's members, each the right neighbour of the one before; the first."""
        numbers = []
        for name, content in sorted(storage.items(), key=lambda one: (len(one[0]), one[0].upper())):
            numbers.append(len(entries))
            if isinstance(content, bytes):
                entries.append([name, 2, content, _NONE, _NONE])
            else:
                entries.append([name, 1, b"", _NONE, _NONE])
                entries[numbers[-1]][4] = add(content)
        for left, right in pairwise(numbers):
            entries[left][3] = right
        return numbers[0] if numbers else _NONE

    entries[0][4] = add(root)
    places: list[tuple[int, int]] = []
    for _, _, content, *_ in entries:
        assert isinstance(content, bytes)
        if not content:
            places.append((_END, 0))
        elif len(content) >= _CUTOFF:
            places.append((chain(content), len(content)))
        else:
            places.append((len(mini_fat), len(content)))
            count = -(-len(content) // _MINI)
            mini_fat += [len(mini_fat) + n + 1 for n in range(count - 1)] + [_END]
            mini += content.ljust(count * _MINI, b"\0")
    places[0] = (chain(mini), len(mini))
    mini_start = chain(b"".join(struct.pack("<I", one) for one in mini_fat))
    folder = b""
    for (name, kind, _, right, child), (start, size) in zip(entries, places, strict=True):
        letters = f"{name}\0".encode("utf-16-le")
        folder += letters.ljust(64, b"\0") + struct.pack("<H", len(letters))
        folder += struct.pack("<BBIII", kind, 1, _NONE, right, child) + bytes(16 + 4 + 16)
        folder += struct.pack("<IQ", start, size)
    folder_start = chain(folder)
    # The table describes its own sectors, too.
    fat_sectors = -(-(len(fat) + 8) // (_SECTOR // 4))
    where = list(range(len(sectors), len(sectors) + fat_sectors))
    fat += [_FAT] * fat_sectors
    fat += [_FREE] * (fat_sectors * _SECTOR // 4 - len(fat))
    table = b"".join(struct.pack("<I", one) for one in fat)
    mini_count = -(-len(mini_fat) * 4 // _SECTOR)
    head = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(16)
    head += struct.pack("<HHHHH6x", 0x3E, 3, 0xFFFE, 9, 6)
    head += struct.pack("<IIIIIIIII", 0, fat_sectors, folder_start, 0, _CUTOFF,
                        mini_start, mini_count, _END, 0)  # fmt: skip
    head += b"".join(struct.pack("<I", one) for one in where).ljust(436, b"\xff")
    path.write_bytes(head + b"".join(sectors) + table)
    return path
