"""The weights that are shipped in the package match their checksums."""

from __future__ import annotations

from pathlib import Path

import pytest

import ragcore.weights
from ragcore.errors import ModelUnavailable
from ragcore.settings import Settings
from ragcore.weights import WeightStore
from ragcore.weights.hashing import CHECKSUMS, read_checksums, sha256_of, write_checksums
from ragcore.weights.registry import Entry, registry

FILES = Path(ragcore.weights.__file__).parent / "files"
SHIPPED = sorted(p for p in FILES.iterdir() if p.is_dir() and p.name != "__pycache__")


def test_shipped_files_match_their_checksums() -> None:
    for folder in SHIPPED:
        assert registry()[folder.name].provider == "package"
        recorded = read_checksums(folder)
        present = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
        assert present - {CHECKSUMS} == set(recorded), folder.name
        assert {path: sha256_of(folder / path) for path in recorded} == recorded, folder.name
        assert WeightStore(Settings()).verify(folder.name) == ()


def test_no_pickles_are_shipped() -> None:
    assert not [p for p in FILES.rglob("*") if p.suffix in (".bin", ".pt", ".pth", ".pkl")]


def test_checksums_are_written_as_sha256sum_does(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "b.txt").write_bytes(b"abc")
    write_checksums(tmp_path)
    digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert (tmp_path / CHECKSUMS).read_text() == f"{digest}  a/b.txt\n"
    assert read_checksums(tmp_path) == {"a/b.txt": digest}


def test_missing_shipped_files_say_so(tmp_path: Path) -> None:
    entry = Entry(name="not-there", provider="package")
    store = WeightStore(Settings(weights_cache=tmp_path), entries={"not-there": entry})
    with pytest.raises(ModelUnavailable, match="install ragcore again"):
        store.ensure("not-there")
