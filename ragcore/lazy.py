"""Exports of a package that are loaded at their first use (PEP 562)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def lazily(package: str, homes: Mapping[str, str]) -> Callable[[str], Any]:
    """The `__getattr__` of a package whose `__init__` need not load all it exports.

    Args:
        package: Full name of the package.
        homes: The exported names, separated by spaces, by the module that has them; one of the
            package itself begins with a dot.

    Returns:
        A function from an exported name to its value, which raises AttributeError for others.
    """
    home_of = {name: home for home, names in homes.items() for name in names.split()}

    def load(name: str) -> Any:
        if name not in home_of:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(import_module(home_of[name], package), name)

    return load
