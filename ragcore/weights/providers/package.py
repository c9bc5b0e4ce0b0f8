"""Weights shipped with ragcore itself, under ragcore/weights/files/<name>/."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from ragcore.errors import ModelUnavailable
from ragcore.weights.hashing import CHECKSUMS, read_checksums
from ragcore.weights.providers.base import Fetched, Reporter
from ragcore.weights.registry import Entry


class PackageProvider:
    """Provider `package`. Checksums stand beside the files, in SHA256SUMS."""

    def locate(self, entry: Entry) -> Fetched | None:
        folder = Path(str(resources.files("ragcore.weights").joinpath("files", entry.name)))
        if not (folder / CHECKSUMS).is_file():
            return None
        if any(not (folder / path).is_file() for path in read_checksums(folder)):
            return None
        return Fetched(folder, in_place=True)

    def fetch(self, entry: Entry, work: Path, report: Reporter) -> Fetched:
        found = self.locate(entry)
        if found is None:
            raise ModelUnavailable(
                f"{entry.name}: its files are missing from this installation of ragcore; "
                "install ragcore again"
            )
        return found
