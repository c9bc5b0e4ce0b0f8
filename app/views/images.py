"""The page Images: all images of a collection, by month, folder, label, place or album."""

from __future__ import annotations

from datetime import date

import streamlit as st

from ragcore.library import ImageGroup

from ..components import chips, collections, filters, grid
from ..components.text import count_name
from ..state import errors_as_sentences, library, may

_BY = {
    "Month": "month",
    "Folder": "folder",
    "Label": "label",
    "Place": "place",
    "Album": "album",
}
_NONE = {
    "month": "No date",
    "folder": "No folder",
    "label": "No label",
    "place": "No place",
    "album": "No album",
}
_SIZES = {"Small": 96, "Medium": 160, "Large": 240}


def show() -> None:
    collection = collections.choose()
    if collection is None:
        collections.empty_state()
        return
    by, size = _controls()
    with st.sidebar:
        filters.sidebar(collection)
        st.button("Clear filters", on_click=filters.clear, icon=":material/filter_alt_off:")
    with errors_as_sentences():
        chips.show([*filters.chips()])
        chosen = filters.chosen()
        groups = library().images.groups(collection, by=by, where=chosen)  # type: ignore[arg-type]
        count = sum(len(group.ids) for group in groups)
        if not count:
            st.markdown("**No image meets the filters.**" if chosen else "**No images here yet.**")
            return
        st.caption(count_name(count, "image"))
        titles = [_title(group, by) for group in groups]
        grid.image_grid("grid", collection, groups, titles, by=by, size=size)


def _controls() -> tuple[str, int]:
    """How images are grouped, and their size in pixels."""
    names = [name for name, by in _BY.items() if by != "folder" or may("write")]
    with st.container(horizontal=True, gap="small"):
        by = st.segmented_control(
            "Grouped by", names, default="Month", required=True, key="by", bind="query-params"
        )
        size = st.segmented_control(
            "Size", list(_SIZES), default="Medium", required=True, key="size", bind="query-params"
        )
    return _BY[by or "Month"], _SIZES[size or "Medium"]


def _title(group: ImageGroup, by: str) -> str:
    name = group.name or _NONE[by]
    if by == "month" and group.name:
        year, month = map(int, group.name.split("-"))
        name = f"{date(year, month, 1):%B} {year}"
    return f"{name} · {len(group.ids):,}"
