"""A grid of many images in groups, of which only those in sight are drawn and loaded."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import streamlit as st

from ragcore.library import ImageGroup

from ..image_routes import IMAGES
from ..state import library, may
from ..thumbnails import SIDES, THUMBNAILS
from . import actions, address, viewer
from .assets import asset

_grid = st.components.v2.component(
    "ragcore_grid",
    html=asset("grid.html"),
    css=asset("grid.css", "viewer.css"),
    js=asset("viewer.js", "grid.js"),
)


def image_grid(
    key: str,
    collection: str,
    groups: Sequence[ImageGroup],
    titles: Sequence[str],
    *,
    by: str,
    size: int,
) -> None:
    """Draw the groups, which are `by` something, under their titles, `size` pixels an image.

    They are selected, marked and viewed in the browser; the page is drawn again after a change.
    """
    data: dict[str, Any] = {
        "groups": [
            {"title": title, "ids": list(group.ids), "names": list(group.names)}
            for title, group in zip(titles, groups, strict=True)
        ],
        "by": by,
        "size": size,
        "side": min(side for side in SIDES if side >= size),
        "thumbnails": THUMBNAILS,
        "images": IMAGES,
        "can": {
            "select": True,
            "write": may("write"),
            "trash": may("write"),
            "studio": actions.makes_images(),
        },
    }
    data["round"] = hashlib.sha256(repr(data).encode()).hexdigest()
    data["open"] = _opened(groups)
    found = library().images.groups(collection, where={"favorite": "yes"})
    data["favorites"] = [one for group in found for one in group.ids]
    data["albums"] = [one.name for one in library().albums.list(collection)]
    data["tags"] = list(library().documents.facets(collection)["tag"])
    data["classes"] = {
        name: labels
        for name, (kind, labels) in library().labels.classes(collection).items()
        if kind == "image"
    }

    _grid(
        key=key,
        data=data,
        on_changed_change=lambda: None,  # what was changed is read again
        on_go_change=lambda: actions.leave_with(st.session_state[key].get("go")),
    )


def _opened(groups: Sequence[ImageGroup]) -> int | None:
    """The image of the grid that the address says is open: the grid shows it."""
    kind, number = address.opened() or ("", 0)
    if kind != "image" or all(number not in group.ids for group in groups):
        return None
    viewer.shown_elsewhere()
    return number
