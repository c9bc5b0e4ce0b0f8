"""A field to draw a condition in, by mouse, pen or finger; it stays on this page's server."""

from __future__ import annotations

import base64
import binascii
from pathlib import Path
from typing import Any

import streamlit as st

from ragcore.errors import UnreadableFile
from ragcore.library import open_image

_ASSETS = Path(__file__).resolve().parents[1] / "assets"
_MOST_BYTES = 8 * 2**20
# Of regions, much as they come in images: skin, wood, leaves, sky, metal, …
COLORS = (
    "#1e1e1e", "#8a8f98", "#c9ced6", "#d7302f", "#f28c28", "#fcc93c", "#4f9e3a", "#9bd067",
    "#2f6fd0", "#7cc4f4", "#8854c0", "#f29ab8", "#6b4226", "#e8b48a", "#ffffff",
)  # fmt: skip
_field = st.components.v2.component(
    "ragcore_sketch",
    html=(_ASSETS / "sketch.html").read_text("utf-8"),
    css=(_ASSETS / "sketch.css").read_text("utf-8"),
    js=(_ASSETS / "sketch.js").read_text("utf-8"),
)


def sketch(key: str, *, side: int, regions: bool, pen: int) -> None:
    """Draw the field; `drawn` has what is drawn in it, as a PNG of `side` x `side`.

    With `regions` colors on white, else white strokes on black, `pen` pixels wide at first. The
    drawing is kept when another page is looked at.
    """
    state_key = f"_{key}"

    def keep() -> None:
        st.session_state[state_key] = st.session_state[key].get("image")

    address = st.session_state.get(state_key)
    data: dict[str, Any] = {
        "side": side,
        "regions": regions,
        "colors": list(COLORS),
        "pen": pen,
        "image": address,
        "round": f"{side} {regions}",
    }
    _field(key=key, data=data, on_image_change=keep)


def drawn(key: str) -> bytes | None:
    """The drawing in the field of that key; None while it is empty.

    Raises UnreadableFile for what no field of ours sends.
    """
    address = st.session_state.get(f"_{key}")
    if not address:
        return None
    head, _, text = str(address).partition(",")
    if head != "data:image/png;base64" or len(text) > _MOST_BYTES:
        raise UnreadableFile("the drawing is not a PNG")
    try:
        png = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise UnreadableFile("the drawing is not a PNG") from None
    open_image(png, "drawing")
    return png
