"""Parts of a page that are drawn again and again while something goes on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import streamlit as st


def live(draw: Callable[..., bool], *args: Any, every: float | None) -> None:
    """Draw a part now, and again every so many seconds (None: once) until it is over.

    `draw` says whether it still goes on. After its end the whole page is drawn again, but only
    at the timer's turn: in the page's own turn that would wipe what a button has just answered.
    """
    turns, over = 0, False

    def look() -> None:
        nonlocal turns, over
        turns += 1
        over = not draw(*args) or over
        if over and turns > 1:
            st.rerun()

    st.fragment(look, run_every=every)()
