"""A map of the collection: what is alike lies together."""

from __future__ import annotations

from collections import Counter
from typing import Any, Literal

import streamlit as st

from ragcore.library import CollectionMap, MapPoint

from ..components import viewer
from ..components.text import shorten, type_name
from ..state import library, may

_MOST_GROUPS = 8


def show(collection: str) -> None:
    left, right = st.columns(2)
    kind = left.segmented_control(
        "Show", ["Passages", "Images"], default="Passages", required=True, key="map-kind"
    )
    color = right.segmented_control(
        "Colored by", ["Document", "Folder", "Type"], default="Document", required=True,
        key="map-color",
    )  # fmt: skip
    wanted: Literal["passages", "images"] = "passages" if kind == "Passages" else "images"
    with st.spinner("Drawing the map …"):
        made = library().documents.map(collection, wanted)
    if len(made.points) < 3:
        st.caption(f"A map needs at least three {str(kind).lower()}; here are {made.total}.")
        return
    groups = [_group(point, str(color)) for point in made.points]
    event: Any = st.plotly_chart(
        _figure(made, groups),
        key=f"map-{collection}-{wanted}-{color}",
        on_select="rerun",
        selection_mode="points",
        config={"displaylogo": False, "scrollZoom": True},
        alt=f"Map of {len(made.points)} {str(kind).lower()}: what is alike lies together",
    )
    note = f"{len(made.points):,} {str(kind).lower()}"
    if made.total > len(made.points):
        note += f", drawn evenly from {made.total:,}"
    st.caption(f"{note}. What is alike lies together; the axes have no meaning. Click to open.")
    chosen = [point["customdata"] for point in event.selection.points if "customdata" in point]
    if chosen and st.session_state.get("_map_shown") != chosen[0]:
        st.session_state["_map_shown"] = chosen[0]
        _open(made, chosen[0], wanted)


def _open(made: CollectionMap, place: Any, kind: str) -> None:
    point = made.points[int(place[0] if isinstance(place, list) else place)]
    if kind == "images":
        viewer.open_image(point.id)
    else:
        viewer.open_page(point.document_id, point.page)


def _group(point: MapPoint, color: str) -> str:
    if color == "Type":
        return type_name(point.media_type)
    if color == "Document":
        return shorten(point.document, 30)
    folder = point.path.rsplit("/", 2)
    return folder[-2] if len(folder) > 2 and may("write") else "/"


def _figure(made: CollectionMap, groups: list[str]) -> Any:
    import plotly.graph_objects as go

    largest = [name for name, _ in Counter(groups).most_common(_MOST_GROUPS)]
    figure = go.Figure()
    colors = _colors()
    for number, name in enumerate([*largest, "others"]):
        places = [
            i for i, group in enumerate(groups)
            if group == name or (name == "others" and group not in largest)
        ]  # fmt: skip
        if not places:
            continue
        points = [made.points[i] for i in places]
        figure.add_trace(
            go.Scattergl(
                x=[point.x for point in points],
                y=[point.y for point in points],
                mode="markers",
                name=_safe(name),
                marker={
                    "size": 7 if len(groups) < 1000 else 5,
                    "opacity": 0.8,
                    "color": colors[number % len(colors)] if name in largest else "#8a8f8d",
                },
                customdata=places,
                text=[_hover(point) for point in points],
                hovertemplate="%{text}<extra></extra>",
            )
        )
    figure.update_layout(
        height=560,
        margin={"l": 0, "r": 0, "t": 10, "b": 0},
        legend={"orientation": "h", "y": -0.02},
        dragmode="pan",
        showlegend=len(set(groups)) > 1,
    )
    figure.update_xaxes(visible=False)
    figure.update_yaxes(visible=False)
    return figure


def _colors() -> list[str]:
    """The theme's colors for groups."""
    dark = st.context.theme.type == "dark"
    given = st.get_option("theme.dark.chartCategoricalColors") if dark else None
    chosen = given or st.get_option("theme.chartCategoricalColors")
    return list(chosen or ["#0f766e", "#b45309", "#6d5bd0", "#be4b6f", "#4d7c0f", "#0369a1"])


def _hover(point: MapPoint) -> str:
    page = f", page {point.page}" if point.page else ""
    words = shorten(point.text or "", 110)
    lines = [words[i : i + 55] for i in range(0, len(words), 55)]
    return "<br>".join([f"<b>{_safe(shorten(point.document, 60))}</b>{page}", *map(_safe, lines)])


def _safe(text: str) -> str:
    """Plotly reads a little HTML in its texts: none comes from a document."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
