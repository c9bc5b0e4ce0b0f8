"""What the work at hand may see and do: asked where a collection is looked up or changed.

A library that is opened for somebody (`Library.for_principal`) enters their permit with every
call. The names and ids of all other collections are then as if they did not exist, for searches,
answers and pages alike; what a call needs stands in `ragcore.library.scopes`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Set
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import ColumnElement

from ragcore.errors import NotPermitted

SCOPES = ("read", "write", "admin")  # each may do what those before it may
AuditCallback = Callable[[str, str, bool], None]  # call, collection, whether it was permitted


@dataclass(frozen=True, slots=True)
class Permit:
    """`collection_ids` None: every collection, those to come as well.

    `audit` is called for each call of a library that begins, for an audit. `key_id` is the account
    that it is done for.
    """

    collection_ids: Set[int] | None = None
    scope: str = "admin"
    audit: AuditCallback | None = None
    key_id: int | None = None
    folders: tuple[Path, ...] = ()  # files may be ingested from these, without scope admin

    def may(self, scope: str) -> bool:
        """Whether `scope` is within it."""
        return SCOPES.index(self.scope) >= SCOPES.index(scope)

    @property
    def owner(self) -> str:
        """Separates accounts; the same for the same account."""
        return "local" if self.key_id is None else f"key {self.key_id}"

    @property
    def unlimited(self) -> bool:
        """Whether nobody was asked: the work is that of this process itself."""
        return self is _EVERYTHING


_EVERYTHING = Permit()
_permit: ContextVar[Permit] = ContextVar("ragcore_permit", default=_EVERYTHING)
_within: ContextVar[bool] = ContextVar("ragcore_within_a_call", default=False)


@contextmanager
def within(permit: Permit) -> Iterator[None]:
    """Within it, `permit` counts for this thread or task and those that copy its context."""
    token = _permit.set(permit)
    try:
        yield
    finally:
        _permit.reset(token)


def current() -> Permit:
    """What counts for this thread or task."""
    return _permit.get()


def enter(permit: Permit) -> None:
    """Begin a call of a library in this context: calls that it makes are part of it."""
    _permit.set(permit)
    _within.set(True)


def is_inside() -> bool:
    """Whether this is part of a call that was permitted."""
    return _within.get()


def may_see(collection_id: int) -> bool:
    """Whether the work at hand may see this collection. Nobody sees a trash (below zero)."""
    permitted = _permit.get().collection_ids
    return collection_id >= 0 if permitted is None else collection_id in permitted


def sees_everything() -> bool:
    """Whether the work at hand may see every collection, those to come as well."""
    return _permit.get().collection_ids is None


def visible(collection_id: ColumnElement[int] | Any) -> ColumnElement[bool]:
    """The condition on a column of collection ids that the work at hand may see the row."""
    permitted = _permit.get().collection_ids
    return collection_id > 0 if permitted is None else collection_id.in_(permitted)


def may(scope: str) -> bool:
    """Whether the work at hand has a scope."""
    return _permit.get().may(scope)


def account() -> int | None:
    """The number of the account that the work at hand is done for; None: of nobody's."""
    return _permit.get().key_id


def uploader() -> str:
    """Whose quota an upload counts for; "": nobody's, where nobody was asked."""
    permit = _permit.get()
    return "" if permit.unlimited else permit.owner


def shown_path(path: str) -> str:
    """A path of the server as the work at hand may see it: readers see the file's name only."""
    return path if may("write") else path.replace("\\", "/").rsplit("/", 1)[-1]


def require_everywhere(scope: str) -> None:
    """Raises NotPermitted unless the work at hand has the scope for every collection.

    What belongs to none concerns them all.
    """
    if not may(scope):
        raise NotPermitted(f"this needs the scope {scope}; yours is {_permit.get().scope}")
    if not sees_everything():
        raise NotPermitted(
            f"this needs the scope {scope} for all collections; yours is limited to some"
        )
