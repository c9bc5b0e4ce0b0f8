"""Accounts: each has a key for programs, and perhaps a password for the pages.

The key itself is shown once and kept nowhere.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import secrets
from collections.abc import Collection as Collection_
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache

from sqlalchemy import ColumnElement, select, update
from sqlalchemy.orm import Session

from ragcore.access.passwords import hash_password, verify_password
from ragcore.catalog import SCOPES, ApiKey, ApiKeyCollection, Catalog, Collection, now
from ragcore.errors import StorageUnavailable, UsageError
from ragcore.text import check_shown

__all__ = ["SCOPES", "KeyInfo", "Keys"]

_MARK = "rc_"
_SHOWN = len(_MARK) + 8
_NOTE_USE_EVERY = dt.timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class KeyInfo:
    """A key as it is known; `collections` is None for all of them.

    `state`: live, disabled, expired, revoked. `password`: whether its holder may log in by name.
    `stamp` changes with the key and with the password: a login that was made under another one is
    over.
    """

    id: int
    name: str
    prefix: str
    scope: str
    collections: tuple[str, ...] | None
    collection_ids: frozenset[int] | None
    state: str
    created_at: dt.datetime
    expires_at: dt.datetime | None
    last_used_at: dt.datetime | None
    password: bool
    stamp: str


class Keys:
    """The API keys of one catalog."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    def create(
        self,
        name: str,
        *,
        scope: str,
        collections: Sequence[str] = (),
        lifetime: dt.timedelta | None = None,
        password: str | None = None,
    ) -> tuple[str, KeyInfo]:
        """Make a key for some collections, or for all; return it, for the only time, and its row.

        Raises UsageError for a bad name, scope, lifetime or password, an unknown collection, or a
        name that somebody else logs in by.
        """
        name = check_shown(" ".join(name.split()), "a key's name")
        if not 1 <= len(name) <= 100:
            raise UsageError("a key needs a name of 1 to 100 characters: who or what uses it")
        if scope not in SCOPES:
            raise UsageError(f"a key's scope is {', '.join(SCOPES)}, not {scope[:40]!r}")
        if lifetime is not None and lifetime <= dt.timedelta(0):
            raise UsageError("a key must live longer than no time")
        wanted = [self._catalog.collection(collection).id for collection in collections]
        key = _new_key()
        if password is not None:
            self._check_free(name)
        row = ApiKey(
            name=name,
            prefix=key[:_SHOWN],
            sha256=_digest(key),
            password_hash=hash_password(password) if password is not None else "",
            scope=scope,
            all_collections=not wanted,
            expires_at=now() + lifetime if lifetime else None,
        )
        with self._catalog.write() as session:
            session.add(row)
            session.flush()
            session.add_all(
                ApiKeyCollection(key_id=row.id, collection_id=one) for one in sorted(set(wanted))
            )
            key_id = row.id
        return key, self._infos(ApiKey.id == key_id)[0]

    def find(self, key: str) -> KeyInfo | None:
        """The live key that this is, or None: unknown, expired and revoked ones look alike."""
        found = self._infos(ApiKey.sha256 == _digest(key))
        if not found or found[0].state != "live":
            return None
        self._note_use(found[0])
        return found[0]

    def log_in(self, name: str, password: str) -> KeyInfo | None:
        """The live account of this name and password, or whose key `password` is; or None.

        A name that nobody has takes as long as a wrong password.
        """
        if password.startswith(_MARK) and (found := self.find(password)) is not None:
            return found
        name = " ".join(name.split())
        with self._catalog.read() as session:
            rows = session.execute(
                select(ApiKey.id, ApiKey.password_hash).where(
                    ApiKey.name == name, ApiKey.password_hash != ""
                )
            ).all()
        live = {info.id: info for info in self._infos(ApiKey.name == name) if info.state == "live"}
        hashes = [(live[key_id], hashed) for key_id, hashed in rows if key_id in live]
        info, hashed = hashes[0] if hashes else (None, _nobodys_hash())
        if not verify_password(password, hashed) or info is None:
            return None
        self._note_use(info)
        return info

    def get(self, key_id: int) -> KeyInfo | None:
        """The live key of this number, or None."""
        found = self._infos(ApiKey.id == key_id)
        return found[0] if found and found[0].state == "live" else None

    def named(self, which: str) -> KeyInfo:
        """The live key of this number or prefix. Raises UsageError unless there is exactly one."""
        return self._meant(which)

    def all(self) -> list[KeyInfo]:
        """Every key, oldest first, those that are over as well."""
        return self._infos()

    def any_live(self) -> bool:
        return any(info.state == "live" for info in self._infos())

    def revoke(self, which: str) -> KeyInfo:
        """End a key, given by its number or its first letters, at once and for good.

        Raises UsageError unless exactly one live or disabled key is meant.
        """
        return self._change(self._meant(which, "live", "disabled"), revoked_at=now())

    def disable(self, which: str) -> KeyInfo:
        """Let an account do nothing until it is enabled again.

        Its key, its sessions, what it is being answered and its jobs end within a second. Raises
        UsageError as `revoke`.
        """
        return self._change(self._meant(which), disabled_at=now())

    def enable(self, which: str) -> KeyInfo:
        """Let a disabled account in again; who was logged in logs in again.

        Raises UsageError unless exactly one disabled key is meant.
        """
        info = self._meant(which, "disabled")
        if info.password:
            self._check_free(info.name, but=info.id)
        return self._change(info, disabled_at=None)

    def live_among(self, key_ids: Collection_[int]) -> set[int]:
        """Those of these keys that are live."""
        wanted = sorted(set(key_ids))
        infos = self._infos(ApiKey.id.in_(wanted)) if wanted else []
        return {info.id for info in infos if info.state == "live"}

    def renew(self, which: str) -> tuple[str, KeyInfo]:
        """Give an account another key; the old one and its logins end at once.

        Rights, password and conversations stay. Raises UsageError as `revoke`.
        """
        key = _new_key()
        changed = self._change(self._meant(which), prefix=key[:_SHOWN], sha256=_digest(key))
        return key, changed

    def set_password(self, which: str, password: str | None) -> KeyInfo:
        """Let the holder of a live key log in to the pages by its name; None: no longer so.

        Logins under the password before end at once. Raises UsageError as `revoke`, for a short
        password, or where another live key of that name has one.
        """
        info = self._meant(which)
        if password is not None:
            self._check_free(info.name, but=info.id)
        hashed = hash_password(password) if password is not None else ""
        return self._change(info, password_hash=hashed)

    def _meant(self, which: str, *states: str) -> KeyInfo:
        wanted = states or ("live",)
        meant = [
            info
            for info in self._infos()
            if info.state in wanted and (str(info.id) == which or info.prefix == which)
        ]
        if len(meant) != 1:
            raise UsageError(
                f"no {wanted[0]} key {which[:40]!r}: give a number or prefix from "
                "`ragcore keys list`"
            )
        return meant[0]

    def _change(self, info: KeyInfo, **values: object) -> KeyInfo:
        with self._catalog.write() as session:
            session.execute(update(ApiKey).where(ApiKey.id == info.id).values(**values))
        return self._infos(ApiKey.id == info.id)[0]

    def _check_free(self, name: str, but: int | None = None) -> None:
        """Raises UsageError where somebody else logs in by this name."""
        for info in self._infos(ApiKey.name == name):
            if info.password and info.state == "live" and info.id != but:
                raise UsageError(f"key {info.id} already logs in as {name!r}: choose another name")

    def _note_use(self, info: KeyInfo) -> None:
        if info.last_used_at is None or now() - info.last_used_at > _NOTE_USE_EVERY:
            with suppress(StorageUnavailable):  # who may read, may while the disk is full
                self._change(info, last_used_at=now())

    def _infos(self, *where: ColumnElement[bool]) -> list[KeyInfo]:
        with self._catalog.read() as session:
            rows = session.scalars(select(ApiKey).where(*where).order_by(ApiKey.id)).all()
            limited = [row.id for row in rows if not row.all_collections]
            named: dict[int, list[tuple[int, str]]] = {}
            if limited:
                query = (
                    select(ApiKeyCollection.key_id, Collection.id, Collection.name)
                    .join(Collection, Collection.id == ApiKeyCollection.collection_id)
                    .where(ApiKeyCollection.key_id.in_(limited))
                    .order_by(Collection.name)
                )
                for key_id, collection_id, name in session.execute(query):
                    named.setdefault(key_id, []).append((collection_id, name))
        return [_info(row, named.get(row.id, [])) for row in rows]


