"""Logging in to the pages: by the accounts that the HTTP API has its keys from."""

from __future__ import annotations

import hmac
import time
from collections import OrderedDict

from ragcore.accounts import Tokens
from ragcore.catalog.audit import Audit
from ragcore.catalog.keys import Keys
from ragcore.catalog.principals import Principal, principal_of
from ragcore.settings import Settings

SESSION_COOKIE = "ragcore_session"
SESSION = 14 * 86400  # seconds that a login lasts
_LOOK_EVERY = 1.0  # seconds: a revoked account is out within it
_MOST_KNOWN = 10_000
_FREE_TRIES, _FORGET = 3, 900.0
_LONGEST_HOST, _LONGEST_NAME = 60.0, 8.0  # seconds; a name cannot be locked out by others


class Login:
    """Tells who has logged in, by the token in the browser's cookie.

    A token ends with its time, and at once when the account is revoked or expires, gets another
    key or another password.
    """

    def __init__(self, keys: Keys, settings: Settings, audit: Audit) -> None:
        self.audit = audit
        self._keys = keys
        self._tokens = Tokens(settings.home / "ui.key")
        self._known: OrderedDict[str, tuple[float, Principal | None]] = OrderedDict()

    def enter(self, name: str, password: str) -> tuple[str, Principal] | None:
        """A new token for the account of this name and password, or of this key; or None."""
        info = self._keys.log_in(name, password)
        if info is None:
            return None
        return self._tokens.issue(f"{info.id}-{info.stamp}", SESSION), principal_of(info)

    def principal(self, token: str) -> Principal | None:
        """Who holds this token; None if it is none, or is over."""
        now = time.monotonic()
        looked, found = self._known.get(token, (-_LOOK_EVERY, None))
        if now - looked < _LOOK_EVERY:
            return found
        found = self._look(token)
        self._known[token] = (now, found)
        while len(self._known) > _MOST_KNOWN:
            self._known.popitem(last=False)
        return found

    def _look(self, token: str) -> Principal | None:
        subject = self._tokens.subject(token) if token else None
        if subject is None:
            return None
        number, _, stamp = subject.partition("-")
        info = self._keys.get(int(number))
        if info is None or not hmac.compare_digest(info.stamp, stamp):
            return None
        return principal_of(info)


class Throttle:
    """Slows guessing down: three tries are free, then each must wait twice as long as the last.

    A try counts from its beginning, so that many at once gain nothing.
    """

    def __init__(self) -> None:
        self._tries: OrderedDict[str, tuple[int, float, float]] = OrderedDict()

    def take(self, host: str, name: str) -> float:
        """Count a try and return 0.0, or return the seconds until the next is allowed."""
        now = time.monotonic()
        who = ((f"host {host}", _LONGEST_HOST), (f"name {name}", _LONGEST_NAME))
        wait = max(self._tries.get(key, (0, 0.0, 0.0))[1] - now for key, _ in who)
        if wait > 0:
            return wait
        for key, longest in who:
            tries, _, last = self._tries.pop(key, (0, 0.0, 0.0))
            tries = tries + 1 if now - last < _FORGET else 1
            pause = 0.0 if tries < _FREE_TRIES else min(longest, 2.0 ** (tries - _FREE_TRIES))
            self._tries[key] = (tries, now + pause, now)
        while len(self._tries) > _MOST_KNOWN:
            self._tries.popitem(last=False)
        return 0.0

    def forgive(self, host: str, name: str) -> None:
        """The last try was right."""
        for key in (f"host {host}", f"name {name}"):
            self._tries.pop(key, None)
