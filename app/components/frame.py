"""What every page has: its heading of the first level, and its name in the browser's title."""

from __future__ import annotations

from html import escape

import streamlit as st


def heading(text: str) -> None:
    """The page's h1: for those who listen to it, since the row of pages shows where one is."""
    st.html(f'<h1 class="rc-heard">{escape(text)}</h1>')


def name_page(*parts: str) -> None:
    """What the browser calls the page, from the particular to the general."""
    st.set_page_config(page_title=" · ".join([*parts, "ragcore"]))
