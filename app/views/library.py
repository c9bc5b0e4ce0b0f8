"""The page Library: what there is, adding to it, looking after it."""

from __future__ import annotations

import streamlit as st

from ..components import collections
from ..components.text import plain
from ..state import errors_as_sentences, library, may, say_later, set_later
from . import (
    library_add,
    library_documents,
    library_duplicates,
    library_labels,
    library_map,
    library_trash,
)
from . import library_overview as overview

_VIEWS = {
    "Documents": library_documents.show,
    "Add": library_add.show,
    "Overview": overview.show,
    "Map": library_map.show,
    "Duplicates": library_duplicates.show,
    "Labels": library_labels.show,
    "Trash": library_trash.show,
}
_CHANGE = ("Add", "Duplicates", "Trash")  # views that are for changing what there is


def show() -> None:
    collection = collections.choose()
    _sidebar(collection)
    if "view" not in st.session_state and "view" not in st.query_params:
        st.session_state["view"] = "Documents" if collection else "Add"
    views = [name for name in _VIEWS if name not in _CHANGE or may("write")]
    if st.session_state.get("view") not in (None, *views):
        del st.session_state["view"]
    view = st.segmented_control(
        "View",
        views,
        required=True,
        key="view",
        bind="query-params",
        label_visibility="collapsed",
    )
    with errors_as_sentences():
        if collection is None and view != "Add":
            collections.empty_state()
            return
        _VIEWS[view or "Documents"](collection or "")


def _sidebar(collection: str | None) -> None:
    with st.sidebar:
        if may("write") and st.button("New collection", icon=":material/add:", width="stretch"):
            _new()
        if collection is None or not may("admin"):
            return
        if st.button("Rename", icon=":material/edit:", width="stretch"):
            _rename(collection)
        if st.button("Delete collection", icon=":material/delete:", width="stretch"):
            _delete(collection)


@st.dialog("New collection")
def _new() -> None:
    name = st.text_input("Name", key="new-name", max_chars=100)
    if st.button("Make it", type="primary", key="new-make"):
        with errors_as_sentences():
            library().create_collection((name or "").strip())
            set_later(collection=(name or "").strip(), view="Add")
            st.rerun()


@st.dialog("Rename the collection")
def _rename(collection: str) -> None:
    name = st.text_input("Name", value=collection, key="rename-name", max_chars=100)
    if st.button("Rename it", type="primary", key="rename-make"):
        with errors_as_sentences():
            library().admin.rename_collection(collection, (name or "").strip())
            set_later(collection=(name or "").strip())
            st.rerun()


@st.dialog("Delete the collection?")
def _delete(collection: str) -> None:
    counts = library().documents.statistics(collection)
    st.markdown(
        f"**{plain(collection)}** with {counts.documents:,} documents will be gone from the "
        "library. Files that were uploaded here are deleted; your own folders are not touched."
    )
    typed = st.text_input("Type its name to confirm", key="delete-name")
    if st.button("Delete it", type="primary", key="delete-make", disabled=typed != collection):
        with errors_as_sentences():
            library().admin.delete_collection(collection)
            st.session_state.pop("collection", None)
            say_later(f"{plain(collection)} is deleted.")
            st.rerun()