def is_live(session: Session, key_id: int | None) -> bool:
    """Whether work may still be done for this account; None: for nobody's, always."""
    if key_id is None:
        return True
    row = session.get(ApiKey, key_id)
    return row is not None and _state(row) == "live"


def _state(row: ApiKey) -> str:
    if row.revoked_at is not None:
        return "revoked"
    if row.expires_at is not None and row.expires_at <= now():
        return "expired"
    return "live" if row.disabled_at is None else "disabled"


def _info(row: ApiKey, named: Sequence[tuple[int, str]]) -> KeyInfo:
    everything = row.all_collections
    return KeyInfo(
        id=row.id,
        name=row.name,
        prefix=row.prefix,
        scope=row.scope,
        collections=None if everything else tuple(name for _, name in named),
        collection_ids=None if everything else frozenset(one for one, _ in named),
        state=_state(row),
        created_at=row.created_at,
        expires_at=row.expires_at,
        last_used_at=row.last_used_at,
        password=bool(row.password_hash),
        stamp=_digest(row.sha256 + row.password_hash)[:16],
    )


@cache
def _nobodys_hash() -> str:
    return hash_password(secrets.token_urlsafe(16))


def _new_key() -> str:
    return _MARK + secrets.token_urlsafe(32)


def _digest(key: str) -> str:
    # The key has 256 random bits: a slow hash, as for passwords, would gain nothing.
    return hashlib.sha256(key.encode("utf-8", "replace")).hexdigest()
