"""Images or passages that are given classes, by click, by shift-click, or by the keys 1 to 9."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import streamlit as st

from ..state import errors_as_sentences
from ..thumbnails import SIDES, THUMBNAILS
from .assets import asset

Give = Callable[[Sequence[int], str | None], None]
_grid = st.components.v2.component(
    "ragcore_label_grid", html=asset("label.html"), css=asset("label.css"), js=asset("label.js")
)


@dataclass(frozen=True, slots=True)
class Item:
    """An image by its name, or a passage by its text."""

    id: int
    name: str
    text: str = ""


def label_grid(
    key: str,
    items: Sequence[Item],
    classes: Sequence[str],
    given: Mapping[int, str],
    *,
    active: str,
    give: Give,
) -> None:
    """Draw the items with the classes that they are `given`.

    A click gives the class `active`; `give` is called with ids and the class, None to take it away.
    """
    ids = {item.id for item in items}

    def changed() -> None:
        with errors_as_sentences():
            store(key, st.session_state[key].get("given"), ids, classes, give)

    data: dict[str, Any] = {
        "items": [{"id": item.id, "name": item.name, "text": item.text} for item in items],
        "classes": list(classes),
        "given": {str(item): label for item, label in given.items() if item in ids},
        "active": active,
        "passages": any(item.text for item in items),
        "thumbnails": THUMBNAILS,
        "side": max(SIDES),
        "seen": st.session_state.get(_seen(key), 0),
        "label": "To be labelled",
    }
    _grid(key=key, data=data, on_given_change=changed)


def store(key: str, changes: Any, ids: set[int], classes: Sequence[str], give: Give) -> None:
    """Have the browser's changes given that are new: [[number, ids, class or None], …]."""
    for number, wanted, label in changes or ():
        if number <= st.session_state.get(_seen(key), 0):
            continue
        if label is None or label in classes:
            give([item for item in wanted if item in ids], label)
        st.session_state[_seen(key)] = number


def _seen(key: str) -> str:
    return f"_{key}_seen"
