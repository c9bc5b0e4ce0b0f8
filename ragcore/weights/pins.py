"""What was first used of each hub model: its commit and the SHA-256 of every file.

A model without a revision stays at that commit, and `verify` compares with these hashes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ragcore.errors import ModelUnavailable, StorageUnavailable
from ragcore.files import atomic_write
from ragcore.weights.hashing import sha256_of
from ragcore.weights.providers.base import Reporter
from ragcore.weights.registry import Entry


class HubPins:
    """Notes in a folder, one file for a model and, where one is given, its revision."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def commit(self, entry: Entry) -> str:
        """The commit that an entry without a revision was first used at, or ""."""
        return str(self._read(entry).get("commit", ""))

    def files(self, entry: Entry) -> Mapping[str, str]:
        """Path to SHA-256 as noted at first use; empty where nothing is noted."""
        found = self._read(entry).get("files", {})
        return dict(found) if isinstance(found, dict) else {}

    def names(self) -> list[str]:
        """The models that there are notes of, as in "hub:OWNER/NAME[@REVISION]"."""
        if not self._folder.is_dir():
            return []
        notes = (_load(path) for path in sorted(self._folder.glob("*.json")))
        return [
            f"hub:{note['repo']}" + (f"@{note['revision']}" if note.get("revision") else "")
            for note in notes
            if note.get("repo")
        ]

    def note(
        self, entry: Entry, folder: Path, report: Reporter, expected: Mapping[str, str]
    ) -> None:
        """Note a model at its first use; a note that is there stays as it is.

        Reads every file once. Raises ModelUnavailable for a file that differs from `expected`.
        """
        path, before = self._path(entry), self._read(entry)
        if before.get("files"):
            return
        paths = sorted(one for one in folder.rglob("*") if one.is_file())
        total, done, files = sum(one.stat().st_size for one in paths), 0, {}
        for one in paths:
            name = one.relative_to(folder).as_posix()
            files[name] = sha256_of(one)
            if expected.get(name, files[name]) != files[name]:
                raise ModelUnavailable(
                    f"{entry.name}: {name} is damaged; delete {folder} and get it again"
                )
            done += one.stat().st_size
            report.bytes("check", done, total)
        note = {"repo": entry.repo, "commit": folder.name, "files": files}
        if path != self._plain(entry):
            note["revision"] = entry.revision
        try:
            with atomic_write(path) as partial:
                partial.write_text(json.dumps(note, indent=1), "utf-8")
        except (OSError, StorageUnavailable):
            pass  # a read-only cache: the hub's own cache remembers its main branch

    def _read(self, entry: Entry) -> Mapping[str, Any]:
        return _load(self._path(entry))

    def _plain(self, entry: Entry) -> Path:
        return self._folder / f"{entry.repo.replace('/', '--')}.json"

    def _path(self, entry: Entry) -> Path:
        """The note of a model.

        The store turns an entry without a revision into one at the noted commit: both have the same
        note, and every other revision one of its own.
        """
        plain = self._plain(entry)
        if not entry.revision or _load(plain).get("commit") == entry.revision:
            return plain
        return plain.with_name(f"{plain.stem}@{entry.revision.replace('/', '--')}.json")


def _load(path: Path) -> Mapping[str, Any]:
    try:
        found = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
