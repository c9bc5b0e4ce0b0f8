"""What the work at hand may see and do: asked where a collection is looked up or changed.

Faces with accounts wrap every call of the library in `only(...)`. The names and ids of all other
collections are then as if they did not exist, for searches, answers and pages alike, and verbs
above the scope are refused.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Set
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from sqlalchemy import ColumnElement, true

from ragcore.errors import NotPermitted

P = ParamSpec("P")
R = TypeVar("R")

SCOPES = ("read", "write", "admin")  # each may do what those before it may
Told = Callable[[str, str, bool], None]  # verb, collection, whether it was permitted


@dataclass(frozen=True, slots=True)
class Permit:
    """`collection_ids` None: every collection, those to come as well. `told` hears of each verb
    that the work at hand begins, for an audit. `key_id` is the account that it is done for."""

    collection_ids: Set[int] | None = None
    scope: str = "admin"
    told: Told | None = None
    key_id: int | None = None


_EVERYTHING = Permit()
_permit: ContextVar[Permit] = ContextVar("ragcore_permit", default=_EVERYTHING)
_within: ContextVar[bool] = ContextVar("ragcore_within_a_verb", default=False)


@contextmanager
def only(collection_ids: Set[int] | None, scope: str = "admin") -> Iterator[None]:
    """Within it, only these collections exist for this thread or task; None: all of them."""
    with within(Permit(collection_ids, scope)):
        yield


@contextmanager
def within(permit: Permit) -> Iterator[None]:
    """Within it, `permit` counts for this thread or task and those that copy its context."""
    token = _permit.set(permit)
    try:
        yield
    finally:
        _permit.reset(token)


def hold(permit: Permit) -> None:
    """Let `permit` count from here on, in this thread or task and those that copy its context."""
    _permit.set(permit)


def may_see(collection_id: int) -> bool:
    """Whether the work at hand may see this collection."""
    permitted = _permit.get().collection_ids
    return permitted is None or collection_id in permitted


def sees_everything() -> bool:
    """Whether the work at hand may see every collection, those to come as well."""
    return _permit.get().collection_ids is None


def visible(collection_id: ColumnElement[int] | Any) -> ColumnElement[bool]:
    """The condition on a column of collection ids that the work at hand may see the row."""
    permitted = _permit.get().collection_ids
    return true() if permitted is None else collection_id.in_(permitted)


def may(scope: str) -> bool:
    """Whether the work at hand has a scope."""
    return SCOPES.index(_permit.get().scope) >= SCOPES.index(scope)


def account() -> int | None:
    """The number of the account that the work at hand is done for; None: of nobody's."""
    return _permit.get().key_id


def shown_path(path: str) -> str:
    """A path of the server as the work at hand may see it: readers see the file's name only."""
    return path if may("write") else path.replace("\\", "/").rsplit("/", 1)[-1]


def require_everywhere(scope: str) -> None:
    """Raises NotPermitted unless the work at hand has the scope for every collection: what
    belongs to none concerns them all."""
    if not may(scope):
        raise NotPermitted(f"this needs the scope {scope}; yours is {_permit.get().scope}")
    if not sees_everything():
        raise NotPermitted(
            f"this needs the scope {scope} for all collections; yours is limited to some"
        )


def verb(scope: str, *, everywhere: bool = False) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Decorates a method that needs a scope, with `everywhere` for all collections: it raises
    NotPermitted without.

    Verbs that another verb calls are part of it: neither asked for nor told.
    """

    def decorate(method: Callable[P, R]) -> Callable[P, R]:
        signature = inspect.signature(method)

        @wraps(method)
        def call(*args: P.args, **named: P.kwargs) -> R:
            permit = _permit.get()
            if permit is _EVERYTHING or _within.get():
                return method(*args, **named)
            allowed = may(scope) and (sees_everything() or not everywhere)
            if permit.told is not None:
                given = signature.bind(*args, **named)
                given.apply_defaults()
                permit.told(method.__name__, _collection(method.__name__, given.arguments), allowed)
            if not may(scope):
                raise NotPermitted(f"this needs the scope {scope}; yours is {permit.scope}")
            if everywhere:
                require_everywhere(scope)
            token = _within.set(True)
            try:
                return method(*args, **named)
            finally:
                _within.reset(token)

        return call

    return decorate


def _collection(verb: str, arguments: Mapping[str, Any]) -> str:
    """The collection or collections that a verb is about, as far as its arguments tell."""
    found = arguments.get("collection")
    if found is None and verb.endswith("_collection"):
        found = arguments.get("name")
    if found is None:
        found = getattr(arguments.get("query"), "collection", "")
    return ", ".join(found) if isinstance(found, list | tuple) else str(found)
