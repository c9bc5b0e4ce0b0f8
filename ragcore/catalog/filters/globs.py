"""Globs of paths and names, matched in linear time by both databases."""

from __future__ import annotations

import fnmatch
import re
from typing import Any

from sqlalchemy import Boolean
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

from ragcore.errors import UsageError

MAX_GLOB = 200  # characters of a value with wildcards
MAX_WILDCARDS = 8


def is_glob(value: str) -> bool:
    """Raises UsageError for a glob with so many wildcards that matching it would take long."""
    wildcards = sum(c in "*?[" for c in value)
    if wildcards and len(value) > MAX_GLOB:
        raise UsageError(f"a glob has at most {MAX_GLOB} characters, this one {len(value):,}")
    if wildcards > MAX_WILDCARDS:
        raise UsageError(f"a glob has at most {MAX_WILDCARDS} of * ? [, this one {wildcards:,}")
    return wildcards > 0


class GlobMatch(FunctionElement[bool]):
    """Whether a column matches a glob as a whole; * also crosses folders.

    Each database gets an expression that its own engine matches without backtracking: Python's
    `re`, which SQLite calls, by atomic groups; PostgreSQL compiles patterns to an automaton.
    """

    type = Boolean()
    inherit_cache = True

    def __init__(self, column: Any, glob: str, *, ignore_case: bool = False) -> None:
        case = "(?i)" if ignore_case else ""
        super().__init__(
            column.regexp_match(f"{case}\\A{fnmatch.translate(glob)}"),
            column.regexp_match(f"{case}{_regex(glob)}"),
        )


@compiles(GlobMatch, "sqlite")
def _sqlite_glob(element: GlobMatch, compiler: SQLCompiler, **how: Any) -> str:
    return str(compiler.process(next(iter(element.clauses)), **how))


@compiles(GlobMatch, "postgresql")
def _postgresql_glob(element: GlobMatch, compiler: SQLCompiler, **how: Any) -> str:
    return str(compiler.process(list(element.clauses)[1], **how))


def _regex(glob: str) -> str:
    """A regular expression of PostgreSQL."""
    out, at = "", 0
    while at < len(glob):
        c, at = glob[at], at + 1
        if c == "*":
            out += ".*"
        elif c == "?":
            out += "."
        elif c == "[" and (end := glob.find("]", at + 1)) > 0:
            inside = re.sub(r"([\\^\[\]])", r"\\\1", glob[at:end].removeprefix("!"))
            out += f"[{'^' if glob[at] == '!' else ''}{inside}]"
            at = end + 1
        else:
            out += re.sub(r"([\\.^$|()\[\]{}+])", r"\\\1", c)
    return f"^{out}$"
