"""A grid of many images in groups, of which only those in sight are drawn and loaded."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

import streamlit as st

from ragcore.library import ImageGroup

from ..thumbnails import SIDES, THUMBNAILS

_ASSETS = Path(__file__).resolve().parents[1] / "assets"
_grid = st.components.v2.component(
    "ragcore_grid",
    html=(_ASSETS / "grid.html").read_text("utf-8"),
    css=(_ASSETS / "grid.css").read_text("utf-8"),
    js=(_ASSETS / "grid.js").read_text("utf-8"),
)


def image_grid(
    key: str,
    groups: Sequence[ImageGroup],
    titles: Sequence[str],
    *,
    size: int,
    on_open: Callable[[int], None],
) -> None:
    """Draw the groups under their titles, `size` pixels an image; `on_open` gets the id of an
    image that is opened by a click, Enter or Space."""
    data = {
        "groups": [
            {"title": title, "ids": list(group.ids), "names": list(group.names)}
            for title, group in zip(titles, groups, strict=True)
        ],
        "size": size,
        "side": min(side for side in SIDES if side >= size),
        "thumbnails": THUMBNAILS,
    }
    data["round"] = hashlib.sha256(repr(data).encode()).hexdigest()

    def opened() -> None:
        wanted = st.session_state[key].get("open")
        known = {one for group in groups for one in group.ids}
        if isinstance(wanted, int) and wanted in known:
            on_open(wanted)

    _grid(key=key, data=data, on_open_change=opened)
