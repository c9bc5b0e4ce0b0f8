"""Chips: everything that is in force, each of which a click removes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import streamlit as st

from .text import plain, shorten


@dataclass(frozen=True, slots=True)
class Chip:
    """What is in force, in a few words; `remove(*args)` ends it. `key` is its own on the page."""

    key: str
    label: str
    remove: Callable[..., None]
    args: tuple[Any, ...] = ()


def show(chips: Sequence[Chip], *, key: str = "chips") -> None:
    # Also without chips: what stands below must keep its place, or folded sections close.
    with st.container(horizontal=True, gap="xsmall", key=key, vertical_alignment="center"):
        for chip in chips:
            st.button(
                plain(shorten(chip.label, 60)),
                key=f"chip-{chip.key}",
                icon=":material/close:",
                icon_position="right",
                on_click=chip.remove,
                args=chip.args,
            )


def set_state(key: str, value: Any) -> None:
    """Set a widget's value: for a chip."""
    st.session_state[key] = value
