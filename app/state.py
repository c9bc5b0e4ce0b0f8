"""What the pages share: the library, who is asking, and errors said as sentences."""

from __future__ import annotations

import logging
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import streamlit as st

from app.access import owner_of
from ragcore.errors import RagcoreError
from ragcore.library import Library
from ragcore.settings import Settings

log = logging.getLogger("ragcore.app")

_opened: list[Library] = []
_opening = threading.Lock()
_PENDING = "_pending"


def library() -> Library:
    """The one library of this server, shared by all of its users."""
    return _open(Settings().model_dump_json())


@st.cache_resource(show_spinner=False)
def _open(settings: str) -> Library:
    made = Library(Settings.model_validate_json(settings))
    with _opening:
        _opened.append(made)
    made.resume_interrupted()
    made.machine.prepare()
    return made


def open_early() -> None:
    """Open the library before the first page asks for it; what fails is said on that page."""
    try:
        library()
    except Exception:
        log.warning("the library could not be opened yet", exc_info=True)


def close_libraries() -> None:
    """Close what was opened: jobs stop where they are, indexes are saved."""
    with _opening:
        while _opened:
            _opened.pop().close()


def owner() -> str:
    """Under whose name conversations are kept: this browser's."""
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
    except Exception:
        number = secrets.token_hex(3)
        log.exception("problem %s", number)
        st.error(
            f"Something went wrong here. The server's log has the details under {number}.",
            icon=":material/error:",
        )


def sentence(message: str) -> str:
    """An error's one line with a capital and a full stop, safe to show as Markdown."""
    from app.components.text import plain

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
