"""What is imported is declared: a package that happens to be installed is not enough."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from itertools import chain
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
OURS = {"ragcore", "app"}


def declared() -> set[str]:
    """Names of all packages that pyproject.toml asks for, extras included."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    asked = [
        *project["dependencies"],
        *chain.from_iterable(project["optional-dependencies"].values()),
    ]
    return {_normal(re.split(r"[\[<>=;!~ ]", line, maxsplit=1)[0]) for line in asked}


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def imports(folder: str) -> Iterator[tuple[str, str]]:
    """(top-level module, file:line) of every import of another package."""
    for path in sorted((ROOT / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            names: list[str] = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names = [node.module]
            for name in names:
                top = name.partition(".")[0]
                if top not in sys.stdlib_module_names and top not in OURS:
                    yield top, f"{path.relative_to(ROOT)}:{node.lineno}"


def test_every_import_is_a_declared_package() -> None:
    known, installed = declared(), packages_distributions()
    missing = {
        f"{where} imports {top}"
        for folder in OURS
        for top, where in imports(folder)
        if not known & {_normal(name) for name in installed.get(top, [top])}
    }
    assert not missing, "\n".join(sorted(missing))
