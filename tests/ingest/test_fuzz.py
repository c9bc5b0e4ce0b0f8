"""Damaged files of every type end as a document or as one clear line, never otherwise."""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest

from ragcore.errors import UnreadableFile
from ragcore.ingest.split import document_text, split
from ragcore.readers import ReadOptions, read
from ragcore.types import ReadDocument

from .ingest_samples import WRITERS

pytestmark = pytest.mark.full

CASES = 20  # a type: 220 in all
SECONDS = 30  # for one file; sound ones take well under one


def damaged(data: bytes, chance: random.Random) -> bytes:
    kind = chance.randrange(5)
    if kind == 0:
        return data[: chance.randrange(len(data))]
    changed = bytearray(data)
    if kind == 1:
        for _ in range(chance.choice([1, 5, 50])):
            changed[chance.randrange(len(changed))] = chance.randrange(256)
    elif kind == 2:
        begin = chance.randrange(len(changed))
        del changed[begin : begin + chance.randrange(1, 400)]
    elif kind == 3:
        begin = chance.randrange(len(changed))
        changed[begin:begin] = chance.randbytes(chance.randrange(1, 400))
    else:
        begin = chance.randrange(len(changed))
        end = min(len(changed), begin + chance.randrange(1, 2000))
        changed[begin:end] = bytes(end - begin)
    return bytes(changed)


@pytest.mark.parametrize("suffix", sorted(WRITERS))
def test_damaged_files(suffix: str, samples: dict[str, Path], tmp_path: Path) -> None:
    sound = samples[suffix].read_bytes()
    chance = random.Random(f"damage {suffix}")
    options = ReadOptions(ocr="off")
    for case in range(CASES):
        path = tmp_path / f"case{case}{suffix}"
        path.write_bytes(damaged(sound, chance))
        begin = time.perf_counter()
        try:
            document = read(path, options=options)
        except UnreadableFile as error:
            reason = str(error)
            assert len(reason.splitlines()) == 1, reason
        else:
            assert isinstance(document, ReadDocument)
            text = document_text(document.pages)
            assert all(p.text == text[p.start : p.end] for p in split(document))
        assert time.perf_counter() - begin < SECONDS
