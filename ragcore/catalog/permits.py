"""Which collections the work at hand may see: asked where a collection is looked up.

Faces with accounts wrap every call of the library in `only(...)`. The names and ids of all other
collections are then as if they did not exist, for searches, answers and pages alike.
"""

from __future__ import annotations

from collections.abc import Iterator, Set
from contextlib import contextmanager
from contextvars import ContextVar

_permitted: ContextVar[Set[int] | None] = ContextVar("ragcore_permitted", default=None)


@contextmanager
def only(collection_ids: Set[int] | None) -> Iterator[None]:
    """Within it, only these collections exist for this thread or task; None: all of them."""
    token = _permitted.set(collection_ids)
    try:
        yield
    finally:
        _permitted.reset(token)


def may_see(collection_id: int) -> bool:
    """Whether the work at hand may see this collection."""
    permitted = _permitted.get()
    return permitted is None or collection_id in permitted
