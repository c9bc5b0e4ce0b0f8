"""A look at one page of a document, or one image, over whatever page one is on."""

from __future__ import annotations

from html import escape

import streamlit as st

from ragcore.types import Hit

from ..state import errors_as_sentences, library, show_notices
from . import actions, address
from .metadata import metadata_lines
from .text import count_name, day_name, plain, size_name, type_name

_OPEN, _FRESH, _SHOWN = "_open", "_opened_now", "_window_drawn"


def open_page(
    document_id: int,
    page: int | None = None,
    span: tuple[int, int] | None = None,
    quote: str = "",
    hit: Hit | None = None,
    last: int | None = None,
) -> None:
    """Show a document's page at the end of this run, the characters of `span` marked, and the
    pages up to `last` below it. The address names it from then on."""
    address.open_document(document_id, page or 1)
    st.session_state[_FRESH] = True
    st.session_state[_OPEN] = {
        "document": document_id,
        "page": page or 1,
        "first": page or 1,
        "last": max(page or 1, last or 1),
        "span": span,
        "quote": quote,
        "hit": hit,
    }


def open_image(image_id: int, hit: Hit | None = None) -> None:
    """Show an image at the end of this run. The address names it from then on."""
    address.open_image(image_id)
    st.session_state[_FRESH] = True
    st.session_state[_OPEN] = {"image": image_id, "hit": hit}


def open_hit(hit: Hit) -> None:
    if hit.kind == "image":
        open_image(hit.id, hit)
    elif not hit.text:
        open_page(hit.document_id)
    else:
        open_page(hit.document_id, hit.page, hit.span, hit=hit, last=hit.page_end)


def show_opened() -> None:
    """Draw the window of what the address says is open, if anything, and if it is not drawn yet.
    Called once, by the main script."""
    st.session_state.pop(_FRESH, None)
    drawn = st.session_state.pop(_SHOWN, False)
    if not drawn and address.opened() is not None:
        _window()


def after_choice() -> None:
    """At the end of a fragment: do what was chosen in it, without drawing the page again."""
    if "_go" in st.session_state:
        st.rerun()
    show_notices()
    if st.session_state.pop(_FRESH, False):
        st.session_state[_SHOWN] = True
        _window()


def begin_run() -> None:
    """At the start of the main script: no window is drawn yet."""
    st.session_state.pop(_SHOWN, None)


def _window() -> None:
    opened = address.opened()
    if opened is None:
        return
    kind, number = opened
    wanted = st.session_state.get(_OPEN, {})
    if wanted.get(kind) != number:  # by its address alone
        page = address.page()
        wanted = {kind: number, "hit": None}
        if kind == "document":
            wanted |= {"page": page, "first": page, "last": page, "span": None, "quote": ""}
        st.session_state[_OPEN] = wanted
    if kind == "image":
        _image_window()
    else:
        _page_window()


@st.dialog("Page", width="large", on_dismiss=address.close)
def _page_window() -> None:
    with errors_as_sentences():
        _page(st.session_state[_OPEN])


def _page(wanted: dict[str, object]) -> None:
    lib = library()
    document = lib.documents.get(int(str(wanted["document"])))
    page = int(str(wanted["page"]))
    st.markdown(f"**{plain(document.title or document.name)}**")
    hit = wanted["hit"]
    if isinstance(hit, Hit):
        actions.for_hit(hit, place="window")
    image, text = st.columns([3, 2], gap="medium")
    with image:
        _page_turner(wanted, document.pages)
        span = wanted["span"]
        marked = span if isinstance(span, tuple) and document.pages else None
        last = int(str(wanted["last"])) if page == wanted["first"] else page
        for shown in range(page, last + 1):
            if shown > page:
                st.caption(f"It goes on on page {shown}")
            st.image(
                lib.documents.page_image(document.id, shown, span=marked),
                width="stretch",
                alt=f"Page {shown} of {document.name}",
            )
    with text:
        quote = str(wanted["quote"]) or (hit.text if isinstance(hit, Hit) else "")
        if quote:
            st.caption("The passage" if not wanted["quote"] else "Quoted")
            st.html(f'<div class="rc-quote">{escape(quote)}</div>')
        if isinstance(hit, Hit):
            _why(hit)
        st.caption("About the document")
        facts = [
            type_name(document.media_type),
            size_name(document.size),
            count_name(document.pages, "page"),
            f"changed {day_name(document.modified_at)}",
        ]
        lines = [*map(escape, facts), place_html(document.path)]
        st.html(f'<p class="rc-about">{"<br>".join(lines)}</p>')
        if document.pages:
            with st.expander("Text of this page"):
                words = lib.documents.page(document.id, page).text
                st.html(f'<div class="rc-text">{escape(words) or "This page has no text."}</div>')


