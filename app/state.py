"""What the pages share: the library, who is asking, and errors said as sentences."""

from __future__ import annotations

import logging
import secrets
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import streamlit as st

from ragcore.errors import RagcoreError
from ragcore.files import storage_error
from ragcore.library import LOCAL, Library, Principal
from ragcore.settings import Settings

from .access import owner_of
from .login import SESSION_COOKIE, Login

log = logging.getLogger("ragcore.app")

_opened: list[Library] = []
_opening = threading.Lock()
_PENDING = "_pending"
_login: Login | None = None


def use_login(login: Login | None) -> None:
    """Have everybody log in from here on; None: whoever asks sits at this computer."""
    global _login
    _login = login


def library() -> Library:
    """The one library of this server, opened for the person who asks.

    To be called where it is used, not kept: what somebody may do can change.
    """
    opened = _open(Settings().model_dump_json())
    if _login is None:
        return opened
    who = person()
    return opened.for_principal(who, audit=_noting(_login, who, str(st.context.ip_address or "")))


def library_of(token: str, client: str = "") -> Library | None:
    """The library for who holds this token, outside of pages; None for a login that is over.

    `client` is their address, for the audit.
    """
    opened = _open(Settings().model_dump_json())
    if _login is None:
        return opened
    who = _login.principal(token)
    return None if who is None else opened.for_principal(who, audit=_noting(_login, who, client))


def person() -> Principal:
    """Who is asking. Raises RagcoreError when a login is over."""
    if _login is None:
        return LOCAL
    found = _login.principal(session_token())
    if found is None:
        raise RagcoreError("your login is over: load the page again")
    return found


def may(scope: str) -> bool:
    """Whether the person who asks has a scope: pages leave out what they may not do."""
    return person().may(scope)


def may_everywhere(scope: str) -> bool:
    """Whether the person who asks has a scope for all collections."""
    return may(scope) and person().collection_ids is None


def with_login() -> bool:
    return _login is not None


class Cancellable(Protocol):
    """Work that goes on in the background of a page."""

    def cancel(self) -> None: ...


def end_with_login(work: Cancellable) -> None:
    """Cancel `work` when the login is over in which it was begun."""
    if _login is None:
        return
    known = weakref.ref(work)

    def end() -> None:
        there = known()
        if there is not None:
            there.cancel()

    weakref.finalize(work, _login.ends_with(session_token(), end))


def session_token() -> str:
    return str(st.context.cookies.get(SESSION_COOKIE, ""))


def _noting(login: Login, who: Principal, client: str) -> Callable[[str, str, bool], None]:
    """What enters the calls of a person into the audit."""

    def note(verb: str, collection: str, permitted: bool) -> None:
        login.audit.note(
            key_id=who.key_id,
            who=who.name[:120],
            action=f"page {verb}"[:200],
            collection=collection[:200],
            status=200 if permitted else 403,
            client=client[:64],
        )

    return note


@st.cache_resource(show_spinner=False)
def _open(settings: str) -> Library:
    made = Library(Settings.model_validate_json(settings))
    with _opening:
        _opened.append(made)
    made.jobs.resume_interrupted()
    made.models.prepare()
    return made


def open_early() -> None:
    """Open the library before the first page asks for it; what fails is said on that page."""
    try:
        _open(Settings().model_dump_json())
    except Exception:
        log.warning("the library could not be opened yet", exc_info=True)


def close_libraries() -> None:
    """Close what was opened: jobs stop where they are, indexes are saved."""
    with _opening:
        while _opened:
            _opened.pop().close()


def owner() -> str:
    """Under whose name conversations are kept: the account's, or without one this browser's."""
    if with_login():
        return person().owner
    known = owner_of(st.context.cookies)
    if known:
        return known
    # No cookie (refused, or no browser at all): for as long as the page is open.
    return str(st.session_state.setdefault("_owner", f"session-{secrets.token_hex(12)}"))


@contextmanager
def errors_as_sentences() -> Iterator[None]:
    """Show what goes wrong as one sentence; keep the details in the server's log."""
    try:
        yield
    except RagcoreError as error:
        st.error(sentence(str(error)), icon=":material/error:")
    except Exception as error:
        known = storage_error(error, "nothing was stored") if isinstance(error, OSError) else None
        if known is not None:
            st.error(sentence(str(known)), icon=":material/error:")
            return
        number = secrets.token_hex(3)
        log.exception("problem %s", number)
        st.error(
            f"Something went wrong here. The server's log has the details under {number}.",
            icon=":material/error:",
        )


def sentence(message: str) -> str:
    """An error's one line with a capital and a full stop, safe to show as Markdown."""
    from .components.text import plain

    text = " ".join(message.split())
    text = text[:1].upper() + text[1:]
    return plain(text if text.endswith((".", "!", "?", "…")) else f"{text}.")


def set_later(**values: Any) -> None:
    """Set widgets' values at the start of the next run (a drawn widget cannot be set)."""
    st.session_state.setdefault(_PENDING, {}).update(values)


def apply_pending() -> None:
    for key, value in st.session_state.pop(_PENDING, {}).items():
        st.session_state[key] = value


def say_later(message: str, icon: str = ":material/check:") -> None:
    """Show a short notice on the next run."""
    st.session_state.setdefault("_notices", []).append((message, icon))


def show_notices() -> None:
    for message, icon in st.session_state.pop("_notices", []):
        st.toast(message, icon=icon)
