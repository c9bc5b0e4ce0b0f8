"""The documents of a collection as a table: search, look, add again, delete."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import streamlit as st

from ragcore.types import DocumentInfo

from ..components import viewer
from ..components.text import count_name, plain, size_name, type_name
from ..state import errors_as_sentences, library, may, say_later

_ROWS = 50
_STATES: dict[str, dict[str, Any]] = {
    "All": {},
    "Ready": {"state": "ready"},
    "Incomplete": {"incomplete": True},
    "Outdated": {"state": "stale"},
    "Failed": {"state": "failed"},
}
_STATE_NAMES = {"ready": "Ready", "stale": "Outdated", "failed": "Failed"}
_ORDERS = {
    "Name": "name",
    "Newest": "newest",
    "Last changed": "modified",
    "Largest": "size",
    "Most pages": "pages",
}


def show(collection: str) -> None:
    search, state, order = _controls()
    where = {"search": search, "order": _ORDERS[order], **_STATES[state]}
    _, total = library().documents.list(collection, limit=1, **where)
    if not total:
        st.caption(
            "No document fits that."
            if search or state != "All"
            else "Nothing is in this collection yet. Choose Add above."
        )
        return
    pages = -(-total // _ROWS)
    if st.session_state.get("docs-page", 1) > pages:
        del st.session_state["docs-page"]
    page = st.pagination(pages, key="docs-page") if pages > 1 else 1
    rows, total = library().documents.list(
        collection, limit=_ROWS, offset=(page - 1) * _ROWS, **where
    )
    st.caption(count_name(total, "document"))
    chosen = _table(rows, key=f"docs-{collection}-{search}-{state}-{order}-{page}")
    _actions(collection, chosen)


def _controls() -> tuple[str, str, str]:
    left, middle, right = st.columns([4, 6, 2])
    search = left.text_input(
        "Find", key="docs-search", placeholder="name, title or folder", type="search"
    )
    state = middle.segmented_control(
        "State", list(_STATES), default="All", required=True, key="docs-state"
    )
    order = right.selectbox("Order", list(_ORDERS), key="docs-order")
    return (search or "").strip(), str(state), str(order)


def _table(rows: Sequence[DocumentInfo], *, key: str) -> list[DocumentInfo]:
    table = [
        {
            "State": _STATE_NAMES.get(row.state, row.state),
            "Read": _read_share(row),
            "Name": row.name,
            "Title": row.title if row.title != row.name else "",
            "Type": type_name(row.media_type) if row.media_type else "",
            "Size": size_name(row.size),
            "Pages": row.pages,
            "Passages": row.passages,
            "Images": row.images,
            "Problem": row.error or "; ".join(row.warnings),
            "Added": row.ingested_at,
            **({"Folder": row.path.rsplit("/", 1)[0]} if may("write") else {}),
        }
        for row in rows
    ]
    event: Any = st.dataframe(
        table,
        key=key,
        hide_index=True,
        on_select="rerun",
        selection_mode="multi-row",
        height=min(35 * (len(rows) + 1) + 3, 620),  # a row is 35 pixels high
        column_config={
            "Added": st.column_config.DatetimeColumn(format="YYYY-MM-DD HH:mm"),
            "Name": st.column_config.TextColumn(width="medium"),
        },
    )
    return [rows[place] for place in event.selection.rows if place < len(rows)]


def _read_share(row: DocumentInfo) -> str:
    """How much of the document was read, in a few words."""
    if row.state == "failed":
        return "nothing"
    if row.coverage is None:
        return "in part" if row.incomplete else "no report"
    return "in part" if row.incomplete else "all"


def _actions(collection: str, chosen: list[DocumentInfo]) -> None:
    if not chosen:
        st.caption(
            "Choose rows at their left edge to open, add again or delete them."
            if may("write")
            else "Choose a row at its left edge to open it."
        )
        return
    with st.container(horizontal=True, vertical_alignment="center"):
        if len(chosen) == 1 and st.button("Open", key="docs-open", icon=":material/visibility:"):
            _open(collection, chosen[0])
        if len(chosen) == 1 and st.button(
            "What was read", key="docs-coverage", icon=":material/fact_check:"
        ):
            _coverage(chosen[0])
        if not may("write"):
            return
        if st.button("Add again", key="docs-again", icon=":material/refresh:"):
            with errors_as_sentences():
                library().jobs.start_reading_again(
                    [row.id for row in chosen], collection=collection
                )
                say_later(f"Reading {count_name(len(chosen), 'document')} again.")
                st.rerun()
        if st.button("Delete", key="docs-delete", icon=":material/delete:"):
            _delete(collection, [row.id for row in chosen], [row.name for row in chosen])


def _open(collection: str, row: DocumentInfo) -> None:
    if row.state == "failed":
        st.warning(f"{plain(row.name)} could not be read: {plain(row.error)}")
    elif row.media_type.startswith(("image/", "video/")):
        shown = library().images.list(collection, document_id=row.id)
        viewer.open_image(shown[0].id, [viewer.hit_of(one, collection) for one in shown])
    else:
        viewer.open_page(row.id)


@st.dialog("What was read", width="medium")
def _coverage(row: DocumentInfo) -> None:
    st.markdown(f"**{plain(row.name)}**")
    coverage = row.coverage
    if coverage is None:
        st.caption(
            f"Nothing: {plain(row.error)}"
            if row.state == "failed"
            else "An earlier version of ragcore read this document: add it again for a report."
        )
        return
    table = [
        {
            "Part": kind.capitalize(),
            "In the file": counts.found,
            "Read": counts.read,
            "In part": counts.partial,
            "Not read": counts.skipped,
            "Ignored": counts.ignored,
            "Text recognized": counts.ocr,
        }
        for kind in ("pages", "sheets", "tables", "images", "attachments")
        if (counts := getattr(coverage, kind)).found
    ]
    st.dataframe(table, hide_index=True)
    if not coverage.skipped:
        st.markdown(":material/check_circle: Nothing is missing.")
    for skipped in coverage.skipped:
        st.markdown(f":material/warning: {plain(str(skipped))}")
    if any(row["Ignored"] for row in table):
        st.caption("Ignored: decoration, repeats, and images that the file only links to.")


@st.dialog("Delete from the library?")
def _delete(collection: str, ids: list[int], names: list[str]) -> None:
    shown = ", ".join(plain(name) for name in names[:5]) + (" …" if len(names) > 5 else "")
    st.markdown(f"{count_name(len(ids), 'document')}: {shown}")
    st.caption("They go to the trash, from which they can be restored.")
    if st.button("Delete", type="primary", key="docs-delete-surely"):
        with errors_as_sentences():
            count = library().trash.put(ids, collection=collection)
            say_later(f"{count_name(count, 'document')} deleted.")
            st.rerun()
