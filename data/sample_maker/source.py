"""The little markup of data/sources: headings, paragraphs, tables, images."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Block:
    """`kind` is h1, h2, text, table or image; a table's `rows` are cells, first row headings."""

    kind: str
    text: str = ""
    rows: tuple[tuple[str, ...], ...] = ()


def blocks(path: Path) -> list[Block]:
    """The blocks of a source file: they are separated by empty lines."""
    result = []
    for part in path.read_text("utf-8").strip().split("\n\n"):
        part = part.strip()
        if part.startswith("## "):
            result.append(Block("h2", part[3:]))
        elif part.startswith("# "):
            result.append(Block("h1", part[2:]))
        elif part.startswith("|"):
            rows = [line.strip().strip("|").split("|") for line in part.splitlines()]
            result.append(
                Block("table", rows=tuple(tuple(cell.strip() for cell in row) for row in rows))
            )
        elif image := re.fullmatch(r"!\[.*\]\((.+)\)", part):
            result.append(Block("image", image[1]))
        else:
            result.append(Block("text", " ".join(part.split())))
    return result
