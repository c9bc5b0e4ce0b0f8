"""Choosing a collection: one choice for all pages, kept in the address."""

from __future__ import annotations

import streamlit as st

from ragcore.library import DEFAULT_COLLECTION, SAMPLE

from ..state import errors_as_sentences, library, may, set_later
from .text import plain

KEY, ALL = "collection", "All collections"


def names() -> list[str]:
    return [row.name for row in library().collections()]


def choose() -> str | None:
    """A box in the sidebar; None where there is no collection yet."""
    known = names()
    return _choose(known, known)


def choose_some() -> list[str]:
    """As `choose`, and all together can be chosen."""
    known = names()
    chosen = _choose(known, [*known, ALL] if len(known) > 1 and ALL not in known else known)
    return known if chosen == ALL else [name for name in known if name == chosen]


def _choose(known: list[str], options: list[str]) -> str | None:
    wanted = st.query_params.get(KEY)
    if wanted not in (None, ALL, *options):
        st.warning(f"There is no collection {plain(wanted)} that you may see.")
    if not known:
        return None
    first = DEFAULT_COLLECTION if DEFAULT_COLLECTION in known else known[0]
    if st.session_state.get(KEY) not in (None, *options):
        del st.session_state[KEY]
    chosen = st.sidebar.selectbox(
        "Collection", options, index=options.index(first), key=KEY, bind="query-params"
    )
    return str(chosen)


def empty_state() -> None:
    """What this is and how to begin, where nothing has been added yet."""
    st.subheader("Nothing here yet", anchor=False)
    if not may("write"):
        st.markdown("Your account may see no collection that has something in it.")
        return
    st.markdown(
        "ragcore finds passages and images in your own files, and answers questions from them "
        "with the page that each answer stands on. Everything stays on this computer."
    )
    st.markdown(
        "- **Search**: *spare parts for the pump*, and the page opens at that line\n"
        "- **Ask**: *how many days of leave do we have?*, answered with quotes\n"
        "- **Images**: *a red boat in the fog*, or one image to find others like it"
    )
    with st.container(horizontal=True, gap="small"):
        if st.button("Add files", type="primary", icon=":material/add:"):
            _open_adding()
        if st.button("Try with sample documents", key="sample", icon=":material/science:"):
            with errors_as_sentences():
                library().jobs.start_sample()
                set_later(**{KEY: SAMPLE})
                _open_adding()
    kinds = [one.kind for one in library().documents.file_types()]
    st.caption(f"Read are {', '.join(kinds[:-1])} and {kinds[-1]}.")


def _open_adding() -> None:
    st.session_state["_go"] = "library"
    set_later(view="Add")
    st.rerun()
