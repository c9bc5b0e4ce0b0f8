"""Checksums of files, and the SHA256SUMS file that stands beside shipped weights."""

from __future__ import annotations

import hashlib
from pathlib import Path

CHECKSUMS = "SHA256SUMS"


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file's bytes, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_checksums(folder: Path) -> dict[str, str]:
    """Relative path to SHA-256, as `sha256sum` writes them into SHA256SUMS."""
    return parse_checksums((folder / CHECKSUMS).read_text("utf-8"))


def parse_checksums(text: str) -> dict[str, str]:
    """Relative path to SHA-256, of the text of a SHA256SUMS file."""
    pairs = (line.split(maxsplit=1) for line in text.splitlines() if line.strip())
    return {path.removeprefix("*"): digest for digest, path in pairs}


def write_checksums(folder: Path) -> None:
    """Write SHA256SUMS for every other file below `folder`."""
    files = sorted(p for p in folder.rglob("*") if p.is_file() and p.name != CHECKSUMS)
    lines = [f"{sha256_of(path)}  {path.relative_to(folder).as_posix()}\n" for path in files]
    (folder / CHECKSUMS).write_text("".join(lines), "utf-8")
