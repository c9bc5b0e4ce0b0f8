"""The weights that are shipped in the package match their checksums."""

from __future__ import annotations

import tomllib
from pathlib import Path

from ragcore.settings import Settings
from ragcore.weights import WeightStore
from ragcore.weights.hashing import CHECKSUMS, read_checksums, sha256_of, write_checksums
from ragcore.weights.registry import registered

SOURCE = Path(__file__).resolve().parents[2] / "starter-weights"
FILES = SOURCE / "ragcore_starter_weights"
SHIPPED = sorted(p for p in FILES.iterdir() if p.is_dir() and p.name != "__pycache__")


def test_shipped_files_match_their_checksums() -> None:
    for folder in SHIPPED:
        assert registered()[folder.name].provider == "package"
        recorded = read_checksums(folder)
        present = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
        assert present - {CHECKSUMS} == set(recorded), folder.name
        assert {path: sha256_of(folder / path) for path in recorded} == recorded, folder.name
        assert sha256_of(folder / CHECKSUMS) == registered()[folder.name].checksums
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


def test_the_distribution_has_the_registry_s_version_and_models() -> None:
    project = tomllib.loads((SOURCE / "pyproject.toml").read_text("utf-8"))["project"]
    entries = [entry for entry in registered().values() if entry.provider == "package"]
    assert {(entry.package, entry.version) for entry in entries} == {
        (project["name"], project["version"])
    }
    assert {entry.name for entry in entries} == {folder.name for folder in SHIPPED}


def test_terms_of_the_training_data_are_said_everywhere() -> None:
    restricted = {"starter-clip", "starter-projector", "extractive-qa"}
    listed = (SOURCE / "LICENSES.md").read_text("utf-8")
    for folder in SHIPPED:
        entry = registered()[folder.name]
        row = next(line for line in listed.splitlines() if line.startswith(f"| `{entry.name}`"))
        limited = {
            "non-commercial" in text.lower()
            for text in (entry.training_data, row, (folder / "README.md").read_text("utf-8"))
        }
        assert limited == {entry.name in restricted}, entry.name
    about = tomllib.loads((SOURCE / "pyproject.toml").read_text("utf-8"))["project"]
    for name in (*restricted, "non-commercial"):
        assert name in about["description"]


def test_every_model_of_a_package_says_what_it_was_trained_on() -> None:
    for entry in registered().values():
        assert entry.provider == "hub" or (entry.training_data and entry.license != "unknown")
