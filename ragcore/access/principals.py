"""Somebody who asks, as the faces with accounts know them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ragcore.access.keys import KeyInfo
from ragcore.catalog import SCOPES, AuditCallback, Permit


@dataclass(frozen=True, slots=True)
class Principal:
    """Somebody with a scope.

    `collection_ids` None: every collection, those to come as well. Files of `folders`, with links
    resolved, may be ingested without the scope admin.
    """

    name: str
    scope: str
    key_id: int | None = None
    collection_ids: frozenset[int] | None = None
    folders: tuple[Path, ...] = ()

    def may(self, scope: str) -> bool:
        return SCOPES.index(self.scope) >= SCOPES.index(scope)

    @property
    def owner(self) -> str:
        """Identifies a principal; the same for the same account."""
        return self.permit().owner

    def permit(self, audit: AuditCallback | None = None) -> Permit:
        """What the library may do for them."""
        return Permit(self.collection_ids, self.scope, audit, self.key_id, self.folders)


LOCAL = Principal("local", "admin")  # whoever sits at this computer, where keys are not asked for


def principal_of(key: KeyInfo) -> Principal:
    """The principal that a key stands for."""
    return Principal(f"{key.name} ({key.prefix})", key.scope, key.id, key.collection_ids)
