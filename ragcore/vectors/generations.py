"""Storing a state beside the old one: written, checksummed, then made current by one rename.

    <folder>/CURRENT           one JSON line that names the current generation
    <folder>/g-<name>/         its files

A crash at any instant leaves CURRENT naming a whole generation. Readers in other processes
keep the files they have open; a reader that comes between two generations tries again.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from filelock import FileLock

from ragcore.errors import RagcoreError
from ragcore.files import make_private, private_folder

FORMAT = 1
_POINTER = "CURRENT"
_CHUNK = 1 << 20


class CorruptStoreError(RagcoreError):
    """What is on disk is not what was written: rebuild it from the catalog."""


class Generation:
    """One stored state: its folder and what is known of it."""

    def __init__(self, folder: Path, manifest: dict[str, Any]) -> None:
        self.folder = folder
        self.manifest = manifest

    def path(self, name: str) -> Path:
        return self.folder / name


def publish(folder: Path, write: Callable[[Path], dict[str, Any]]) -> Generation:
    """Let `write` fill a new folder and return its manifest, then make it the current one.

    Earlier generations, and what crashed writers left, are deleted afterwards.
    """
    private_folder(folder)
    with FileLock(folder / "lock", mode=0o600):
        name = f"g-{time.time_ns():x}-{uuid.uuid4().hex[:8]}"
        new = folder / name
        new.mkdir(mode=0o700)
        try:
            about = write(new)
            make_private(new)
            files = {path.name: _describe(path) for path in sorted(new.iterdir())}
            manifest = {**about, "format": FORMAT, "generation": name, "files": files}
            _sync(new)
            _point(folder, manifest)
        except BaseException:
            shutil.rmtree(new, ignore_errors=True)
            raise
        for other in folder.glob("g-*"):
            if other.name != name:
                shutil.rmtree(other, ignore_errors=True)
    return Generation(new, manifest)


def current(folder: Path) -> Generation | None:
    """The current generation with every checksum verified; None if nothing was stored.

    Raises CorruptStoreError, which says what is wrong, if it cannot be trusted.
    """
    for attempt in range(5):
        try:
            manifest = _read_pointer(folder)
            if manifest is None:
                return None
            found = Generation(folder / str(manifest["generation"]), manifest)
            for name, expected in manifest["files"].items():
                if _describe(found.path(name), sync=False) != expected:
                    raise CorruptStoreError(_advice(folder, f"{name} does not match its checksum"))
            return found
        except FileNotFoundError as error:  # another process has just published
            missing = error
            time.sleep(0.05 * attempt)
    raise CorruptStoreError(_advice(folder, f"{missing.filename} is missing"))


def _read_pointer(folder: Path) -> dict[str, Any] | None:
    try:
        raw = (folder / _POINTER).read_bytes()
    except FileNotFoundError:
        return None
    try:
        signed = json.loads(raw)
        manifest = signed["manifest"]
        sound = signed["sha256"] == _digest_json(manifest) and manifest["format"] == FORMAT
    except (ValueError, KeyError, TypeError):
        sound = False
    if not sound:
        raise CorruptStoreError(_advice(folder, f"{_POINTER} is damaged or of another version"))
    assert isinstance(manifest, dict)
    return manifest


def _point(folder: Path, manifest: dict[str, Any]) -> None:
    beside = folder / f"{_POINTER}.new"
    with beside.open("w", encoding="utf-8") as file:
        json.dump({"manifest": manifest, "sha256": _digest_json(manifest)}, file)
        file.flush()
        os.fsync(file.fileno())
    beside.chmod(0o600)
    beside.replace(folder / _POINTER)
    _sync(folder)


def _describe(path: Path, *, sync: bool = True) -> dict[str, Any]:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
        if sync:
            os.fsync(file.fileno())
        return {"bytes": file.tell(), "sha256": digest.hexdigest()}


def _digest_json(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def _sync(folder: Path) -> None:
    if os.name == "nt":  # folders cannot be opened there
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _advice(folder: Path, what: str) -> str:
    return (
        f"the index in {folder} is damaged: {what}; `ragcore doctor --repair` rebuilds it from "
        "the catalog"
    )
