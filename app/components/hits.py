"""Results: passages as cards with the words marked, images as a grid."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

import streamlit as st

from ragcore.types import Hit

from ..state import library
from . import actions, viewer
from .text import marked_html, plain, shorten, type_name

_LIKE, _SAME, _ASK = "More like this", "Near-duplicates", "Ask about it"
_FOLLOW = "Use as control"


def passages(hits: Sequence[Hit], *, place: str) -> None:
    """One card a passage: title opens it, words are marked, a menu has the rest."""
    for hit in hits:
        with st.container(border=True, key=f"hit-{place}-{hit.id}"):
            with st.container(
                horizontal=True,
                wrap=False,
                vertical_alignment="center",
                horizontal_alignment="distribute",
            ):
                st.button(
                    plain(_title(hit)),
                    key=f"open-{place}-{hit.id}",
                    icon=":material/description:",
                    type="tertiary",
                    on_click=viewer.open_hit,
                    args=(hit,),
                )
                _menu(hit, place, [_LIKE, _ASK])
            excerpt = marked_html(_below_heading(hit), hit.why.matched)
            st.html(f'<p class="rc-excerpt">{excerpt}</p>')
            about = [f"score {hit.score:.2f}", type_name(hit.media_type)]
            if hit.heading:
                about.append(shorten(hit.heading, 80))
            st.html(f'<p class="rc-about">{escape(" · ".join(about))}</p>')


def images(
    hits: Sequence[Hit],
    *,
    place: str,
    width: int = 150,
    scores: bool = True,
    notes: Mapping[int, str] | None = None,
) -> None:
    """A grid of thumbnails; the name below each opens it. `notes` by id stand for the scores."""
    thumbnails = library().images.thumbnails([hit.id for hit in hits])
    entries = [_LIKE, _SAME, _FOLLOW] if actions.makes_images() else [_LIKE, _SAME]
    grid = st.grid(min_column_width=width, gap="small")
    for hit in hits:
        with grid.cell(), st.container(key=f"pic-{place}-{hit.id}"):
            if hit.id in thumbnails:
                st.image(thumbnails[hit.id], width="stretch", alt=hit.text or hit.document)
            with st.container(
                horizontal=True,
                wrap=False,
                vertical_alignment="center",
                horizontal_alignment="distribute",
                gap="xxsmall",
            ):
                st.button(
                    plain(shorten(_name(hit), 40)),
                    key=f"open-{place}-image-{hit.id}",
                    type="tertiary",
                    on_click=viewer.open_hit,
                    args=(hit,),
                    help=plain(_title(hit)),
                )
                _menu(hit, place, entries)
            note = (notes or {}).get(hit.id) or (f"score {hit.score:.2f}" if scores else "")
            if hit.caption_by:
                said = f"“{shorten(hit.text, 120)}” caption by {hit.caption_by}"
                st.html(f'<p class="rc-about">{escape(said)}</p>')
            if note:
                st.html(f'<p class="rc-about">{escape(note)}</p>')


def _below_heading(hit: Hit) -> str:
    """The passage without the heading that it begins with: that stands below it already."""
    last = hit.heading.rsplit(" > ", 1)[-1]
    text = hit.text.lstrip()
    rest = text.removeprefix(last).lstrip() if last else text
    return rest or text


def _menu(hit: Hit, place: str, entries: list[str]) -> None:
    key = f"menu-{place}-{hit.kind}-{hit.id}"
    st.menu_button(
        "More",
        entries,
        key=key,
        type="tertiary",
        on_click=_chosen,
        args=(key, hit),
    )


def _chosen(key: str, hit: Hit) -> None:
    choice = st.session_state.get(key)
    if choice == _ASK:
        actions.ask_about(hit)
    elif choice == _FOLLOW:
        actions.use_as_control(hit.id)
    elif choice == _SAME:
        actions.like_image(hit.id, same=True)
    elif choice == _LIKE and hit.kind == "image":
        actions.like_image(hit.id)
    elif choice == _LIKE:
        actions.like_passage(hit)


def _name(hit: Hit) -> str:
    return hit.document or hit.path.rsplit("/", 1)[-1]


def _title(hit: Hit) -> str:
    page = f" · page {hit.page}" if hit.page else ""
    return f"{_name(hit)}{page}"
