"""Recipes: one TOML file that says everything about a training run.

A recipe is read into a typed model of its task; an unknown key or a wrong value is a
`UsageError` that names it. Relative paths in a recipe are relative to the recipe's folder.
"""

from __future__ import annotations

import hashlib
import tomllib
from pathlib import Path
from typing import Any, Self, TypeVar

from pydantic import BaseModel, ConfigDict, PrivateAttr, ValidationError

from ragcore.errors import UsageError

Task = TypeVar("Task", bound="Recipe")


class Recipe(BaseModel):
    """Base of every task's recipe. Fields of the task are declared by the subclass."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    _folder: Path = PrivateAttr(default_factory=Path.cwd)

    def path(self, given: str | Path) -> Path:
        """An absolute path; a relative one is taken from the recipe's folder."""
        return (self._folder / Path(given).expanduser()).resolve()

    def key(self) -> str:
        """Twelve hex digits that change whenever a value does: names the run to resume."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:12]

    def within(self, folder: Path) -> Self:
        """The same recipe with `folder` as the start of its relative paths."""
        self._folder = folder
        return self


def read_recipe(source: str | Path | Task, kind: type[Task]) -> Task:
    """A recipe of this kind from a TOML file, or the object itself if it is one already.

    Raises UsageError if the file is missing, is not TOML, or has an unknown or wrong value.
    """
    if isinstance(source, kind):
        return source
    if isinstance(source, Recipe):
        raise UsageError(f"expected a recipe of kind {kind.__name__}, got {type(source).__name__}")
    path = Path(source).expanduser()
    try:
        values = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise UsageError(f"recipe {path} cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"recipe {path} is not TOML: {error}") from error
    return parse_recipe(values, kind, shown=str(path)).within(path.absolute().parent)


def parse_recipe(values: dict[str, Any], kind: type[Task], *, shown: str = "recipe") -> Task:
    """A recipe from plain values. Raises UsageError that names the first wrong one."""
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        raise UsageError(f"{shown}: {first_problem(error)}") from None


def first_problem(error: ValidationError) -> str:
    """The first thing that is wrong, with the key that it is wrong about."""
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"]) or "recipe"
    if first["type"] == "extra_forbidden":
        return f"there is no key {where!r} in such a recipe (see docs/reference/tuning.md)"
    return f"{where}: {first['msg'].lower()}"
