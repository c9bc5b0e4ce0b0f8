"""Two images in one place, with a border that is moved in the browser."""

from __future__ import annotations

import base64
from pathlib import Path

import streamlit as st

_ASSETS = Path(__file__).resolve().parents[1] / "assets"
_field = st.components.v2.component(
    "ragcore_compare",
    html=(_ASSETS / "compare.html").read_text("utf-8"),
    css=(_ASSETS / "compare.css").read_text("utf-8"),
    js=(_ASSETS / "compare.js").read_text("utf-8"),
)


def compare(key: str, left: bytes, right: bytes, names: tuple[str, str]) -> None:
    """Show two PNGs; `names` say what they are to those who do not see them."""
    one, two = (f"data:image/png;base64,{base64.b64encode(png).decode()}" for png in (left, right))
    _field(key=key, data={"left": one, "right": two, "names": list(names)})
