"""Packages of npm that tests use: fetched once by npm, identified by their hashes."""

from __future__ import annotations

import hashlib
import subprocess
import tarfile
from pathlib import Path
from shutil import which

import pytest

CACHE = Path.home() / ".cache" / "ragcore-tests"
AXE = ("axe-core", "4.14.1", "e6b0ce02b84d892e2e33e403485e7f3d6c29e2be6df65daf44d89ba564139745")


def axe_script() -> str:
    """axe-core's script. The test is skipped where npm is missing or cannot fetch it."""
    with tarfile.open(_fetched(*AXE)) as archive:
        member = archive.extractfile("package/axe.min.js")
        assert member is not None
        return member.read().decode()


def _fetched(name: str, version: str, sha256: str) -> Path:
    """The package's archive in the cache; fails where it is not the one of that hash."""
    path = CACHE / f"{name}-{version}.tgz"
    if not path.is_file():
        npm = which("npm")
        if npm is None:
            pytest.skip("needs npm (apt-get install npm)")
        CACHE.mkdir(parents=True, exist_ok=True)
        command = [npm, "pack", f"{name}@{version}", "--silent", "--pack-destination", str(CACHE)]
        fetched = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
        if fetched.returncode:
            pytest.skip(f"npm cannot fetch {name}: {fetched.stderr.strip()[:200]}")
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    assert found == sha256, f"{path} is not {name} {version}: remove it"
    return path
