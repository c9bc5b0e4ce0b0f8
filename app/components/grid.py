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
from . import actions
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
    size: int,
) -> None:
    """Draw the groups under their titles, `size` pixels an image. They are selected, marked and
    viewed in the browser; the page is drawn again after a change."""
    data: dict[str, Any] = {
        "groups": [
            {"title": title, "ids": list(group.ids), "names": list(group.names)}
            for title, group in zip(titles, groups, strict=True)
        ],
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
        on_go_change=lambda: _go(st.session_state[key].get("go")),
    )


def _go(wanted: Any) -> None:
    """Leave for another page with an image."""
    image_id = wanted.get("id") if isinstance(wanted, dict) else None
    if not isinstance(image_id, int):
        return
    if wanted.get("what") == "studio":
        actions.use_as_control(image_id)
    else:
        actions.like_image(image_id, same=wanted.get("what") == "same")
