"""Print a part of requirements.lock, with its hashes, for `pip install --require-hashes -r`.

    python scripts/lock_subset.py [EXTRA …]            the core, and what these extras add
    python scripts/lock_subset.py --only setuptools    these packages alone
    python scripts/lock_subset.py --without "cuda-*"   but not packages of these names

What needs what stands in the lock itself ("via"), so nothing is installed or asked of an index.
"""

from __future__ import annotations

import argparse
import re
import sys
import tomllib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
_REQUIREMENT = re.compile(r"\s*([A-Za-z0-9._-]+)\s*(?:\[([^\]]*)\])?[^;]*(;?)")


@dataclass(frozen=True, slots=True)
class Pin:
    """A package of the lock: its lines with version and hashes, and the packages that need it."""

    name: str
    version: str
    lines: tuple[str, ...]
    needed_by: frozenset[str]


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name.strip()).lower()


def read_lock(text: str) -> dict[str, Pin]:
    """The pins of a lock that `uv pip compile --generate-hashes` wrote, by normalized name."""
    pins = {}
    for block in re.split(r"^(?=[A-Za-z0-9])", text, flags=re.M):
        found = re.match(r"([\w.-]+)==([^\s;\\]+)", block)
        if not found:
            continue
        lines = block.splitlines()
        notes = [line.strip().lstrip("# ") for line in lines if line.lstrip().startswith("#")]
        via = {normal(note.removeprefix("via").partition("(")[0]) for note in notes}
        name = normal(found[1])
        requirements = tuple(
            line for line in lines if line.strip() and not line.lstrip().startswith("#")
        )
        pins[name] = Pin(name, found[2], requirements, frozenset(via - {""}))
    return pins


def requested(project: Mapping[str, object], extras: Iterable[str]) -> set[str]:
    """Names of the direct requirements of the core and of `extras`, recursively.

    Raises ValueError for an extra that pyproject.toml does not have.
    """
    optional = project["optional-dependencies"]
    assert isinstance(optional, dict)
    names: set[str] = set()
    seen: set[str] = set()

    def add(lines: Iterable[str]) -> None:
        for line in lines:
            found = _REQUIREMENT.match(line)
            assert found, line
            if normal(found[1]) != project["name"]:
                names.add(normal(found[1]))
                continue
            for extra in filter(None, (one.strip() for one in (found[2] or "").split(","))):
                visit(extra)

    def visit(extra: str) -> None:
        if extra not in optional:
            raise ValueError(f"there is no extra {extra!r}: choose among {', '.join(optional)}")
        if extra not in seen:
            seen.add(extra)
            add(optional[extra])

    add(project["dependencies"])  # type: ignore[arg-type]
    for extra in extras:
        visit(extra)
    return names


def closure(pins: Mapping[str, Pin], names: Iterable[str]) -> Iterator[Pin]:
    """The pins of `names` and of everything that they need, in the order of the lock."""
    needs = defaultdict(set)
    for pin in pins.values():
        for other in pin.needed_by:
            needs[other].add(pin.name)
    found, waiting = set(), [name for name in names if name in pins]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += needs[name]
    return (pin for pin in pins.values() if pin.name in found)


def main() -> None:
    parser = argparse.ArgumentParser(description="Print a part of requirements.lock.")
    parser.add_argument("extras", nargs="*", metavar="EXTRA")
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME")
    parser.add_argument("--without", nargs="+", default=[], metavar="PATTERN")
    arguments = parser.parse_args()
    pins = read_lock((ROOT / "requirements.lock").read_text("utf-8"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    if missing := [name for name in arguments.only if normal(name) not in pins]:
        sys.exit(f"lock_subset: not in requirements.lock: {', '.join(missing)}")
    try:
        chosen = (
            [pins[normal(name)] for name in arguments.only]
            or closure(pins, requested(project, arguments.extras))
        )  # fmt: skip
    except ValueError as error:
        sys.exit(f"lock_subset: {error}")
    for pin in chosen:
        if not any(fnmatch(pin.name, pattern) for pattern in arguments.without):
            print("\n".join(pin.lines))


if __name__ == "__main__":
    main()
