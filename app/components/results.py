"""Results: passages grouped by document, and images, as one part of the page.

One part, so that a search is one message to the browser and not some hundreds; images are loaded
by address.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import streamlit as st

from ragcore.text import clock, visible_name
from ragcore.types import Hit, HitKind

from ..originals import ORIGINALS
from ..thumbnails import SIDES, THUMBNAILS
from . import actions, viewer
from .text import count_name, excerpt, shorten, type_name

Density = Literal["comfortable", "compact"]
_SHOWN: Mapping[Density, int] = {"comfortable": 2, "compact": 1}  # passages of a document
_ASSETS = Path(__file__).resolve().parents[1] / "assets"
_results = st.components.v2.component(
    "ragcore_results",
    html=(_ASSETS / "results.html").read_text("utf-8"),
    css=(_ASSETS / "results.css").read_text("utf-8"),
    js=(_ASSETS / "results.js").read_text("utf-8"),
)
_OF_PASSAGE = (("like", "More like this"), ("ask", "Ask about it"))
_OF_IMAGE = (("like", "More like this"), ("ask", "Ask about it"), ("same", "Near-duplicates"))
_CONTROL = (("control", "Use as control"),)


@dataclass(frozen=True, slots=True)
class Section:
    """Some hits; a passage without text is a document.

    With a title they can be folded away, `open` is how they are at first. `scores` are shown with
    each, `notes` by kind and id in their place.
    """

    hits: Sequence[Hit]
    title: str = ""
    open: bool = True
    scores: bool = True
    notes: Mapping[tuple[HitKind, int], str] = field(default_factory=dict)
    images_title: str = "Images"


def show(
    key: str, sections: Sequence[Section], *, density: Density, collections: bool = False
) -> None:
    """Draw them; what is chosen is done. `collections`: say which one each hit is from."""
    hits = [hit for section in sections for hit in section.hits]
    data = as_data(sections, density=density, collections=collections)
    data["round"] = hashlib.sha256(repr(data).encode()).hexdigest()

    def chosen() -> None:
        wanted = st.session_state[key].get("chosen") or {}
        number = wanted.get("hit")
        if isinstance(number, int) and 0 <= number < len(hits):
            do(str(wanted.get("act")), hits[number], hits)

    _results(key=key, data=data, on_chosen_change=chosen)


def do(act: str, hit: Hit, among: Sequence[Hit]) -> None:
    """What a person chose of a hit among those that are shown."""
    by_name: dict[str, Callable[[], None]] = {
        "open": lambda: viewer.open_hit(hit, among),
        "ask": lambda: (
            actions.ask_about_image(hit.id) if hit.kind == "image" else actions.ask_about(hit)
        ),
        "control": lambda: actions.use_as_control(hit.id),
        "same": lambda: actions.like_image(hit.id, same=True),
        "like": lambda: (
            actions.like_image(hit.id) if hit.kind == "image" else actions.like_passage(hit)
        ),
    }
    if act in by_name:
        by_name[act]()


def as_data(sections: Sequence[Section], *, density: Density, collections: bool) -> dict[str, Any]:
    """What the browser draws; hits are distinguished by their place in all sections."""
    acts = [*_OF_IMAGE, *(_CONTROL if actions.makes_images() else ())]
    drawn, number = [], 0
    for section in sections:
        places = {id(hit): number + place for place, hit in enumerate(section.hits)}
        number += len(section.hits)
        passages = [hit for hit in section.hits if hit.kind == "passage"]
        images = [hit for hit in section.hits if hit.kind == "image"]
        drawn.append(
            {
                "title": section.title,
                "open": section.open,
                "documentsTitle": "Passages" if section.scores else "Documents",
                "imagesTitle": section.images_title,
                "documents": [
                    _document(group, places, section, _SHOWN[density], collections)
                    for group in grouped(passages)
                ],
                "images": [_image(hit, places[id(hit)], section, acts) for hit in images],
            }
        )
    return {
        "sections": drawn,
        "density": density,
        "thumbnails": THUMBNAILS,
        "originals": ORIGINALS,
        "side": max(SIDES),
    }


def grouped(passages: Sequence[Hit]) -> list[list[Hit]]:
    """The passages of each document together, in the order of its best."""
    groups: dict[int, list[Hit]] = {}
    for hit in passages:
        groups.setdefault(hit.document_id, []).append(hit)
    return [*groups.values()]


def _document(
    group: list[Hit], places: dict[int, int], section: Section, shown: int, collections: bool
) -> dict[str, Any]:
    best = group[0]
    about = [type_name(best.media_type), *([best.collection] if collections else [])]
    if ("passage", best.id) in section.notes:
        about.append(section.notes["passage", best.id])
    with_text = [hit for hit in group if hit.text]
    return {
        "title": visible_name(best.document or best.path.rsplit("/", 1)[-1]),
        "about": visible_name(" · ".join(filter(None, about))),
        "hit": places[id(best)],
        "original": best.document_id,
        "passages": [_passage(hit, places[id(hit)]) for hit in with_text],
        "shown": shown,
        "more": f"{count_name(len(with_text) - shown, 'more passage')} of this document",
    }


def _passage(hit: Hit, place: int) -> dict[str, Any]:
    about = [f"score {hit.score:.2f}"]
    if hit.heading:
        about.append(shorten(hit.heading, 80))
    return {
        "hit": place,
        "place": f"Page {hit.page}" if hit.page else "",
        "parts": [
            [visible_name(part), marked]
            for part, marked in excerpt(_below_heading(hit), hit.why.matched)
        ],
        "about": visible_name(" · ".join(about)),
        "acts": list(map(list, _OF_PASSAGE)),
    }


def _below_heading(hit: Hit) -> str:
    """The passage without the heading that it begins with: that stands below it already."""
    last = hit.heading.rsplit(" > ", 1)[-1]
    text = hit.text.lstrip()
    rest = text.removeprefix(last).lstrip() if last else text
    return rest or text


def _image(hit: Hit, place: int, section: Section, acts: Sequence[Any]) -> dict[str, Any]:
    name = visible_name(hit.document or hit.path.rsplit("/", 1)[-1])
    page = f" · page {hit.page}" if hit.page else ""
    page = page if hit.second is None else f" · {clock(hit.second)}"
    caption = f"“{shorten(hit.text, 120)}” caption by {hit.caption_by}" if hit.caption_by else ""
    return {
        "id": hit.id,
        "hit": place,
        "title": f"{name}{page}",
        "alt": visible_name(shorten(hit.text or name, 200)),
        "caption": visible_name(caption),
        "about": section.notes.get(("image", hit.id))
        or (f"score {hit.score:.2f}" if section.scores else ""),
        "acts": list(map(list, acts)),
    }
