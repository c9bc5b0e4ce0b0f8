"""Numbers of a collection, as figures and plots."""

from __future__ import annotations

import streamlit as st

from ..components.text import size_name, type_name
from ..state import errors_as_sentences, library, may, say_later, set_later

_BARS = 12


def show(collection: str) -> None:
    counts = library().documents.statistics(collection)
    grid = st.grid(min_column_width=110)
    grid.metric("Documents", f"{counts.documents:,}")
    grid.metric("Pages", f"{counts.pages:,}")
    grid.metric("Passages", f"{counts.passages:,}")
    grid.metric("Images", f"{counts.images:,}")
    grid.metric("Size of the files", size_name(counts.bytes))
    problems = counts.states.get("failed", 0) + counts.states.get("stale", 0)
    grid.metric("With problems", f"{problems:,}")
    grid.metric("Incomplete", f"{counts.incomplete:,}")
    if not counts.documents:
        st.caption("Nothing is in this collection yet. Choose Add above.")
        return
    facets = library().documents.facets(collection)
    left, right = st.columns(2, gap="large")
    with left:
        types: dict[str, int] = {}
        for media_type, number in facets["type"].items():
            name = type_name(media_type)
            types[name] = types.get(name, 0) + number
        _bars("By type", types)
        _bars("By year of last change", dict(sorted(facets["year"].items())), sort=False)
    with right:
        folders = sorted(facets["path"].items(), key=lambda item: -item[1])
        _bars("By folder", {_tail(path): number for path, number in folders})
    _index(collection)


def _tail(path: str) -> str:
    """The end of a path, which identifies a file better than its beginning."""
    return path if len(path) <= 34 else f"…{path[-33:]}"


def _bars(title: str, counts: dict[str, int], *, sort: bool = True) -> None:
    if not counts:
        return
    import altair as alt

    st.subheader(title, anchor=False)
    shown = list(counts.items())[:_BARS]
    rows = alt.InlineData(values=[{"name": name, "documents": number} for name, number in shown])
    chart = (
        alt.Chart(rows, height=28 * len(shown) + 30)
        .mark_bar(cornerRadiusEnd=3, height={"band": 0.7})
        .encode(
            x=alt.X("documents:Q", title=None, axis=alt.Axis(tickMinStep=1, format=",d")),
            y=alt.Y(
                "name:N",
                title=None,
                sort="-x" if sort else None,
                axis=alt.Axis(labelLimit=220),
            ),
            tooltip=["name:N", alt.Tooltip("documents:Q", format=",d")],
        )
    )
    st.altair_chart(chart, alt=f"{title}: " + ", ".join(f"{n} {v:,}" for n, v in shown))
    if len(counts) > _BARS:
        st.caption(f"and {len(counts) - _BARS:,} more")


def _index(collection: str) -> None:
    st.subheader("Vectors", anchor=False)
    rows = library().documents.indexes(collection)
    if not rows:
        st.caption("Nothing has been embedded yet.")
        return
    st.dataframe(
        [
            {
                "Model": row["space"],
                "For": "passages" if row["modality"] == "text" else "images",
                "Vectors": row["count"],
                "Dimensions": row["dimension"],
                "Index": row["kind"],
                "Memory-mapped": bool(row.get("memory_mapped")),
            }
            for row in rows
        ],
        hide_index=True,
    )
    st.caption("Vectors are compared within one model only.")
    if may("admin") and st.button(
        "Re-embed with the profile's models",
        key="reembed",
        icon=":material/refresh:",
        help="Needed after the profile or a model has changed. Searches go on meanwhile.",
    ):
        with errors_as_sentences():
            library().jobs.start_reembed(collection)
            set_later(view="Add")
            say_later("It has begun. You can leave this page; it goes on.")
            st.rerun()
