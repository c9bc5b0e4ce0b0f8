"""A file field whose file is kept when another page is looked at."""

from __future__ import annotations

import streamlit as st

from .text import plain, shorten

IMAGES = ("png", "jpg", "jpeg", "webp", "gif", "bmp")


def image(label: str, key: str, *, hidden: bool = False) -> bytes | None:
    """What was dropped last, until it is taken away or another one is."""
    state_key = f"_{key}"
    field = f"{key}-{st.session_state.get(_round(key), 0)}"

    def changed() -> None:
        file = st.session_state[field]
        if file is None:
            st.session_state.pop(state_key, None)
        else:
            st.session_state[state_key] = (file.name, file.getvalue())

    shown = st.file_uploader(
        label, type=list(IMAGES), key=field, on_change=changed,
        label_visibility="collapsed" if hidden else "visible",
    )  # fmt: skip
    sent: tuple[str, bytes] | None = st.session_state.get(state_key)
    if sent is None:
        return None
    if shown is None:
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            st.caption(plain(shorten(sent[0], 40)), width="content")
            st.button("Remove", key=f"{key}-away", on_click=forget, args=(key,))
    return sent[1]


def sent_file(key: str) -> bytes | None:
    """What the field of that key holds, without drawing it."""
    found: tuple[str, bytes] | None = st.session_state.get(f"_{key}")
    return found[1] if found else None


def put(key: str, name: str, data: bytes) -> None:
    """As if this file had been dropped."""
    forget(key)
    st.session_state[f"_{key}"] = (name, data)


def forget(key: str) -> None:
    """Empty the field."""
    st.session_state.pop(f"_{key}", None)
    st.session_state[_round(key)] = st.session_state.get(_round(key), 0) + 1  # a new field


def name_of(key: str) -> str:
    """The name of the file in the field; empty while there is none."""
    found: tuple[str, bytes] | None = st.session_state.get(f"_{key}")
    return found[0] if found else ""


def _round(key: str) -> str:
    return f"_{key}_round"
