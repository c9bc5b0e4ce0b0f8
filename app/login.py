"""Logging in to the pages: by the accounts that the HTTP API has its keys from."""

from __future__ import annotations

import datetime as dt
import hashlib
import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from itertools import count

from ragcore.errors import RagcoreError
from ragcore.library import Audit, Keys, Principal, Sessions, principal_of
from ragcore.settings import Settings

from .tokens import SignedTokens

log = logging.getLogger("ragcore.app")
End = Callable[[], None]

SESSION_COOKIE = "ragcore_session"
DEVICE_COOKIE = "ragcore_device"
SESSION = 14 * 86400  # seconds that a login lasts
DEVICE = 365 * 86400  # and that its browser is known by
_LOOK_EVERY = 1.0  # seconds: a revoked account is out within it
_MOST_KNOWN = 10_000
_FREE_TRIES, _FORGET = 3, 900.0
_LONGEST, _LONGEST_NAME, _LONGEST_HOST = 60.0, 8.0, 4.0  # seconds


class Login:
    """Reports who has logged in, by the token in the browser's cookie.

    A session ends with its time, by logging out, when it is revoked, and within a second when the
    account is disabled, revoked or expired, or gets another key or password. What was begun in it
    (connections, answers, images) ends with it: see `ends_with`.
    """

    def __init__(self, keys: Keys, sessions: Sessions, settings: Settings, audit: Audit) -> None:
        self.audit = audit
        self._keys = keys
        self._sessions = sessions
        self._tokens = SignedTokens(settings.home / "ui.key", "session")
        self._devices = SignedTokens(settings.home / "ui.key", "device")
        self._known: OrderedDict[str, tuple[float, Principal | None]] = OrderedDict()
        self._ends: dict[str, dict[int, End]] = {}
        self._numbers = count()
        self._lock = threading.Lock()
        self._watching: threading.Thread | None = None

    def enter(
        self, name: str, password: str, *, client: str = "", browser: str = ""
    ) -> tuple[str, Principal] | None:
        """A new session's token for the account of this name and password, or of this key.

        Or None.
        """
        info = self._keys.log_in(name, password)
        if info is None:
            return None
        token = self._tokens.issue()
        digest = self._tokens.digest(token, SESSION)
        assert digest is not None
        lifetime = dt.timedelta(seconds=SESSION)
        self._sessions.begin(info, digest, lifetime, client=client, browser=browser)
        return token, principal_of(info)

    def device_cookie(self, name: str) -> str:
        """What a browser is known by in which this name has logged in."""
        return self._devices.issue(_device(name))

    def device(self, cookie: str, name: str) -> str:
        """The device of a cookie of ours for this name, or ""."""
        return self._devices.digest(cookie, DEVICE, _device(name)) or ""

    def leave(self, token: str) -> None:
        """End a session at once, with everything that was begun in it."""
        digest = self._tokens.digest(token, SESSION)
        if digest is not None:
            self._sessions.end(digest)
            self._known.pop(digest, None)
            self._end(digest)

    def principal(self, token: str) -> Principal | None:
        """Who holds this token; None if it is none, or is over.

        Of a token that was not issued here nothing is remembered.
        """
        digest = self._tokens.digest(token, SESSION)
        if digest is None:
            return None
        now = time.monotonic()
        looked, found = self._known.get(digest, (-_LOOK_EVERY, None))
        if now - looked < _LOOK_EVERY:
            return found
        info = self._sessions.find(digest)
        found = principal_of(info) if info is not None else None
        self._known[digest] = (now, found)
        while len(self._known) > _MOST_KNOWN:
            self._known.popitem(last=False)
        return found

    def ends_with(self, token: str, end: End) -> Callable[[], None]:
        """Call `end` when the session of this token is over; return what takes that back.

        It is called from a thread of its own, or from the one that logs out.
        """
        digest = self._tokens.digest(token, SESSION)
        if digest is None or self._sessions.find(digest) is None:
            end()
            return lambda: None
        number = next(self._numbers)
        with self._lock:
            self._ends.setdefault(digest, {})[number] = end
            if self._watching is None:
                self._watching = threading.Thread(
                    target=self._watch, name="ragcore-sessions", daemon=True
                )
                self._watching.start()
        return lambda: self._forget(digest, number)

    def _forget(self, digest: str, number: int) -> None:
        with self._lock:
            ends = self._ends.get(digest, {})
            ends.pop(number, None)
            if not ends:
                self._ends.pop(digest, None)

    def _end(self, digest: str) -> None:
        with self._lock:
            ends = list(self._ends.pop(digest, {}).values())
        for end in ends:
            end()

    def _watch(self) -> None:
        """Look every second whether the sessions in which something goes on are over."""
        while True:
            time.sleep(_LOOK_EVERY)
            with self._lock:
                digests = list(self._ends)
                if not digests:
                    self._watching = None
                    return
            for digest in digests:
                try:
                    if self._sessions.find(digest) is None:
                        self._known.pop(digest, None)
                        self._end(digest)
                except RagcoreError as error:  # the database is away: it is looked again
                    log.warning("sessions cannot be checked: %s", error)


class Throttle:
    """Slows guessing down: some tries are free, then each must wait twice as long as the last.

    Tries are counted by address and name together, by name, and by address. The last two pauses
    are short: nobody can keep a person out by trying their name, nor everybody by trying from an
    address that many share, such as a proxy's. A browser in which the same name has logged in
    before (`device`) waits for its own tries only. A try counts from its beginning, so that many
    at once gain nothing.
    """

    def __init__(self) -> None:
        self._tries: OrderedDict[str, tuple[int, float, float]] = OrderedDict()

    def take(self, host: str, name: str, device: str = "") -> float:
        """Count a try and return 0.0, or return the seconds until the next is allowed."""
        now = time.monotonic()
        who = _counted(host, name, device)
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

    def forgive(self, host: str, name: str, device: str = "") -> None:
        """The last try was right."""
        for key, _ in _counted(host, name, device):
            self._tries.pop(key, None)


def _device(name: str) -> str:
    return hashlib.sha256(name.casefold().encode("utf-8", "replace")).hexdigest()[:16]


def _counted(host: str, name: str, device: str) -> tuple[tuple[str, float], ...]:
    """What a try is counted under, hashed, each with its longest pause."""
    if device:
        return ((_key("device", device, name), _LONGEST),)
    return (
        (_key("both", host, name), _LONGEST),
        (_key("name", name), _LONGEST_NAME),
        (_key("host", host), _LONGEST_HOST),
    )


def _key(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode("utf-8", "replace")).hexdigest()
