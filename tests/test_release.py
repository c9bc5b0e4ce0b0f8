"""`make release` on a small project: reproducible files, sums, bill of materials, refusals."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PYPROJECT = """
[build-system]
requires = ["setuptools>=77"]
build-backend = "setuptools.build_meta"

[project]
name = "ragcore"
version = "1.2.0"
description = "A small stand-in with the same files."
license = "Apache-2.0"
dependencies = ["click"]

[project.optional-dependencies]
all = ["ragcore[ui]"]
ui = ["colorama"]
dev = ["pytest"]

[tool.setuptools]
packages = ["ragcore"]
"""
LOCK = "".join(
    f"{name}=={version} \\\n    --hash=sha256:{digit * 64}\n    # via {via}\n"
    for name, version, digit, via in (
        ("click", "8.1.0", "1", "ragcore (pyproject.toml)"),
        ("colorama", "0.4.6", "2", "ragcore (pyproject.toml)"),
        ("pytest", "9.0.0", "3", "ragcore (pyproject.toml)"),
    )
)
CHANGELOG = "# Changelog\n\n## [Unreleased]\n\n## [1.1.0] - 2026-01-01\n"
WEIGHTS = """
[build-system]
requires = ["setuptools>=77"]
build-backend = "setuptools.build_meta"

[project]
name = "ragcore-starter-weights"
version = "7"

[tool.setuptools]
packages = ["ragcore_starter_weights"]
"""


def git(folder: Path, *command: str) -> None:
    person = ("-c", "user.name=Ann", "-c", "user.email=ann@example.org")
    subprocess.run(["git", *person, *command], cwd=folder, check=True, capture_output=True)


def commit(folder: Path) -> None:
    git(folder, "add", "--all")
    git(folder, "commit", "--message", "Change", "--date", "2026-02-03T04:05:06Z")


def make_project(folder: Path) -> Path:
    files = {
        "pyproject.toml": PYPROJECT,
        "requirements.lock": LOCK,
        "CHANGELOG.md": CHANGELOG,
        ".gitignore": "dist/\n__pycache__/\n",
        "ragcore/__init__.py": "",
        "starter-weights/pyproject.toml": WEIGHTS,
        "starter-weights/ragcore_starter_weights/__init__.py": "",
    }
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, "utf-8")
    (folder / "scripts").mkdir()
    for name in ("release.py", "lock_subset.py"):
        shutil.copy(ROOT / "scripts" / name, folder / "scripts")
    git(folder, "init", "--quiet")
    commit(folder)
    return folder


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return make_project(tmp_path / "project")


@pytest.fixture(scope="module")
def released(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with its release."""
    folder = make_project(tmp_path_factory.mktemp("released") / "project")
    done = release(folder)
    assert done.returncode == 0, done.stderr
    return folder


def release(folder: Path, *, umask: int = 0o022) -> subprocess.CompletedProcess[str]:
    environment = {name: text for name, text in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run(
        [sys.executable, "scripts/release.py"],
        cwd=folder, env=environment, capture_output=True, text=True, umask=umask, timeout=300,
    )  # fmt: skip


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((folder / "dist").iterdir())}


@pytest.mark.full
def test_a_release_is_complete_and_the_same_again_elsewhere(released: Path, tmp_path: Path) -> None:
    made = contents(released)
    assert set(made) == {
        "SHA256SUMS",
        "ragcore-1.2.0-py3-none-any.whl",
        "ragcore-1.2.0.cdx.json",
        "ragcore-1.2.0.tar.gz",
        "ragcore_starter_weights-7-py3-none-any.whl",
        "ragcore_starter_weights-7.tar.gz",
    }
    sums = dict(reversed(line.split("  ")) for line in made["SHA256SUMS"].decode().splitlines())
    assert sums == {
        name: hashlib.sha256(data).hexdigest() for name, data in made.items() if name in sums
    }
    assert set(sums) == set(made) - {"SHA256SUMS"}

    # Another folder, another umask, another day of the files: the same bytes.
    other = tmp_path / "elsewhere" / "clone"
    git(tmp_path, "clone", "--quiet", str(released), str(other))
    for path in other.rglob("*.py"):
        os.utime(path, (1_000_000_000, 1_000_000_000))
    done = release(other, umask=0o077)
    assert done.returncode == 0, done.stderr
    assert contents(other) == made


@pytest.mark.full
def test_times_in_the_files_are_those_of_the_commit(released: Path) -> None:
    epoch = int(
        subprocess.check_output(["git", "log", "-1", "--format=%ct"], cwd=released, text=True)
    )
    with tarfile.open(released / "dist" / "ragcore-1.2.0.tar.gz") as sdist:
        assert {member.mtime for member in sdist} == {epoch}
        assert {(member.uid, member.uname) for member in sdist} == {(0, "")}
    with zipfile.ZipFile(released / "dist" / "ragcore-1.2.0-py3-none-any.whl") as wheel:
        assert len({info.date_time for info in wheel.infolist()}) == 1


@pytest.mark.full
def test_the_bill_of_materials_lists_what_all_installs(released: Path) -> None:
    bill = json.loads((released / "dist" / "ragcore-1.2.0.cdx.json").read_text("utf-8"))
    assert bill["bomFormat"] == "CycloneDX"
    assert bill["metadata"]["component"]["name"] == "ragcore"
    found = {one["name"]: one for one in bill["components"]}
    assert set(found) == {"click", "colorama"}  # and not what only development needs
    assert found["click"]["version"] == "8.1.0"
    assert "1" * 64 in json.dumps(found["click"])


@pytest.mark.parametrize("name", ["ragcore/__init__.py", "new.txt"])
def test_a_dirty_tree_is_refused(project: Path, name: str) -> None:
    (project / name).write_text("# later\n", "utf-8")
    done = release(project)
    assert done.returncode == 1
    assert done.stderr == (
        f"release: the work tree has 1 uncommitted changes, such as {name}: commit or stash them\n"
    )
    assert not (project / "dist").exists()


@pytest.mark.parametrize("heading", ["## [1.2.0] - 2026-03-01", "## 1.2.0"])
def test_a_version_that_is_released_is_refused(project: Path, heading: str) -> None:
    (project / "CHANGELOG.md").write_text(f"{CHANGELOG}\n{heading}\n", "utf-8")
    commit(project)
    done = release(project)
    assert done.returncode == 1
    assert done.stderr == (
        "release: 1.2.0 is already released in CHANGELOG.md: set another version first\n"
    )
    assert not (project / "dist").exists()


def test_a_build_that_fails_leaves_the_last_release(project: Path) -> None:
    (project / "dist").mkdir()
    (project / "dist" / "kept.whl").write_text("", "utf-8")
    broken = PYPROJECT.replace('packages = ["ragcore"]', 'packages = ["missing"]')
    (project / "pyproject.toml").write_text(broken, "utf-8")
    commit(project)
    done = release(project)
    assert done.returncode == 1
    assert done.stderr.startswith("release: ")
    assert done.stderr.count("\n") == 1
    assert (project / "dist" / "kept.whl").exists()
