"""requirements.lock: complete, with hashes, without an address; parts of it for other installs."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
LOCK = (ROOT / "requirements.lock").read_text("utf-8")
PINS = {
    canonicalize_name(name): version
    for name, version in re.findall(r"^([\w.-]+)==(\S+)", LOCK, re.M)
}
LOCKED_FOR = {
    "platform_machine": "x86_64",
    "platform_system": "Linux",
    "python_full_version": "3.11.7",
    "python_version": "3.11",
    "sys_platform": "linux",
}


def subset(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "lock_subset.py"), *arguments],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip


def names(*arguments: str) -> set[str]:
    done = subset(*arguments)
    assert done.returncode == 0, done.stderr
    return set(re.findall(r"^([\w.-]+)==", done.stdout, re.M))


def direct(extra: str | None = None) -> set[str]:
    """Requirements of ragcore that apply where the lock does; of one extra, or of the core."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    lines = project["optional-dependencies"][extra] if extra else project["dependencies"]
    found: set[str] = set()
    for one in map(Requirement, lines):
        if one.name == project["name"]:
            found.update(*(direct(inner) for inner in one.extras))
        elif one.marker is None or one.marker.evaluate({**LOCKED_FOR, "extra": ""}):
            found.add(canonicalize_name(one.name))
            version = PINS.get(canonicalize_name(one.name), "")
            if extra != "gpu":
                assert version, f"{one.name} is not in the lock: run `make constraints`"
                assert one.specifier.contains(version, prereleases=True), f"{one} is not {version}"
    return found


def test_every_requirement_is_pinned_within_its_bounds() -> None:
    assert direct() | direct("all") | direct("dev") <= set(PINS)


def test_every_pin_has_hashes_and_nothing_has_an_address() -> None:
    for block in re.split(r"^(?=[\w.-]+==)", LOCK, flags=re.M)[1:]:
        first, *rest = [line for line in block.splitlines() if not line.lstrip().startswith("#")]
        assert re.fullmatch(r"[\w.-]+==[^\s;]+ \\", first), first
        assert rest
        for line in rest:
            assert re.fullmatch(r" {4}--hash=sha256:[0-9a-f]{64}( \\)?", line), line
    assert "://" not in LOCK
    assert "@ " not in LOCK


def test_what_excludes_others_stays_out() -> None:
    # botocore (s3fs, moto) and ultimate-sitemap-parser want dateutil below 3.
    assert int(PINS["python-dateutil"].partition(".")[0]) < 3
    # A GPU build of FAISS installs the same module as the CPU's.
    assert not [name for name in PINS if name.startswith("faiss-gpu")]


def test_a_part_is_closed_under_what_its_packages_need() -> None:
    part = names("serve", "ui")
    assert direct() | direct("serve") | direct("ui") <= part
    for name in part:
        try:
            needed = map(Requirement, requires(name) or [])
        except PackageNotFoundError:  # the environment is not of the lock
            continue
        for one in needed:
            if one.marker is None or one.marker.evaluate({**LOCKED_FOR, "extra": ""}):
                assert canonicalize_name(one.name) in part, f"{name} needs {one}"


def test_parts_grow_with_extras_and_leave_development_out() -> None:
    core, pages, everything = names(), names("ui"), names("all")
    assert core < pages < everything < set(PINS)
    assert "streamlit" in pages - core
    assert not {"pytest", "ruff", "mypy"} & everything


def test_a_part_keeps_hashes_and_can_name_packages_or_leave_some_out() -> None:
    done = subset("--only", "setuptools")
    assert re.fullmatch(r"setuptools==\S+ \\\n( {4}--hash=sha256:\w+( \\)?\n)+", done.stdout)
    rest = names("all", "--without", "torch", "nvidia-*")
    assert names("all") - rest == {"torch", *(n for n in PINS if n.startswith("nvidia-"))}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("wings",), "lock_subset: there is no extra 'wings': choose among "),
        (("--only", "wings"), "lock_subset: not in requirements.lock: wings\n"),
    ],
)
def test_unknown_names_are_one_line(arguments: tuple[str, ...], said: str) -> None:
    done = subset(*arguments)
    assert done.returncode == 1
    assert done.stderr.startswith(said)
    assert done.stderr.count("\n") == 1
