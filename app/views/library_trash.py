"""The trash of a collection: put back, or removed for good."""

from __future__ import annotations

import streamlit as st

from ..components.text import count_name, day_name, plain, size_name
from ..state import errors_as_sentences, library, say_later

_SHOWN = 50


def show(collection: str) -> None:
    found = library().trash.list(collection)
    if not found:
        st.caption("The trash is empty.")
        return
    st.caption(f"{count_name(len(found), 'document')}. Searches and answers do not see them.")
    with st.container(horizontal=True, gap="small"):
        st.button(
            "Restore all", key="trash-restore", icon=":material/undo:", on_click=_restore,
            args=(collection, [one.id for one in found]),
        )  # fmt: skip
        st.button(
            "Empty the trash", key="trash-empty", icon=":material/delete_forever:",
            on_click=_empty, args=(collection,), help="Files that were uploaded here go with it.",
        )  # fmt: skip
    for one in found[:_SHOWN]:
        with st.container(
            horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"
        ):
            about = f"{size_name(one.size)} · deleted {day_name(one.trashed_at)}"
            st.markdown(f"{plain(one.name)} · {about}")
            st.button(
                "Restore", key=f"restore-{one.id}", icon=":material/undo:", on_click=_restore,
                args=(collection, [one.id]),
            )  # fmt: skip
    if len(found) > _SHOWN:
        st.caption(f"{len(found) - _SHOWN:,} older ones are not listed here.")


def _restore(collection: str, document_ids: list[int]) -> None:
    with errors_as_sentences():
        count = library().trash.restore(document_ids, collection=collection)
        say_later(f"{count_name(count, 'document')} restored.")


def _empty(collection: str) -> None:
    with errors_as_sentences():
        count = library().trash.empty(collection=collection)
        say_later(f"{count_name(count, 'document')} removed for good.")