def place_html(path: str) -> str:
    """Where a document is: of a web page, a link to it."""
    shown = escape(path)
    if not path.startswith(("http://", "https://")):
        return shown
    return f'<a href="{shown}" target="_blank" rel="noopener noreferrer">{shown}</a>'


def _page_turner(wanted: dict[str, object], pages: int) -> None:
    if pages < 2:
        return
    page = int(str(wanted["page"]))
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        if st.button("Back", key="viewer-back", icon=":material/chevron_left:", disabled=page <= 1):
            wanted["page"] = page - 1
            address.open_document(int(str(wanted["document"])), int(str(wanted["page"])))
            st.rerun(scope="fragment")
        st.caption(f"Page {page} of {pages}", width="content")
        if st.button(
            "Next", key="viewer-next", icon=":material/chevron_right:", disabled=page >= pages
        ):
            wanted["page"] = page + 1
            address.open_document(int(str(wanted["document"])), int(str(wanted["page"])))
            st.rerun(scope="fragment")
        if page != wanted["first"] and st.button("To the passage", key="viewer-first"):
            wanted["page"] = wanted["first"]
            address.open_document(int(str(wanted["document"])), int(str(wanted["page"])))
            st.rerun(scope="fragment")


@st.dialog("Image", width="large", on_dismiss=address.close)
def _image_window() -> None:
    with errors_as_sentences():
        wanted = st.session_state[_OPEN]
        lib = library()
        info = lib.images.get(int(wanted["image"]))
        st.markdown(f"**{plain(info.document or info.path.rsplit('/', 1)[-1])}**")
        actions.for_image(info.id, wanted["hit"])
        st.image(_shown(info.id), width="stretch", alt=info.caption or info.document)
        if info.caption:
            st.html(f'<p class="rc-excerpt">{escape(info.caption)}</p>')
        if info.caption and info.caption_by:
            st.caption(f"The caption was written by {plain(info.caption_by)}, not by a person.")
        if info.text:
            with st.expander("Text in the image"):
                st.html(f'<div class="rc-text">{escape(info.text)}</div>')
        about = lib.images.metadata([info.id]).get(info.id)
        facts = [*metadata_lines(about)] if about is not None else []
        facts.append(f"{info.width} × {info.height} pixels")
        if info.page:
            facts.append(f"on page {info.page}")
        lines = [*map(escape, facts), place_html(info.path)]
        st.html(f'<p class="rc-about">{"<br>".join(lines)}</p>')
        if isinstance(wanted["hit"], Hit):
            _why(wanted["hit"])


def _shown(image_id: int) -> bytes:
    """The image as a browser can show it."""
    return library().images.view(image_id)


def _why(hit: Hit) -> None:
    parts = [f"score {hit.score:.2f}"]
    if hit.why.dense is not None:
        parts.append(f"meaning {hit.why.dense:.2f}")
    if hit.why.lexical:
        parts.append(f"words {hit.why.lexical:.1f}")
    if hit.why.rerank is not None:
        parts.append(f"re-ranked {hit.why.rerank:.2f}")
    st.caption(f"Found by: {' · '.join(parts)}")
    if hit.why.matched:
        st.caption(f"Words found: {plain(', '.join(hit.why.matched))}")
